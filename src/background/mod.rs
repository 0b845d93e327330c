//! Containers in the background: made of images, each held by its shim, known by name until they are removed.
//!
//! In: an image and options, as of a run in the foreground. Out: a container that outlives this process, and what can be asked of it
//! later by any other. There is no daemon: everything is in files, and each command brings to an end what a dead process left
//! ([`Containers::settle`]).
//!
//! ```text
//! STORAGE/containers/ID/   the directory of [`crate::image::container`], which is the shim's bundle, too
//!   background.json        [`Record`]; as long as it is there, the container is
//!   config.json, shim.json, exit.json, log
//! STORAGE/background.lock  held while names are taken and containers removed
//! STORAGE/leases/          addresses on the bridge
//! STATE-shims/ID/          volatile: the shim's
//! /run/netns/rcrun-ID      its network namespace, with a bridge
//! ```
//!
//! A container's end gives its addresses and ports back, and with `--rm` itself: a poststop hook calls [`Containers::ended`]. Where that
//! could not run, the next command does it. Runs in the caller's process, as root.

mod error;
mod find;
mod launch;
pub mod log;
mod network;
mod record;
mod remove;
mod status;
mod stop;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

pub use error::BackgroundError;
pub use launch::{New, Wanted};
pub use network::{Network, published};
pub use record::Record;
pub use status::Status;

use crate::image::store::Store;
use crate::state;

/// Where network namespaces have names.
const NETNS: &str = "/run/netns";

/// All containers in the background of one `--storage`.
#[derive(Debug)]
pub struct Containers {
    images: Store,
    state: state::Store,
    shims: PathBuf,
}

/// Nobody else takes a name, plugs in or removes a container while this lives.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its lock")] OwnedFd);

impl Containers {
    /// Those of an image store. `state` has the containers' state (`--root`), `shims` is a directory beside it.
    pub fn new(images: Store, state: state::Store, shims: PathBuf) -> Self {
        Self { images, state, shims }
    }

    /// The image store.
    pub fn images(&self) -> &Store {
        &self.images
    }

    /// A container's directory, which is also its bundle.
    pub fn directory(&self, id: &str) -> PathBuf {
        self.images.root().join("containers").join(id)
    }

    /// The log of a container, in the CRI's format: [`log`].
    pub fn log(&self, id: &str) -> PathBuf {
        self.directory(id).join("log")
    }

    /// The shim's volatile directory.
    pub fn shim_run(&self, id: &str) -> PathBuf {
        self.shims.join(id)
    }

    /// Waits for its turn.
    pub fn lock(&self) -> Result<Lock, BackgroundError> {
        let path = self.images.root().join("background.lock");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR);
        let fd = fd.map_err(|error| BackgroundError::file("open", &path, error))?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::LockExclusive))
            .map_err(|error| BackgroundError::file("lock", &path, error))?;
        Ok(Lock(fd))
    }
}

/// Writes a file whole: a new one takes its name.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), BackgroundError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let new = path.with_extension("new");
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new);
    let written = file.and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| BackgroundError::file("write", &new, error))?;
    std::fs::rename(&new, path).map_err(|error| BackgroundError::file("rename", &new, error))
}
