//! What goes wrong with images, as codes of gRPC.

use rcrun::image::registry::settings::SettingsError;
use rcrun::image::store::StoreError;
use tonic::{Code, Status};

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
