//! A container out of an image: configuration, root file system, and the directory that both need.
//!
//! In: an image of the [`crate::image::store`], [`Options`]. Out: a [`crate::bundle::Bundle`] whose root is an
//! overlay of the image's layers, mounted and attached nowhere, so that no mount table grows; or files in a directory
//! ([`unpack`]). All of it runs in the caller's process, which is root of its user namespace by then
//! ([`crate::image::rootless`]).
//!
//! ```text
//! containers/ID/          0700; flock(2) held while the container is made and by its foreground process
//!   container.json        which layers it uses: [`crate::image::store::ContainerRecord`]
//!   upper/, work/         overlayfs' own
//!   rootfs/               empty: where the container's mount namespace has its root
//!   hostname, hosts, resolv.conf
//!   volumes/N/            the image's VOLUMEs
//! ```
//!
//! Who writes the configuration himself takes [`root`] alone.

pub mod config;
mod copy;
mod defaults;
mod devices;
mod directory;
mod files;
mod ids;
pub mod mounts;
pub mod options;
mod overlay;
mod prepare;
mod private;
pub mod quantities;
pub mod root;
pub mod security;
pub mod spec;
mod unpack;
pub mod users;
mod volumes;

use std::path::PathBuf;

pub use config::ImageConfig;
pub use defaults::{MASKED, PATH, READ_ONLY};
pub use devices::device;
pub use directory::{Directory, remove};
pub use files::add_host;
pub(crate) use ids::of_user;
pub use options::Options;
pub use prepare::{Base, Life, Prepared, prepare};
pub use unpack::{Unpack, unpack};

use crate::bundle::BundleError;
use crate::spec::SpecError;
use crate::sys::Failure;

/// Why there is no container of an image.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ContainerError {
    #[error("image {image}: configuration: {reason}")]
    Config { image: String, reason: String },
    #[error("image {image} is no image that can be run, but an artifact of the kind {kind:?}")]
    Artifact { image: String, kind: String },
    #[error("image {image} has neither Entrypoint nor Cmd: say what to run, rcrun run {image} COMMAND")]
    NoCommand { image: String },
    #[error("image {image}: user {user:?}: {error}")]
    User { image: String, user: String, error: users::UserError },
    #[error("{0}")]
    Option(String),
    #[error("{operation} {path:?}: {error}")]
    File { operation: &'static str, path: PathBuf, error: std::io::Error },
    #[error("mount the image's {layers} layers: {failure}{}", overlay_hint(.failure))]
    Overlay { layers: usize, failure: Failure },
    #[error("volume {path}: {error}")]
    Volume { path: String, error: std::io::Error },
    #[error("copy {path:?}: {operation}: {error}")]
    Copy { path: PathBuf, operation: &'static str, error: std::io::Error },
    #[error("user namespace: {0}")]
    Ids(String),
    #[error("{0:?} is not UTF-8, as config.json has to be: choose another path")]
    NotText(PathBuf),
    #[error("{0:?} is not empty: give a directory that does not exist yet")]
    NotEmpty(PathBuf),
    #[error(transparent)]
    Store(#[from] crate::image::StoreError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Rootless(#[from] crate::image::rootless::RootlessError),
}

impl ContainerError {
    fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| Self::File { operation, path, error }
    }

    fn errno(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.into();
        move |error| Self::File { operation, path, error: error.into() }
    }
}

fn overlay_hint(failure: &Failure) -> &'static str {
    match failure.errno {
        rustix::io::Errno::NODEV => ": this kernel has no overlayfs (modprobe overlay)",
        rustix::io::Errno::INVAL if failure.operation.starts_with("mount_setattr") => "",
        rustix::io::Errno::INVAL => {
            ": put the store where an overlay may have its upper layer (not on overlayfs itself, not on NFS) with \
             --storage; `dmesg` may say more"
        }
        rustix::io::Errno::PERM => ": overlayfs in a user namespace needs Linux 5.11",
        _ => "",
    }
}
