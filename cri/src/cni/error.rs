//! Why a Pod has no network.

use std::io::ErrorKind;
use std::path::PathBuf;

use rcrun::network::NetworkError;
use tonic::Status;

/// Why a Pod has no network.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CniError {
    #[error("CNI configuration {file:?}: {reason}")]
    Configuration { file: PathBuf, reason: String },
    #[error(
        "CNI plugin {plugin} of network {network} is not in {directories}: install it there, or set network.cni_bin_dirs"
    )]
    NoPlugin { plugin: String, network: String, directories: String },
    #[error("CNI plugin {plugin} of network {network}: {command} failed: {reason}")]
    Plugin { plugin: String, network: String, command: &'static str, reason: String },
    #[error("CNI network {network} gave the Pod no address: {reason}")]
    NoAddress { network: String, reason: String },
    /// A wish of the Pod's that makes no sense.
    #[error("{field}: {reason}")]
    Wish { field: String, reason: String },
    #[error("bridge {bridge}: {error}")]
    Bridge { bridge: String, error: NetworkError },
}

impl From<CniError> for Status {
    fn from(error: CniError) -> Self {
        let text = error.to_string();
        match error {
            CniError::Wish { .. } => Self::invalid_argument(text),
            CniError::Configuration { .. } | CniError::NoPlugin { .. } => Self::failed_precondition(text),
            CniError::Bridge { error: NetworkError::Exhausted { .. }, .. } => Self::resource_exhausted(text),
            CniError::Bridge { error: NetworkError::PortTaken { .. }, .. } => Self::already_exists(text),
            CniError::Bridge { error: NetworkError::Call { error, .. }, .. } if is_full(error.kind()) => {
                Self::resource_exhausted(text)
            }
            _ => Self::internal(text),
        }
    }
}

/// Leases are files.
fn is_full(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}
