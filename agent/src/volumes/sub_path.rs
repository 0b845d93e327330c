//! subPath: a part of a volume, found without leaving it, and bound to a path of the agent's own that no container can swap.
//!
//! The binds are `STATE/pods/UID/sub-paths/VOLUME/CONTAINER/INDEX`, made anew with each start of the container.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fchmod, fstat, mkdirat, openat2};
use rustix::io::Errno;

use super::file_system::{FileError, On as _, make_directories};
use super::{mount, tree};

/// Renames in a volume while a path is looked up make the kernel give up; so often it is asked again.
const TRIES: usize = 64;

/// The names of a subPath that is relative and does not go up. Err is why not.
pub(super) fn parts(sub_path: &str) -> Result<Vec<&str>, String> {
    let parts: Option<Vec<&str>> = Path::new(sub_path)
        .components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| match part {
            Component::Normal(part) => part.to_str(),
            _ => None,
        })
        .collect();
    parts.ok_or_else(|| format!("subPath {sub_path:?}: a relative path without .. is needed"))
}

/// Finds a part of a volume; directories that are not there are made, with the volume's own mode.
pub(super) fn open(volume: &Path, parts: &[&str]) -> Result<OwnedFd, String> {
    let whole: PathBuf = parts.iter().collect();
    let top = rustix::fs::open(volume, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .on("open", volume)
        .map_err(|error| error.to_string())?;
    for _ in 0..TRIES {
        let found = match resolve(&top, &whole, OFlags::PATH) {
            Err(Errno::NOENT) => make(&top, parts),
            found => found,
        };
        return match found {
            Err(Errno::AGAIN | Errno::EXIST) => continue,
            Err(Errno::XDEV) => {
                Err(format!("subPath {}: a symbolic link in it leads out of the volume", whole.display()))
            }
            found => found.on("open subPath", &volume.join(&whole)).map_err(|error| error.to_string()),
        };
    }
    Err(format!("subPath {}: it changes all the time", whole.display()))
}

fn resolve(top: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    openat2(top, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Makes what is missing; then all of it is found anew.
fn make(top: &OwnedFd, parts: &[&str]) -> Result<OwnedFd, Errno> {
    let mode = Mode::from_raw_mode(fstat(top)?.st_mode & 0o7777);
    let mut path = PathBuf::new();
    for part in parts {
        let above = resolve(top, &path, OFlags::PATH | OFlags::DIRECTORY)?;
        path.push(part);
        match mkdirat(&above, *part, mode) {
            Ok(()) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                // The umask took bits away.
                fchmod(resolve(&above, Path::new(part), flags)?, mode)?;
            }
            // What it is, is seen when it is gone through.
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    match resolve(top, &path, OFlags::PATH) {
        // A link to nothing.
        Err(Errno::NOENT) => Err(Errno::LOOP),
        found => found,
    }
}

/// Binds what was found to the path that the runtime is told.
pub(super) fn bind(
    source: &OwnedFd,
    directory: &Path,
    volume: &str,
    container: &str,
    index: usize,
) -> Result<PathBuf, FileError> {
    let above = directory.join("sub-paths").join(volume).join(container);
    make_directories(&above)?;
    let target = above.join(index.to_string());
    // Of an earlier start, maybe of something else.
    mount::detach(&target)?;
    tree::remove(&target)?;
    let status = fstat(source).on("look at", &target)?;
    if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
        make_directories(&target)?;
    } else {
        std::fs::File::create_new(&target).on("make", &target)?;
    }
    mount::bind(source.as_fd(), &target)?;
    Ok(target)
}
