//! Makes what a plan says, and takes it away. Both may be cut off at any point and come again.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::file_system::{FileError, make_directories, make_directory, open_directory};
use super::mount::Swap;
use super::plan::{Group, Plan, Source, Volume};
use super::{VolumeError, atomic, host_path, mount, nfs, ownership, secrets, tree};

/// Of emptyDirs.
const EMPTY_MODE: u32 = 0o777;

/// Where a volume is, for the runtime. None: an image.
pub(super) fn place(volume: &Volume, directory: &Path) -> Option<PathBuf> {
    match &volume.source {
        Source::Disk { .. }
        | Source::Memory { .. }
        | Source::Nfs { .. }
        | Source::Files { secret: false, .. } => Some(directory.join("volumes").join(&volume.name)),
        Source::Files { secret: true, .. } => Some(secrets(directory)?.1.join(&volume.name)),
        Source::HostPath { path, .. } | Source::Local { path } => Some(path.clone()),
        Source::Image { .. } => None,
    }
}

/// See [`super::prepare`].
pub(super) fn prepare(plan: &Plan, directory: &Path) -> Result<(), VolumeError> {
    for volume in &plan.volumes {
        prepare_one(volume, plan.group, directory)
            .map_err(|message| VolumeError { volume: volume.name.clone(), message })?;
    }
    Ok(())
}

fn prepare_one(volume: &Volume, group: Option<Group>, directory: &Path) -> Result<(), String> {
    let Some(place) = place(volume, directory) else { return Ok(()) };
    match &volume.source {
        Source::Disk { .. } => empty_directory(&place, group, directory),
        Source::Memory { limit } => memory(&place, *limit, group, directory),
        Source::Files { files, secret } => {
            let above = match secret {
                true => secrets_of(directory),
                false => make_directories(&directory.join("volumes")),
            };
            above.and_then(|()| atomic::write(&place, files, group.map(|group| group.id)).map(drop))
        }
        Source::HostPath { path, kind } => return host_path::check(path, *kind),
        Source::Local { path } => return local(volume, path, group, directory),
        Source::Nfs { server, path, options } => {
            return nfs::mount(server, path, options, volume.read_only, &place);
        }
        Source::Image { .. } => Ok(()),
    }
    .map_err(|error| error.to_string())
}

fn empty_directory(place: &Path, group: Option<Group>, directory: &Path) -> Result<(), FileError> {
    make_directories(&directory.join("volumes"))?;
    make_directory(place, EMPTY_MODE)?;
    match group {
        // Nothing is in it when this is done for the first time, and nothing changes the second time.
        Some(group) => ownership::give_empty(place, group.id),
        None => Ok(()),
    }
}

fn memory(place: &Path, limit: Option<u64>, group: Option<Group>, directory: &Path) -> Result<(), FileError> {
    make_directories(&directory.join("volumes"))?;
    if !mount::is_mounted(place)? {
        make_directory(place, 0o700)?;
        mount::tmpfs(place, EMPTY_MODE, limit, Swap::Allowed)?;
    }
    match group {
        Some(group) => ownership::give_empty(place, group.id),
        None => Ok(()),
    }
}

/// The directory of a Pod's secrets. One tmpfs is for all Pods: each mount makes every container's start slower.
fn secrets_of(directory: &Path) -> Result<(), FileError> {
    let Some((root, of_pod)) = secrets(directory) else { return make_directories(directory) };
    make_directories(&root)?;
    // Two Pods that are the first at the same time would mount it twice, and the second one hide the files of the first.
    let _alone = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    if !mount::is_mounted(&root)? {
        mount::tmpfs(&root, 0o700, None, Swap::Refused)?;
    }
    make_directories(&of_pod)
}

/// Held while the tmpfs of secrets comes or goes, or a Pod's directory in it comes.
static SECRETS: Mutex<()> = Mutex::new(());

/// Removes a Pod's secrets, and with the last ones what they were on.
fn remove_secrets(root: &Path, of_pod: &Path) -> Result<(), FileError> {
    tree::remove(of_pod)?;
    let _alone = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    if names(root).is_empty() && mount::is_mounted(root)? {
        mount::detach(root)?;
    }
    Ok(())
}

/// A volume that others made. That its files were given to the Pod's group is remembered, and not done again for this Pod.
fn local(volume: &Volume, path: &Path, group: Option<Group>, directory: &Path) -> Result<(), String> {
    if !ownership::is_directory(path).map_err(|error| error.to_string())? {
        return Err(format!(
            "local volume {}: it is not a directory; make it, or correct the PersistentVolume",
            path.display()
        ));
    }
    let Some(group) = group.filter(|_| !volume.read_only) else { return Ok(()) };
    let done = directory.join("owned").join(&volume.name);
    if done.exists() {
        return Ok(());
    }
    let owned = ownership::give_all(path, group).and_then(|()| make_directories(&done));
    owned.map_err(|error| error.to_string())
}

/// See [`super::tear_down`].
pub(super) fn tear_down(directory: &Path) -> Result<(), VolumeError> {
    // With what else the agent put there for the Pod.
    take_down(directory, &[directory.to_owned()])
}

/// See [`super::release`].
pub(super) fn release(directory: &Path) -> Result<(), VolumeError> {
    take_down(directory, &["volumes", "sub-paths"].map(|below| directory.join(below)))
}

/// Unmounts all volumes of a Pod and removes these directories of it. It goes on past an error and tells the first.
fn take_down(directory: &Path, removed: &[PathBuf]) -> Result<(), VolumeError> {
    let served = if names(&directory.join("volumes")).is_empty() { Ok(()) } else { detach_served(directory) };
    let mut first = served.err().map(|message| VolumeError { volume: "(all)".into(), message });
    let mut note = |done: Result<(), FileError>| {
        if let Err(error) = done {
            first.get_or_insert(VolumeError { volume: "(all)".into(), message: error.to_string() });
        }
    };
    // Mounts go first and at once: a server that does not answer is not asked for what is to be removed. Whatever is there instead of
    // the directory is removed below.
    if let Ok(own) = open_directory(directory) {
        note(mount::detach_entries(own.as_fd(), &directory.join("volumes"), 0));
        note(mount::detach_entries(own.as_fd(), &directory.join("sub-paths"), 2));
    }
    if let Some((root, of_pod)) = secrets(directory) {
        note(remove_secrets(&root, &of_pod));
    }
    removed.iter().for_each(|path| note(tree::remove(path)));
    first.map_or(Ok(()), Err)
}

/// Unmounts what is on servers, parts of it too: the end of the last mount of a file system asks its server.
fn detach_served(directory: &Path) -> Result<(), String> {
    let paths = mount::of_servers(directory).map_err(|error| error.to_string())?;
    if paths.is_empty() { Ok(()) } else { nfs::detach(paths) }
}

/// What is in a directory; nothing if it is not there.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
