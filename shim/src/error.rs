//! Why a shim cannot hold its container.

use std::path::PathBuf;

use rustix::io::Errno;

/// A failed operation with its object.
#[derive(Debug)]
pub enum ShimError {
    /// The library's words.
    Library(Box<dyn std::error::Error>),
    /// A call without a file.
    Call {
        /// What for.
        operation: &'static str,
        /// The kernel's answer.
        error: Errno,
    },
    /// One line.
    Other(String),
    /// A file.
    File {
        /// What was to be done with it.
        operation: &'static str,
        /// It.
        path: PathBuf,
        /// The kernel's answer.
        error: std::io::Error,
    },
}

impl ShimError {
    /// The error of a call.
    pub fn call(operation: &'static str) -> impl FnOnce(Errno) -> Self {
        move |error| Self::Call { operation, error }
    }

    /// The error of a file.
    pub fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(Errno) -> Self {
        let path = path.into();
        move |error| Self::File { operation, path, error: error.into() }
    }
}

impl std::fmt::Display for ShimError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Library(error) => f.write_str(&rcrun::text::error_line(error.as_ref())),
            Self::Other(line) => f.write_str(line),
            Self::Call { operation, error } => write!(f, "shim: {operation}: {error}"),
            Self::File { operation, path, error } => write!(f, "shim: {operation} {path:?}: {error}"),
        }
    }
}

impl std::error::Error for ShimError {}

macro_rules! from_library {
    ($($error:ty),*) => {
        $(impl From<$error> for ShimError {
            fn from(error: $error) -> Self {
                Self::Library(Box::new(error))
            }
        })*
    };
}
from_library!(
    rcrun::lifecycle::Error,
    rcrun::bundle::BundleError,
    rcrun::launch::LaunchError,
    rcrun::monitor::MonitorError,
    rcrun::id::IdError,
    rcrun::sealed::SealError,
    rcrun::cgroups::CgroupError,
    rcrun::state::StateError
);
