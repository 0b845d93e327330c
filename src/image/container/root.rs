//! A root file system for who writes the configuration himself: an endpoint that makes its containers in two steps.
//!
//! First the container's directory with the layers that it uses, and the mount; [`make`]. Later, maybe in another
//! process, the same mount again; [`mount`]. As long as the keeper is there, no garbage collection takes the directory,
//! whether the container was started yet or has ended; whoever made it removes it with [`super::remove`].

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::directory::Directory;
use super::overlay::Overlay;
use super::prepare::{Base, mounted, trees};
use super::{ContainerError, volumes};
use crate::host;
use crate::id::ContainerId;
use crate::image::store::{Store, StoreError, Use};
use crate::image::{Digest, remove};

/// A container's directory and its root file system.
#[derive(Debug)]
pub struct Root {
    /// Removed on drop, unless it is [`Directory::keep`]t.
    pub directory: Directory,
    /// The mount, attached nowhere.
    pub mount: OwnedFd,
}

/// Whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The container.
    pub id: &'a ContainerId,
    /// The directory of the containers' state, `--root`.
    pub state: &'a Path,
    /// Keeps the directory: see [`crate::image::store::ContainerRecord::keeper`].
    pub keeper: &'a Path,
}

impl Root {
    /// Where the container's mount namespace has its root: an empty directory.
    pub fn mount_point(&self) -> PathBuf {
        self.directory.path().join("rootfs")
    }

    /// Makes directories for the image's VOLUMEs `paths`, with what the image has there: sources and targets.
    pub fn volumes<'p>(
        &self,
        paths: impl Iterator<Item = &'p str>,
    ) -> Result<Vec<(PathBuf, String)>, ContainerError> {
        volumes::make(&self.directory, &self.mount, paths, None)
    }
}

/// Makes the directory of a container of `base`, whose layers are `diff_ids`, and mounts its root file system. `in_use` is
/// held until the container's record names the layers.
pub fn make(
    base: Base<'_>,
    diff_ids: &[Digest],
    in_use: Use,
    owner: &Owner<'_>,
) -> Result<Root, ContainerError> {
    let trees = base.trees(diff_ids)?;
    // The container's record names them.
    if let Some(path) = [owner.state, owner.keeper].into_iter().find(|path| path.to_str().is_none()) {
        return Err(ContainerError::NotText(path.into()));
    }
    let mut record = base.record(owner.id, diff_ids, owner.state);
    record.keeper = Some(owner.keeper.into());
    let directory = Directory::make(base.store, &record)?;
    drop(in_use);
    // A container does not outlive the machine: nothing of it needs to reach the disk.
    let mount = mounted(&base, &directory, trees, None, true)?;
    Ok(Root { directory, mount })
}

/// Mounts the root file system of a container that was made once more. Nobody may have it mounted now. `volatile` says that nothing
/// in it needs to outlive the machine.
pub fn mount(store: &Store, id: &ContainerId, volatile: bool) -> Result<OwnedFd, ContainerError> {
    let found = store.container(id)?.ok_or_else(|| StoreError::NoContainer { id: id.to_string() })?;
    let hidden = store.hidden_layers(&found.record.layers);
    let trees = trees(store, &found.record.layers[hidden..])?;
    let count = trees.len();
    // overlayfs' own: it says, too, that the last mount may have lost writes, but of a container that did not run there are none.
    let last = found.path.join("work/work");
    match remove::tree(rustix::fs::CWD, &last) {
        Err(unremoved) if unremoved.error != Errno::NOENT => {
            return Err(StoreError::unremoved(unremoved).into());
        }
        _ => {}
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(&found.path, flags, Mode::empty());
    let directory = directory.map_err(ContainerError::errno("open", &found.path))?;
    let overlay = Overlay {
        layers: &store.layers_path(),
        trees,
        directory: (&found.path, directory.as_fd()),
        ids: found.record.ids,
        user_attributes: host::in_user_namespace(),
        volatile,
    };
    overlay.mount().map_err(|failure| ContainerError::Overlay { layers: count, failure })
}
