//! Why the store could not do what was asked.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::image::remove::Unremoved;
use crate::image::{Digest, ManifestError};

/// One failed operation and its object.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StoreError {
    #[error("{operation} {}: {error}{}", path.display(), hint(error))]
    File { operation: &'static str, path: PathBuf, error: io::Error },
    #[error(
        "{operation} {}: {what} ({} free there): make room, or remove images with `rcrun image prune`",
        path.display(),
        megabytes(*free)
    )]
    Full { operation: &'static str, path: PathBuf, what: &'static str, free: u64 },
    #[error("{} is not empty and no image store: choose another directory with --storage", path.display())]
    NoStore { path: PathBuf },
    #[error("{} says {found}: this version of rcrun knows {known}", path.display())]
    Version { path: PathBuf, found: String, known: &'static str },
    #[error("{} is damaged: {reason}; {cure}", path.display())]
    Damaged { path: PathBuf, reason: String, cure: &'static str },
    #[error("{what} {digest} is not in the store: pull or load the image again")]
    NoBlob { what: &'static str, digest: Digest },
    #[error("blob {digest} is damaged: {reason}; pull or load the image again")]
    BadBlob { digest: Digest, reason: String },
    #[error("the blob that came as {expected} is {found}: it was changed on its way, or its source is wrong")]
    WrongDigest { expected: Digest, found: Digest },
    #[error("blob {digest} came with {found} bytes instead of {expected}")]
    WrongSize { digest: Digest, expected: u64, found: u64 },
    #[error("manifest {digest}: {error}")]
    Manifest { digest: Digest, error: ManifestError },
    #[error("configuration {digest} is none of an image: {reason}")]
    Config { digest: Digest, reason: String },
    #[error("the unpacked layer {diff_id} is not in the store: pull or load the image again")]
    NoLayer { diff_id: Digest },
    #[error("image {name:?} is not in the store{}", suggestion(name))]
    NoImage { name: String },
    #[error("container {id} has no directory in the store: remove it and make it again")]
    NoContainer { id: String },
    #[error("image id {prefix} is ambiguous: it begins both {} and {}", first.hex(), second.hex())]
    Ambiguous { prefix: String, first: Digest, second: Digest },
    #[error("image {name} is used by {state} container {container}: {cure}")]
    InUse { name: String, state: &'static str, container: String, cure: &'static str },
    #[error(
        "container id {id} is in use by a {state} container: delete that container, or choose another id"
    )]
    ContainerInUse { id: String, state: &'static str },
    #[error("image {id} has {count} names, {names}: remove them by name, or all of them with -f")]
    ManyNames { id: String, count: usize, names: String },
    #[error("{} is a mount point: unmount it, then run `rcrun image prune`", path.display())]
    MountPoint { path: PathBuf },
    #[error(
        "image {name} cannot be read, and with it what it needs: {error}; `rcrun rmi {name}` gives it up"
    )]
    Root { name: String, error: Box<StoreError> },
    #[error("settings {}: {reason}", path.display())]
    Settings { path: PathBuf, reason: String },
    #[error("environment variable {name} is {value:?}: expected true or false")]
    Variable { name: &'static str, value: String },
}

impl StoreError {
    /// Of a tree, or of something in it.
    pub(in crate::image) fn unremoved(Unremoved { operation, path, error }: Unremoved) -> Self {
        match error {
            Errno::BUSY | Errno::XDEV => Self::MountPoint { path },
            error => Self::file(operation, &path, error),
        }
    }

    /// A failed operation on a file; a full disk or quota says so, and how much is free.
    pub(in crate::image) fn file(operation: &'static str, path: &Path, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        let what = match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC) => "no space left on the file system",
            Some(Errno::DQUOT) => "the disk quota is used up",
            _ => return Self::File { operation, path: path.to_owned(), error },
        };
        Self::Full { operation, path: path.to_owned(), what, free: free_bytes(path) }
    }

    /// Is it a disk or a quota without room?
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// What goes through [`io::Write`] keeps its kind and its text.
impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::File { error, .. } => error.kind(),
            StoreError::Full { .. } => io::ErrorKind::StorageFull,
            StoreError::NoBlob { .. } | StoreError::NoLayer { .. } => io::ErrorKind::NotFound,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// What an unprivileged user may still write where `path` is or was to be.
fn free_bytes(path: &Path) -> u64 {
    let found = path.ancestors().find_map(|ancestor| rustix::fs::statvfs(ancestor).ok());
    found.map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ACCESS) => "; choose a directory of yours with --storage",
        Some(Errno::PERM) => "; has it the immutable or append-only flag (lsattr, chattr)?",
        Some(Errno::ROFS) => "; choose a writable directory with --storage",
        _ => "",
    }
}

/// An id is not pulled.
fn suggestion(name: &str) -> String {
    let bare = name.strip_prefix("sha256:").unwrap_or(name);
    let id = bare.len() >= 12 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
    match id || name.parse::<crate::image::Name>().is_err() {
        true => ": `rcrun images -a` lists what is".to_owned(),
        false => format!(": `rcrun pull {name}` gets it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_where_and_how_much_is_free() {
        let path = std::env::temp_dir().join("no-such-directory/blob");
        let error = StoreError::file("write", &path, Errno::NOSPC);
        assert!(error.is_full());
        let text = error.to_string();
        assert!(text.starts_with("write /") && text.contains("blob: no space left"), "{text}");
        assert!(text.contains(" MB free there)") && !text.contains("(0.0 MB"), "{text}");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::StorageFull);
        assert!(StoreError::file("write", &path, Errno::DQUOT).to_string().contains("quota"));
    }

    #[test]
    fn what_is_missing_is_suggested_as_it_can_be_had() {
        let text = |name: &str| StoreError::NoImage { name: name.into() }.to_string();
        assert!(text("busybox:1").ends_with("`rcrun pull busybox:1` gets it"));
        assert!(text("0123456789ab").contains("rcrun images -a"));
    }
}
