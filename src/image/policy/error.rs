//! Why an image may not be used, or nobody can say whether it may.

use std::io;
use std::path::PathBuf;

use super::SignaturesError;

/// An unmet requirement with the policy's file and scope, or a policy that cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum PolicyError {
    #[error("read signature policy {path:?}: {error}")]
    Read { path: PathBuf, error: io::Error },
    #[error("signature policy {path:?} does not exist")]
    Missing { path: PathBuf },
    #[error("signature policy {path:?}: {reason}")]
    Parse { path: PathBuf, reason: String },
    #[error("signature policy's key {key}: {reason}")]
    Key { key: String, reason: String },
    #[error("{image} is rejected by {scope} in signature policy {path:?}")]
    Rejected { image: String, path: PathBuf, scope: String },
    #[error(
        "{image} is not accepted: {scope} in signature policy {path:?} asks for {what}, which rcrun cannot verify"
    )]
    Unsupported { image: String, path: PathBuf, scope: String, what: &'static str },
    #[error(
        "{archive} is not accepted: {scope} in signature policy {path:?} asks for signatures, which archives have none of"
    )]
    ArchiveUnsigned { archive: String, path: PathBuf, scope: String },
    #[error(
        "{image} is not accepted: it has no signature, and {scope} in signature policy {path:?} asks for one"
    )]
    Unsigned { image: String, path: PathBuf, scope: String },
    #[error("{image} is not accepted: no signature meets {scope} in signature policy {path:?}: {reasons}")]
    Signature { image: String, path: PathBuf, scope: String, reasons: String },
    #[error("get the signatures of {image}: {source}")]
    Signatures { image: String, source: SignaturesError },
}
