//! Whole layers, from bytes to trees: what hostile ones do, and what ordinary ones become.

mod hostile;
mod layers;
mod packings;
mod round_trip;
pub mod writer;

use std::fs::{self, File};
use std::io::BufReader;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::*;

/// A directory with a layer in it, and things around it that must not change.
pub struct Layer {
    directory: tempfile::TempDir,
}

impl Layer {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("diff")).unwrap();
        fs::create_dir(directory.path().join("outside")).unwrap();
        fs::write(directory.path().join("outside/secret"), "secret").unwrap();
        fs::write(directory.path().join("secret"), "secret").unwrap();
        Self { directory }
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("diff")
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn stat(&self, path: &str) -> fs::Metadata {
        fs::symlink_metadata(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn has(&self, path: &str) -> bool {
        fs::symlink_metadata(self.at(path)).is_ok()
    }

    pub fn is_whiteout(&self, path: &str) -> bool {
        let stat = self.stat(path);
        stat.mode() & 0o170_000 == 0o020_000 && stat.rdev() == 0
    }

    pub fn xattr(&self, path: &str, name: &str) -> Option<Vec<u8>> {
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(self.at(path), name, &mut value[..]).ok()?;
        value.truncate(length);
        Some(value)
    }

    pub fn is_opaque(&self, path: &str) -> bool {
        let name = if is_root() { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
        self.xattr(path, name) == Some(b"y".to_vec())
    }

    pub fn unpack(&self, blob: &[u8]) -> Result<Unpacked, UnpackError> {
        self.unpack_with(blob, options())
    }

    /// Unpacks, checks what is around the layer and, if it worked, compares the layer with its list.
    pub fn unpack_with(&self, blob: &[u8], options: UnpackOptions<'_>) -> Result<Unpacked, UnpackError> {
        let diff = File::open(self.root()).unwrap();
        let mut digests = File::create(self.directory.path().join("digests")).unwrap();
        let result = unpack_layer(blob, Compression::None, diff.as_fd(), &mut digests, options);
        self.check_outside();
        if result.is_ok() {
            assert_eq!(self.differences(), Vec::<String>::new());
        }
        if let Err(error) = &result {
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        result
    }

    pub fn list(&self) -> String {
        fs::read_to_string(self.directory.path().join("digests")).unwrap()
    }

    pub fn differences(&self) -> Vec<String> {
        let diff = File::open(self.root()).unwrap();
        let list = BufReader::new(File::open(self.directory.path().join("digests")).unwrap());
        verify_layer(diff.as_fd(), list).unwrap().iter().map(ToString::to_string).collect()
    }

    fn check_outside(&self) {
        let names = |directory: &Path| {
            let mut names: Vec<_> =
                fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(self.directory.path()), ["diff", "digests", "outside", "secret"]);
        assert_eq!(names(&self.directory.path().join("outside")), ["secret"]);
        for file in ["secret", "outside/secret"] {
            let file = self.directory.path().join(file);
            assert_eq!(fs::read_to_string(&file).unwrap(), "secret");
            assert_eq!(fs::metadata(file).unwrap().nlink(), 1);
        }
    }
}

/// What fits the user that runs the tests.
pub fn options() -> UnpackOptions<'static> {
    UnpackOptions { rootless: !is_root(), ..UnpackOptions::default() }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Can the test not be done by this user? Says so.
pub fn needs_root(name: &str) -> bool {
    if !is_root() {
        // Past the test harness, which keeps what tests print.
        let _ = rustix::io::write(rustix::stdio::stderr(), format!("SKIP {name}: needs root\n").as_bytes());
    }
    !is_root()
}
