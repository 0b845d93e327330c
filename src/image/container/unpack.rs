//! An image as a bundle: `rootfs/` with what its layers make together, and the config.json that `rcrun run` would use.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::directory::Directory;
use super::options::Options;
use super::prepare::{Base, mounted};
use super::spec::Request;
use super::{ContainerError, copy, spec, users};
use crate::host;
use crate::id::ContainerId;
use crate::image::store::Use;
use crate::image::{remove, rootless};

/// How it is unpacked.
#[derive(Clone, Debug, Default)]
pub struct Unpack {
    /// No config.json.
    pub rootfs_only: bool,
    /// The configuration is one for a container of this user's: uid and gid.
    pub rootless: Option<(u32, u32)>,
}

/// Unpacks an image into `target`, a directory that is empty or does not exist. Nothing is left of it after an error.
pub fn unpack(base: Base<'_>, in_use: Use, target: &Path, options: &Unpack) -> Result<(), ContainerError> {
    let (contents, config) = base.read()?;
    let diff_ids = contents.diff_ids();
    let trees = base.trees(diff_ids)?;
    let made = Target::make(target)?;
    // The overlay shows what the layers are together; it is a container's for as long as that takes.
    let id = ContainerId::random();
    let state = Path::new("/nonexistent");
    let directory = Directory::make(base.store, &base.record(&id, diff_ids, state))?;
    drop(in_use);
    let layers = open_layers(&base.store.layers_path(), &trees)?;
    let root = mounted(&base, &directory, trees, None, true)?;
    let rootfs = target.join("rootfs");
    std::fs::create_dir(&rootfs).map_err(ContainerError::file("make directory", &rootfs))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from = rustix::fs::openat(&root, c".", flags, Mode::empty());
    let from = from.map_err(ContainerError::errno("open", "/"))?;
    let to = std::fs::File::open(&rootfs).map_err(ContainerError::file("open", &rootfs))?;
    copy::tree(from.as_fd(), to.as_fd(), &layers)?;
    if !options.rootfs_only {
        let text = configuration(&base, &config, &root, options)?;
        let path = target.join("config.json");
        std::fs::write(&path, text).map_err(ContainerError::file("write", &path))?;
    }
    made.keep();
    Ok(())
}

/// From the highest to the lowest.
fn open_layers(layers: &Path, trees: &[PathBuf]) -> Result<Vec<OwnedFd>, ContainerError> {
    let open = |tree: &PathBuf| {
        let path = layers.join(tree);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&path, flags, Mode::empty()).map_err(ContainerError::errno("open", &path))
    };
    trees.iter().rev().map(open).collect()
}

fn configuration(
    base: &Base<'_>,
    config: &super::ImageConfig,
    root: &OwnedFd,
    unpack: &Unpack,
) -> Result<String, ContainerError> {
    let options = Options { tty: false, ..Options::default() };
    let text = config.config.user.clone();
    let user = users::resolve(root, &text, &[]).map_err(|error| ContainerError::User {
        image: base.name.into(),
        user: text,
        error,
    })?;
    let request = Request {
        name: base.name,
        image: config,
        options: &options,
        user,
        hostname: "rcrun",
        root: "rootfs".into(),
        files: vec![],
        volumes: vec![],
        ids: None,
        makes_nodes: unpack.rootless.is_none(),
        permitted: host::permitted_capabilities(),
        many_ids: unpack.rootless.is_none() || !rootless::has_single_id(),
    };
    let mut spec = spec::spec(&request)?;
    if unpack.rootless.is_some() {
        spec = serde_json::from_slice(&rootless::seen_from_outside(spec.to_string().into_bytes()))
            .unwrap_or(spec);
    }
    let mut text = serde_json::to_string_pretty(&spec).unwrap_or_default();
    text.push('\n');
    Ok(text)
}

/// The directory that is filled; what is in it is removed on drop.
struct Target<'a> {
    path: &'a Path,
    existed: bool,
    kept: bool,
}

impl<'a> Target<'a> {
    fn make(path: &'a Path) -> Result<Self, ContainerError> {
        let c_path = CString::new(path.as_os_str().as_encoded_bytes()).unwrap_or_default();
        match rustix::fs::mkdir(&c_path, Mode::from_raw_mode(0o755)) {
            Ok(()) => Ok(Self { path, existed: false, kept: false }),
            Err(Errno::EXIST) => {
                let mut entries = std::fs::read_dir(path).map_err(ContainerError::file("read", path))?;
                match entries.next() {
                    None => Ok(Self { path, existed: true, kept: false }),
                    Some(_) => Err(ContainerError::NotEmpty(path.into())),
                }
            }
            Err(error) => Err(ContainerError::errno("make directory", path)(error)),
        }
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Target<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // Not remove_dir_all, which holds a descriptor for each level of the image's tree.
        let _ = remove::tree(rustix::fs::CWD, &self.path.join("rootfs"));
        let _ = std::fs::remove_file(self.path.join("config.json"));
        if !self.existed {
            let _ = std::fs::remove_dir(self.path);
        }
    }
}
