//! What the store takes on the disk, shared things counted once.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{Container, Image, Layer, Store, StoreError, layout, remove};
use crate::image::Digest;

/// Bytes on the disk of each image, container and blob.
#[derive(Debug, Default)]
pub struct Usage {
    /// Images, each id once; their layers in [`Self::layers`].
    pub images: Vec<ImageUsage>,
    /// Of each layer, the unpacked tree.
    pub layers: HashMap<Digest, u64>,
    /// Containers with what they have written.
    pub containers: Vec<(Container, u64)>,
    /// Kept layer blobs, and how much of them garbage collection would free.
    pub kept: Vec<(Digest, u64)>,
    /// Manifests, indexes and configurations together.
    pub documents: u64,
    /// Layers and blobs that nothing needs: garbage collection frees them.
    pub garbage: u64,
}

/// One image of [`Usage`].
#[derive(Debug)]
pub struct ImageUsage {
    /// One of its entries.
    pub image: Image,
    /// Its layers that are unpacked.
    pub layers: Vec<Digest>,
    /// Containers that use it.
    pub containers: usize,
    /// Bytes of layers that no other image has.
    pub unique: u64,
    /// Bytes of layers that other images have, too.
    pub shared: u64,
}

/// What something takes of a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes on the disk.
    pub bytes: u64,
    /// Files, directories and all else that has an inode.
    pub inodes: u64,
}

impl Space {
    fn of(stat: &Stat) -> Self {
        Self { bytes: blocks(stat), inodes: 1 }
    }

    fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.inodes += other.inodes;
    }
}

impl Usage {
    /// Bytes of all images: their layers, each once, and their documents.
    pub fn of_images(&self) -> u64 {
        self.sum(|_| true) + self.documents
    }

    /// Bytes that would come free without the images that no container uses.
    pub fn reclaimable(&self) -> u64 {
        let used: HashSet<&Digest> =
            self.images.iter().filter(|image| image.containers > 0).flat_map(|image| &image.layers).collect();
        self.sum(|layer| !used.contains(layer))
    }

    fn sum(&self, counts: impl Fn(&Digest) -> bool) -> u64 {
        let layers: HashSet<&Digest> = self.images.iter().flat_map(|image| &image.layers).collect();
        layers.into_iter().filter(|layer| counts(layer)).filter_map(|layer| self.layers.get(layer)).sum()
    }
}

impl Store {
    /// Measures everything. Layers that were measured before are not again, since they never change.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let mut usage = Usage::default();
        let (images, containers) = (self.images()?, self.containers()?);
        for (diff_id, _) in self.stored(layout::LAYERS)? {
            if let Some(layer) = self.layer(&diff_id) {
                usage.layers.insert(diff_id, self.measured(&layer)?);
            }
        }
        self.measure_blobs(&images, &containers, &mut usage)?;
        self.measure_images(images, &containers, &mut usage);
        for container in containers {
            let bytes = disk_bytes(&container.path)?;
            usage.containers.push((container, bytes));
        }
        Ok(usage)
    }

    /// What all layers and blobs take, and what all containers have written: cheap enough to be asked again and again,
    /// since layers are measured once.
    pub fn space(&self) -> Result<(Space, Space), StoreError> {
        let (mut images, mut containers) = (Space::default(), Space::default());
        for (diff_id, _) in self.stored(layout::LAYERS)? {
            // One may be removed at this moment.
            let Some(layer) = self.layer(&diff_id) else { continue };
            let (Ok(bytes), Ok(record)) = (self.measured(&layer), layer.record()) else { continue };
            images.add(Space { bytes, inodes: record.files });
        }
        for (_, path) in self.stored(layout::BLOBS)? {
            images.add(rustix::fs::lstat(&path).map_or(Space::default(), |stat| Space::of(&stat)));
        }
        for container in self.containers()? {
            containers.add(measure(&container.path).unwrap_or_default());
        }
        Ok((images, containers))
    }

    /// Bytes that a layer takes on the disk.
    pub fn measured(&self, layer: &Layer) -> Result<u64, StoreError> {
        if let Some(disk) = layer.record()?.disk {
            return Ok(disk);
        }
        let disk = disk_bytes(&layer.diff())?;
        self.remember_disk(layer, disk);
        Ok(disk)
    }

    fn measure_images(&self, images: Vec<Image>, containers: &[Container], usage: &mut Usage) {
        let mut users: HashMap<Digest, usize> = HashMap::new();
        for image in images {
            if usage.images.iter().any(|known| known.image.id == image.id) {
                continue;
            }
            let contents = self.contents(&image).ok();
            let mut layers: Vec<Digest> =
                contents.map(|contents| contents.diff_ids().to_vec()).unwrap_or_default();
            layers.sort();
            layers.dedup();
            layers.retain(|layer| usage.layers.contains_key(layer));
            for layer in &layers {
                *users.entry(layer.clone()).or_default() += 1;
            }
            let is_user = |container: &&Container| container.record.image_id == image.id;
            let containers = containers.iter().filter(is_user).count();
            usage.images.push(ImageUsage { image, layers, containers, unique: 0, shared: 0 });
        }
        for image in &mut usage.images {
            for layer in &image.layers {
                let bytes = usage.layers.get(layer).copied().unwrap_or_default();
                match users.get(layer) {
                    Some(1) => image.unique += bytes,
                    _ => image.shared += bytes,
                }
            }
        }
    }

    fn measure_blobs(
        &self,
        images: &[Image],
        containers: &[Container],
        usage: &mut Usage,
    ) -> Result<(), StoreError> {
        let needed = self.needed(images, containers).ok();
        let mut documents: HashSet<Digest> = HashSet::new();
        for image in images {
            documents.insert(image.manifest.digest.clone());
            documents.extend(image.index.clone());
            if let Ok(contents) = self.contents(image) {
                documents.insert(contents.descriptor.digest.clone());
                documents.insert(contents.manifest.config.digest.clone());
            }
        }
        for (digest, path) in self.stored(layout::BLOBS)? {
            let bytes = rustix::fs::lstat(&path).map_or(0, |stat| blocks(&stat));
            if documents.contains(&digest) {
                usage.documents += bytes;
            } else if needed.as_ref().is_none_or(|needed| needed.blobs.contains(&digest)) {
                usage.kept.push((digest, bytes));
            } else {
                usage.garbage += bytes;
            }
        }
        if let Some(needed) = needed {
            let unused = usage.layers.iter().filter(|(layer, _)| !needed.layers.contains(layer));
            usage.garbage += unused.map(|(_, bytes)| bytes).sum::<u64>();
        }
        Ok(())
    }
}

pub(super) fn disk_bytes(path: &Path) -> Result<u64, StoreError> {
    measure(path).map(|space| space.bytes)
}

/// What a directory takes with all below it; a file of several names counts once. No link is followed, and nothing outside
/// of its mount is looked at.
pub fn measure(path: &Path) -> Result<Space, StoreError> {
    let failed = |error| StoreError::file("measure", path, error);
    let top = remove::open_directory(CWD, path).map_err(failed)?;
    let stat = rustix::fs::fstat(&top).map_err(failed)?;
    let mut walk = Walk { device: stat.st_dev, linked: HashSet::new(), space: Space::of(&stat) };
    // A level has its descriptor open while those below it are visited: of absurd depth the rest is not counted.
    walk.directory(top, 0).map_err(failed)?;
    Ok(walk.space)
}

/// Levels below which nothing is counted.
const DEEPEST: usize = 400;

struct Walk {
    device: u64,
    linked: HashSet<u64>,
    space: Space,
}

impl Walk {
    fn directory(&mut self, at: OwnedFd, depth: usize) -> Result<(), Errno> {
        for entry in Dir::read_from(&at)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = match rustix::fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error),
            };
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            let is_new = is_directory || stat.st_nlink == 1 || self.linked.insert(stat.st_ino);
            if stat.st_dev != self.device || !is_new {
                continue;
            }
            self.space.add(Space::of(&stat));
            if is_directory && depth < DEEPEST {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                match rustix::fs::openat(&at, name, flags, Mode::empty()) {
                    Ok(below) => self.directory(below, depth + 1)?,
                    Err(Errno::NOENT) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

fn blocks(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or_default() * 512
}
