//! The store on a real file system.

mod garbage;
mod images;
mod whole;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLockReadGuard};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::image::manifest::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::image::{Descriptor, Digest, Reference};
use crate::sys::mount::FORKS;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A store in a directory of its own.
pub(super) struct Scene {
    pub directory: TempDir,
    pub store: Store,
    _forks: RwLockReadGuard<'static, ()>,
}

impl Scene {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        Self { directory, store, _forks: FORKS.read().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Another process' view of the same store.
    pub fn again(&self) -> Store {
        Store::open(self.store.root()).unwrap()
    }

    fn put(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        self.store.put_blob(&descriptor.digest, bytes).unwrap();
        descriptor
    }

    /// A layer of one file; its DiffID is that of its name.
    fn unpack(&self, name: &str) -> Layer {
        let diff_id = Digest::of(name.as_bytes());
        match self.store.claim_layer(&diff_id).unwrap() {
            LayerClaim::Present(layer) => layer,
            LayerClaim::Missing(writer) => {
                let fd = rustix::fs::openat(
                    writer.diff(),
                    name,
                    rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY,
                    rustix::fs::Mode::RUSR,
                );
                fs::File::from(fd.unwrap()).write_all(&[7; 5000]).unwrap();
                writer.digests().unwrap().write_all(b"list").unwrap();
                writer.commit(&LayerRecord::new(diff_id, blob(name), 5000, 1)).unwrap()
            }
        }
    }

    /// An image of these layers, not yet with a name; their blobs are kept if `blobs`.
    fn image(&self, layers: &[&str], blobs: bool) -> Descriptor {
        let diff_ids: Vec<Digest> = layers.iter().map(|name| self.unpack(name).diff_id).collect();
        let config = json!({"architecture": "amd64", "os": "linux", "created": "2024-05-01T00:00:00Z",
            "config": {"Labels": {"a": "b"}}, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = self.put(OCI_CONFIG, config.to_string().as_bytes());
        if blobs {
            layers.iter().for_each(|name| drop(self.put(LAYER, content(name).as_bytes())));
        }
        let layers: Vec<Descriptor> = layers.iter().map(|name| blob(name)).collect();
        let manifest =
            json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers});
        self.put(OCI_MANIFEST, manifest.to_string().as_bytes())
    }

    /// The same with a name, as pulled from a registry.
    fn pulled(&self, name: &str, layers: &[&str]) -> Image {
        let manifest = self.image(layers, false);
        self.store.put_image(&pulled(name, manifest)).unwrap()
    }

    fn titles(&self) -> Vec<String> {
        let mut titles: Vec<String> = self.store.images().unwrap().iter().map(Image::title).collect();
        titles.sort();
        titles
    }

    fn remove(&self, text: &str, force: bool) -> Result<Removed, StoreError> {
        let candidates: Vec<Reference> = text.parse().into_iter().collect();
        self.store.remove_image(text, &candidates, force)
    }

    fn prune(&self, image: &Image) -> Result<Removed, StoreError> {
        self.store.prune(|_| Ok(vec![image.id.clone()]))
    }

    fn has_layer(&self, name: &str) -> bool {
        self.store.layer(&Digest::of(name.as_bytes())).is_some()
    }

    fn ingest(&self) -> Vec<PathBuf> {
        fs::read_dir(self.store.root().join("ingest")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// The directory of a container, held as by who runs it.
    fn container(&self, id: &str, image: &Image) -> OwnedFd {
        let path = self.store.root().join("containers").join(id);
        fs::create_dir_all(path.join("upper")).unwrap();
        let directory = remove::open_directory(rustix::fs::CWD, &path).unwrap();
        lock::flock(&directory, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let record = ContainerRecord {
            schema: 1,
            id: id.to_owned(),
            image: "web".into(),
            image_id: image.id.clone(),
            layers: self.store.contents(image).unwrap().diff_ids().to_vec(),
            state: self.directory.path().join("run"),
            created: String::new(),
            ids: None,
            keeper: None,
        };
        fs::write(path.join("container.json"), serde_json::to_vec(&record).unwrap()).unwrap();
        directory
    }
}

fn content(name: &str) -> String {
    format!("blob of {name}")
}

fn blob(name: &str) -> Descriptor {
    Descriptor::of(LAYER, content(name).as_bytes())
}

fn pulled(name: &str, manifest: Descriptor) -> NewImage {
    let name: Reference = name.parse::<Reference>().unwrap().or_latest();
    NewImage { source: Some(name.clone()), name: Some(name), manifest, index: None, keep_blobs: false }
}
