//! What hides lower layers.

use rustix::fs::{FileType, Mode, XattrFlags, fsetxattr, mknodat};

use super::super::error::UnpackError;
use super::super::tar::Entry;
use super::{Extractor, There};

impl Extractor<'_> {
    /// Hides what lower layers have of `name`: by itself a file of this layer does, a directory if it is
    /// opaque.
    pub(super) fn hide(&mut self, name: &[u8], entry: &Entry) -> Result<(), UnpackError> {
        match self.look(name, entry)? {
            There::File | There::Whiteout => Ok(()),
            There::Directory => {
                self.tree.push(name, None, entry)?;
                self.make_opaque(entry)
            }
            There::Nothing => {
                self.tree.touch();
                // Any process may make this one: Linux 5.8.
                mknodat(self.tree.top()?, name, FileType::CharacterDevice, Mode::empty(), 0)
                    .map_err(|errno| UnpackError::call("mknod the whiteout", &entry.path, errno))?;
                self.list.whiteout(&self.tree.path_of(name))
            }
        }
    }

    /// Hides what lower layers have in the directory at the top of the tree.
    pub(super) fn make_opaque(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        self.made.opaque_root |= self.tree.is_root();
        set_opaque(self.tree.top()?, self.rootless)
            .map_err(|errno| UnpackError::call("make opaque the directory of", &entry.path, errno))?;
        self.tree.list_top(&mut self.list)?;
        self.list.opaque(self.tree.path())
    }
}

/// The attribute that overlayfs looks for, without and with `userxattr`.
pub(super) fn set_opaque(
    directory: std::os::fd::BorrowedFd<'_>,
    rootless: bool,
) -> Result<(), rustix::io::Errno> {
    let name = if rootless { c"user.overlay.opaque" } else { c"trusted.overlay.opaque" };
    fsetxattr(directory, name, b"y", XattrFlags::empty())
}
