//! The root file system: an overlay of the image's layers, as a mount that is attached nowhere.
//!
//! Layers are named through a descriptor of the directory of all layers, so that no path is too long for fsconfig(2)
//! and none has to be escaped. With mapped ids that descriptor is one detached, id-mapped clone of the directory
//! (Linux 6.15 lets an overlay have layers on such); an older kernel does it in a mount namespace of its own,
//! [`super::private`].

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::private;
use crate::image::store::IdRange;
use crate::launch::idmap::IdMaps;
use crate::plan::step::{FsOption, IdMap, UserNamespace};
use crate::rootfs::mount::new_file_system;
use crate::sys::{During, Failure};

/// Why there is no id-mapped mount of the layers.
const NOT_MAPPED: &str = "mount_setattr (this kernel cannot map the ids of the store's file system, as --userns auto needs it: leave that \
                          out, or put the store on ext4, xfs or btrfs with --storage)";

/// What is mounted.
#[derive(Clone, Debug)]
pub(super) struct Overlay<'a> {
    /// The directory of all layers, absolute.
    pub layers: &'a Path,
    /// The layers' trees below it, from the lowest to the highest.
    pub trees: Vec<PathBuf>,
    /// The container's directory, with `upper`, `work` and the empty `rootfs` in it: absolute, and open.
    pub directory: (&'a Path, BorrowedFd<'a>),
    /// The layers' ids are seen as these.
    pub ids: Option<IdRange>,
    /// overlayfs' extended attributes are `user.overlay.*`: those of a user namespace.
    pub user_attributes: bool,
    /// Nothing needs to reach the disk: all of it goes away with the container.
    pub volatile: bool,
}

impl Overlay<'_> {
    /// Mounts it.
    pub fn mount(&self) -> Result<OwnedFd, Failure> {
        match self.by_descriptors() {
            // A kernel without `lowerdir+` (6.5), or that takes no layer on a detached mount (6.15).
            Err(first @ Failure { errno: Errno::INVAL, .. }) => {
                // Where both fail, it is for another reason, which the kernel's words tell.
                private::mount(self).map_err(|second| match first.note.as_str() {
                    "" => second,
                    _ => first,
                })
            }
            mounted => mounted,
        }
    }

    /// From the highest to the lowest, each once: what is below a second occurrence is hidden by the first.
    pub fn lowers(&self) -> Vec<&Path> {
        let mut lowers: Vec<&Path> = Vec::new();
        for tree in self.trees.iter().rev() {
            if !lowers.contains(&tree.as_path()) {
                lowers.push(tree);
            }
        }
        lowers
    }

    fn by_descriptors(&self) -> Result<OwnedFd, Failure> {
        let layers = self.open_layers()?;
        let below = |fd: i32, path: &Path| c_string(format!("/proc/self/fd/{fd}/{}", path.display()));
        let own = |name: &str| below(self.directory.1.as_raw_fd(), Path::new(name));
        let value = |key: &CStr, value: CString| FsOption::Value(key.into(), value);
        let mut options: Vec<FsOption> = self
            .lowers()
            .into_iter()
            .map(|path| value(c"lowerdir+", below(layers.as_raw_fd(), path)))
            .collect();
        if options.is_empty() {
            options.push(value(c"lowerdir+", own("rootfs")));
        }
        options.push(value(c"upperdir", own("upper")));
        options.push(value(c"workdir", own("work")));
        options.extend(self.flags().into_iter().map(|flag| FsOption::Flag(flag.into())));
        new_file_system(c"overlay", Some(c"overlay"), None, &options, 0)
    }

    /// Options that are words.
    pub fn flags(&self) -> Vec<&'static CStr> {
        let flags = [(self.user_attributes, c"userxattr"), (self.volatile, c"volatile")];
        flags.into_iter().filter(|(wanted, _)| *wanted).map(|(_, flag)| flag).collect()
    }

    /// The directory of all layers: a clone of it with the ids mapped, where they are.
    pub fn open_layers(&self) -> Result<OwnedFd, Failure> {
        match self.ids {
            None => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                rustix::fs::open(self.layers, flags, Mode::empty()).during("open the layers")
            }
            Some(ids) => mapped(self.layers, ids),
        }
    }
}

/// A detached clone of `path`'s mount in which each id of the files is one of `ids`.
pub(super) fn mapped(path: &Path, ids: IdRange) -> Result<OwnedFd, Failure> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(rustix::fs::CWD, path, flags).during("open_tree")?;
    let line = format!("0 {} {}\n", ids.first, ids.count);
    let namespace = UserNamespace::New { uids: line.clone(), gids: line };
    let map = IdMap { namespace, recursive: false };
    IdMaps::default().apply(tree.as_fd(), &map).map_err(|failure| match failure.errno {
        // The general reason speaks of a configuration's mappings.
        Errno::INVAL => Failure { operation: NOT_MAPPED, ..failure },
        _ => failure,
    })?;
    Ok(tree)
}

fn c_string(text: String) -> CString {
    CString::new(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_comes_twice_is_mounted_once_where_it_is_highest() {
        let directory = std::fs::File::open("/").unwrap();
        let overlay = Overlay {
            layers: Path::new("/layers"),
            trees: ["a", "b", "a", "c"].map(PathBuf::from).into(),
            directory: (Path::new("/c"), directory.as_fd()),
            ids: None,
            user_attributes: false,
            volatile: true,
        };
        assert_eq!(overlay.lowers(), ["c", "a", "b"].map(Path::new));
        assert_eq!(overlay.flags(), [c"volatile"]);
    }
}
