//! A bundle on disk: the bytes of config.json, the root file system's directory.
//!
//! OCI runtime specification, bundle.md.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::spec::{self, Spec, SpecError};

/// A bundle whose configuration is valid and whose root file system is there.
#[derive(Debug)]
pub struct Bundle {
    /// Its directory, absolute.
    pub path: PathBuf,
    /// config.json as it was read: what the container was made from.
    pub config: Vec<u8>,
    /// config.json, parsed and checked.
    pub spec: Spec,
    /// The root file system's directory, absolute.
    pub root: PathBuf,
    /// The same, open (O_PATH).
    pub root_fd: OwnedFd,
    /// What an image's container has beside a bundle's.
    pub image: Option<ImageParts>,
}

/// What a container that was made from an image has.
#[derive(Debug)]
pub struct ImageParts {
    /// The root file system, mounted and attached nowhere; [`Bundle::root`] is where it will be.
    pub mount: OwnedFd,
    /// The directory that goes away with the container, absolute; None where that is the caller's.
    pub directory: Option<PathBuf>,
    /// The network namespace is nobody else's: its loopback device is to be brought up.
    pub loopback: bool,
}

impl Bundle {
    /// The root file system's files: the mount, where there is one.
    pub fn files(&self) -> &OwnedFd {
        self.image.as_ref().map_or(&self.root_fd, |image| &image.mount)
    }
}

/// Why a directory is no bundle.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum BundleError {
    #[error("bundle {path:?}: {error}")]
    Directory { path: PathBuf, error: std::io::Error },
    #[error("bundle {path:?}: no config.json: make one with `rcrun spec`")]
    NoConfig { path: PathBuf },
    #[error("bundle {path:?}: read config.json: {error}")]
    Config { path: PathBuf, error: std::io::Error },
    #[error("bundle {path:?}: {error}")]
    Spec { path: PathBuf, error: SpecError },
    #[error("bundle {path:?}: root file system {root:?} (root.path): {error}")]
    Root { path: PathBuf, root: PathBuf, error: Errno },
}

impl Bundle {
    /// Reads and checks the bundle at `path`.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let (path, config, spec) = Self::read(path)?;
        let root = path.join(spec.root().as_ref().map(|r| r.path().as_path()).unwrap_or(Path::new("rootfs")));
        let (path, root_fd) = Self::open_root(path, &root)?;
        Ok(Self { path, config, spec, root, root_fd, image: None })
    }

    /// The same where the root file system is a mount that is attached nowhere yet: at `root`, an empty directory, it will be.
    pub fn with_mount(path: &Path, root: &Path, image: ImageParts) -> Result<Self, BundleError> {
        let (path, config, spec) = Self::read(path)?;
        let (path, root_fd) = Self::open_root(path, root)?;
        Ok(Self { path, config, spec, root: root.into(), root_fd, image: Some(image) })
    }

    fn read(path: &Path) -> Result<(PathBuf, Vec<u8>, Spec), BundleError> {
        let path =
            std::path::absolute(path).map_err(|error| BundleError::Directory { path: path.into(), error })?;
        let config = match std::fs::read(path.join("config.json")) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(match std::fs::metadata(&path) {
                    Ok(_) => BundleError::NoConfig { path },
                    Err(error) => BundleError::Directory { path, error },
                });
            }
            Err(error) => return Err(BundleError::Config { path, error }),
        };
        match spec::parse(&config) {
            Ok(spec) => Ok((path, config, spec)),
            Err(error) => Err(BundleError::Spec { path, error }),
        }
    }

    fn open_root(path: PathBuf, root: &Path) -> Result<(PathBuf, OwnedFd), BundleError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(root, flags, Mode::empty()) {
            Ok(fd) => Ok((path, fd)),
            Err(error) => Err(BundleError::Root { path, root: root.into(), error }),
        }
    }
}

/// The home directory of `uid` in the /etc/passwd below `root`, or `/`.
///
/// The file is the container's, so nothing in it is trusted: it is read inside the root, up to
/// 1 MiB, and an entry that is no absolute path on one line counts as absent.
pub fn home_directory(root: &OwnedFd, uid: u32) -> String {
    text_inside(root, "etc/passwd").and_then(|text| home_in(&text, uid)).unwrap_or_else(|| "/".into())
}

/// A text file of the container's, not trusted: resolved inside `root`, regular, its first MiB; what is no UTF-8 is replaced. None where
/// there is no such file.
pub(crate) fn text_inside(root: &OwnedFd, path: &str) -> Option<String> {
    const LIMIT: usize = 1 << 20;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found =
        rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve).ok()?;
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&found).ok()?.st_mode);
    if kind != rustix::fs::FileType::RegularFile {
        return None;
    }
    // Opened for reading only now: to open a device is to use it, and which one the image decides.
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut bytes = vec![0; 4096];
    let mut length = 0;
    while length < LIMIT {
        match rustix::io::read(&fd, &mut bytes[length..]).ok()? {
            0 => break,
            read => length += read,
        }
        bytes.resize((length + 4096).max(bytes.len()), 0);
    }
    bytes.truncate(length);
    Some(
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

/// The home directory of `uid` in the text of an /etc/passwd, if it is an absolute path.
#[doc(hidden)]
pub fn home_in(passwd: &str, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let home = (fields.nth(2)? == uid).then(|| fields.nth(2))??;
        (home.starts_with('/') && !home.contains('\0')).then(|| home.to_owned())
    };
    passwd.lines().find_map(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_of_the_uid_counts() {
        let text = "root:x:0:0:root:/root:/bin/sh\nbroken\nu:x:7:7::/home/u:/bin/sh\nv:x:7:7::/home/v:\n";
        assert_eq!(home_in(text, 7).as_deref(), Some("/home/u"));
        assert_eq!(home_in(text, 0).as_deref(), Some("/root"));
        assert_eq!(home_in(text, 8), None);
        assert_eq!(home_in("x:x:1:1::relative:\n", 1), None);
    }

    #[test]
    fn a_directory_without_config_says_how_to_make_one() {
        let dir = tempfile::tempdir().unwrap();
        let error = Bundle::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("no config.json") && error.contains("rcrun spec"), "{error}");
        let error = Bundle::open(&dir.path().join("missing")).unwrap_err().to_string();
        assert!(error.contains("missing") && error.contains("No such file"), "{error}");
    }

    #[test]
    fn a_passwd_that_is_no_regular_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/passwd")).unwrap();
        let root = std::fs::File::open(dir.path()).unwrap().into();
        assert_eq!(home_directory(&root, 0), "/");
    }
}
