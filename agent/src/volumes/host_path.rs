//! hostPath: what is at a path of the machine is what its type says, or is made so.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::plan::HostPathKind;

/// Checks, or makes. Links are followed: the path is the administrator's.
pub(super) fn check(path: &Path, kind: HostPathKind) -> Result<(), String> {
    let at = || path.display();
    let kind_of = || match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.file_type())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("hostPath {}: {error}", at())),
    };
    let made = |made: io::Result<()>| match made {
        // Somebody else was faster: what it is, is checked below.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(format!("hostPath {}: cannot make it: {error}", at()))
        }
        _ => Ok(()),
    };
    match kind {
        HostPathKind::Any => return Ok(()),
        HostPathKind::DirectoryOrCreate if kind_of()?.is_none() => {
            made(std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path))?;
        }
        HostPathKind::FileOrCreate if kind_of()?.is_none() => {
            let options = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
            made(options.map(drop))?;
        }
        _ => {}
    }
    let (is_right, what): (fn(std::fs::FileType) -> bool, _) = match kind {
        HostPathKind::Any => return Ok(()),
        HostPathKind::DirectoryOrCreate | HostPathKind::Directory => (|kind| kind.is_dir(), "a directory"),
        HostPathKind::FileOrCreate | HostPathKind::File => (|kind| kind.is_file(), "a file"),
        HostPathKind::Socket => (|kind| kind.is_socket(), "a socket"),
        HostPathKind::CharDevice => (|kind| kind.is_char_device(), "a character device"),
        HostPathKind::BlockDevice => (|kind| kind.is_block_device(), "a block device"),
    };
    match kind_of()? {
        Some(kind) if is_right(kind) => Ok(()),
        Some(_) => Err(format!("hostPath {}: it is not {what}", at())),
        None => Err(format!("hostPath {}: there is nothing; {what} is needed", at())),
    }
}
