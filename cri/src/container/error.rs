//! What goes wrong with containers, as codes of gRPC.

use std::io::ErrorKind;

use rcrun::image::container::ContainerError;
use rcrun::image::store::StoreError;
use rcrun::monitor::MonitorError;
use tonic::{Code, Status};

use crate::state::{NotThere, TableError};

/// A field that a request must have.
pub fn missing(field: &str) -> Status {
    Status::invalid_argument(format!("{field} is missing"))
}

/// Nothing has this id.
pub fn not_there(error: NotThere) -> Status {
    Status::not_found(error.to_string())
}

/// A record could not be taken, written or removed.
pub fn table(error: TableError) -> Status {
    let code = match &error {
        TableError::Taken { .. } => Code::AlreadyExists,
        TableError::NotThere(_) => Code::NotFound,
        TableError::File { error, .. } => of_file(error.kind()),
    };
    Status::new(code, error.to_string())
}

/// The image store could not do it.
pub fn store(error: StoreError) -> Status {
    let code = match &error {
        StoreError::Full { .. } => Code::ResourceExhausted,
        StoreError::NoLayer { .. } | StoreError::NoImage { .. } => Code::NotFound,
        StoreError::File { error, .. } => of_file(error.kind()),
        _ => Code::Internal,
    };
    Status::new(code, error.to_string())
}

/// There is no root file system of an image.
pub fn root(error: ContainerError) -> Status {
    let code = match &error {
        ContainerError::File { error, .. } | ContainerError::Volume { error, .. } => of_file(error.kind()),
        ContainerError::Copy { error, .. } => of_file(error.kind()),
        _ => Code::Internal,
    };
    match error {
        ContainerError::Store(error) => store(error),
        error => Status::new(code, error.to_string()),
    }
}

/// A shim did not do what it was asked.
pub fn monitor(error: MonitorError) -> Status {
    let code = match &error {
        // As other runtimes say what the container's own program could not do.
        MonitorError::Refused(_) => Code::Unknown,
        MonitorError::Gone { .. } => Code::Unavailable,
        MonitorError::Late { .. } => Code::DeadlineExceeded,
        MonitorError::NoProgram { .. } => Code::FailedPrecondition,
        MonitorError::Call { error, .. } | MonitorError::File { error, .. } => of_file(error.kind()),
        MonitorError::Protocol { .. } => Code::Internal,
    };
    Status::new(code, error.to_string())
}

/// An operation on a file failed.
pub fn file(operation: &str, path: &std::path::Path, error: &std::io::Error) -> Status {
    Status::new(of_file(error.kind()), format!("{operation} {path:?}: {error}"))
}

fn of_file(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Code::ResourceExhausted,
        _ => Code::Internal,
    }
}
