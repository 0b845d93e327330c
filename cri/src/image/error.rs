//! What goes wrong with images, as codes of gRPC.

use rcrun::image::policy::PolicyError;
use rcrun::image::pull::PullError;
use rcrun::image::registry::ErrorKind;
use rcrun::image::registry::settings::SettingsError;
use rcrun::image::store::StoreError;
use rcrun::image::unpack::UnpackError;
use rcrun::image::{ManifestError, Name, Reference};
use tonic::{Code, Status};

/// The kubelet tells these two apart by how the message begins (k8s.io/cri-api/pkg/errors), which it sees only where the code
/// is UNKNOWN: it puts the code's name before the message otherwise.
const UNAVAILABLE: &str = "RegistryUnavailable";
const SIGNATURE: &str = "SignatureValidationFailed";

/// There is no image that `text` means.
pub fn no_image(text: &str) -> Status {
    let name: String = text.chars().take(300).collect();
    Status::not_found(format!("image {name:?} is not in the store: pull it first"))
}

/// The store could not do it.
pub fn store(error: StoreError) -> Status {
    Status::new(code(&error), error.to_string())
}

/// The code of an error of the store.
pub fn code(error: &StoreError) -> Code {
    match error {
        StoreError::Full { .. } => Code::ResourceExhausted,
        StoreError::NoImage { .. } | StoreError::NoBlob { .. } | StoreError::NoLayer { .. } => Code::NotFound,
        StoreError::Ambiguous { .. } => Code::InvalidArgument,
        StoreError::InUse { .. } | StoreError::ContainerInUse { .. } | StoreError::ManyNames { .. } => {
            Code::FailedPrecondition
        }
        StoreError::BadBlob { .. } | StoreError::Damaged { .. } => Code::DataLoss,
        _ => Code::Internal,
    }
}

/// The files about registries cannot be read, or say no.
pub fn settings(error: SettingsError) -> Status {
    let code = match error {
        SettingsError::Ambiguous { .. } => Code::InvalidArgument,
        SettingsError::Blocked { .. } => Code::PermissionDenied,
        _ => Code::Internal,
    };
    Status::new(code, error.to_string())
}

/// The signature policy cannot be read: nobody knows then what may be let in.
pub fn policy(error: PolicyError) -> Status {
    Status::unknown(format!("{SIGNATURE}: {error}"))
}

/// A variable of rcrun-cri's environment is no good.
pub fn environment(error: impl std::fmt::Display) -> Status {
    Status::internal(format!("rcrun-cri's environment: {error}"))
}

/// None of the names that `name` stands for could be pulled.
pub fn pull(name: &Name, failures: &[(Reference, PullError)]) -> Status {
    // A registry that has no such image says less than one that could not be asked.
    let telling =
        failures.iter().map(|(_, failure)| kind(failure)).find(|kind| *kind != Kind::Code(Code::NotFound));
    let all: Vec<String> =
        failures.iter().map(|(reference, failure)| format!("pull {reference}: {failure}")).collect();
    let message = match all.is_empty() {
        true => format!("{name} stands for no image"),
        false => all.join("; "),
    };
    match telling {
        None => Status::not_found(message),
        Some(Kind::Code(code)) => Status::new(code, message),
        Some(Kind::Known(word)) => Status::unknown(format!("{word}: {message}")),
    }
}

/// What a client is told of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Code(Code),
    /// A word that the kubelet knows.
    Known(&'static str),
}

fn kind(failure: &PullError) -> Kind {
    match failure {
        PullError::Registry(failure) => match failure.kind() {
            ErrorKind::NotFound => Kind::Code(Code::NotFound),
            ErrorKind::LoginNeeded => Kind::Code(Code::Unauthenticated),
            ErrorKind::LoginRefused => Kind::Code(Code::PermissionDenied),
            ErrorKind::Unavailable => Kind::Known(UNAVAILABLE),
            ErrorKind::Stopped => Kind::Code(Code::Cancelled),
            ErrorKind::Other => Kind::Code(Code::Internal),
        },
        PullError::Policy(_) => Kind::Known(SIGNATURE),
        PullError::Store(failure) => Kind::Code(code(failure)),
        PullError::Manifest { error: ManifestError::Platform { .. }, .. } | PullError::Platform { .. } => {
            Kind::Code(Code::NotFound)
        }
        PullError::ConfigSize { .. } | PullError::BlobSize { .. } | PullError::MediaType { .. } => {
            Kind::Code(Code::FailedPrecondition)
        }
        PullError::Blob { .. } | PullError::DiffId { .. } | PullError::Size { .. } => {
            Kind::Code(Code::DataLoss)
        }
        PullError::Unpack { error, .. } => Kind::Code(unpack_code(error)),
        _ => Kind::Code(Code::Internal),
    }
}

/// A full disk, or a damaged layer.
fn unpack_code(failure: &UnpackError) -> Code {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(failure);
    while let Some(failure) = source {
        let kind = failure.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(kind, Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)) {
            return Code::ResourceExhausted;
        }
        source = failure.source();
    }
    Code::Internal
}
