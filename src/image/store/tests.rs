//! Blobs, layers, images and garbage on a real file system.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::image::manifest::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::image::{Descriptor, Digest, Reference};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A store in a directory of its own.
pub(super) struct Scene {
    pub directory: TempDir,
    pub store: Store,
}

impl Scene {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        Self { directory, store }
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

#[test]
fn a_directory_with_something_else_is_no_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    assert!(Store::existing(&path).unwrap().is_none() && !path.exists());
    fs::create_dir(&path).unwrap();
    fs::write(path.join("precious"), "").unwrap();
    let error = Store::open(&path).unwrap_err().to_string();
    assert!(error.contains("--storage") && !path.join("blobs").exists(), "{error}");
    fs::remove_file(path.join("precious")).unwrap();
    Store::open(&path).unwrap();
    assert!(Store::existing(&path).unwrap().is_some());
    fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(Store::open(&path).unwrap_err().to_string().contains("2.0.0"));
    fs::write(path.join("oci-layout"), "x").unwrap();
    assert!(Store::open(&path).unwrap_err().to_string().contains("damaged"));
}

#[test]
fn a_blob_is_visible_when_it_is_whole_and_right() {
    let scene = Scene::new();
    let right = Descriptor::of("m", b"hello");
    let write = |bytes: &[u8], expected: &Descriptor| {
        let BlobClaim::Missing(mut writer) = scene.store.claim_blob(&right.digest).unwrap() else { panic!() };
        writer.write_all(bytes).unwrap();
        assert!(scene.store.blob(&right.digest).unwrap().is_none());
        writer.commit(expected).map(drop).map_err(|error| error.to_string())
    };
    assert!(write(b"hellO", &right).unwrap_err().contains("was changed on its way"));
    assert!(write(b"hell", &right).unwrap_err().contains("4 bytes instead of 5"));
    assert!(scene.ingest().is_empty());
    write(b"hello", &right).unwrap();
    let mut text = String::new();
    scene.store.blob(&right.digest).unwrap().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    assert!(matches!(scene.store.claim_blob(&right.digest).unwrap(), BlobClaim::Present(_)));
    assert!(scene.ingest().is_empty());
}

#[test]
fn a_damaged_blob_is_told_and_replaced_by_the_next_who_has_it() {
    let scene = Scene::new();
    let descriptor = scene.put("m", b"hello");
    let path = scene.store.blob_path(&descriptor.digest);
    for (bytes, reason) in [("hellO", "its content is sha256:"), ("hell", "4 bytes instead of 5")] {
        fs::write(&path, bytes).unwrap();
        let error = scene.store.read_blob("manifest", &descriptor).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        scene.put("m", b"hello");
        assert_eq!(scene.store.read_blob("manifest", &descriptor).unwrap(), b"hello");
    }
    fs::remove_file(&path).unwrap();
    let error = scene.store.read_blob("manifest", &descriptor).unwrap_err().to_string();
    assert!(error.starts_with("manifest sha256:") && error.contains("not in the store"), "{error}");
}

#[test]
fn of_many_who_want_a_blob_one_writes_it() {
    let scene = Scene::new();
    let descriptor = Descriptor::of("m", &[7; 100_000]);
    let writers = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (store, writers, descriptor) = (scene.again(), &writers, &descriptor);
            scope.spawn(move || match store.claim_blob(&descriptor.digest).unwrap() {
                BlobClaim::Present(file) => assert_eq!(file.metadata().unwrap().len(), descriptor.size),
                BlobClaim::Missing(mut writer) => {
                    // The first ones give up.
                    let fails = writers.fetch_add(1, Ordering::SeqCst) < 2;
                    for _ in 0..100 {
                        writer.write_all(&[7; 1000]).unwrap();
                    }
                    std::thread::sleep(std::time::Duration::from_millis(5 + number));
                    if !fails {
                        writer.commit(descriptor).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(writers.into_inner(), 3);
    assert!(scene.ingest().is_empty());
}

#[test]
fn of_many_who_want_a_layer_one_unpacks_it() {
    let scene = Scene::new();
    let diff_id = Digest::of(b"a");
    let writers = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let (store, writers, diff_id) = (scene.again(), &writers, &diff_id);
            scope.spawn(move || match store.claim_layer(diff_id).unwrap() {
                LayerClaim::Present(layer) => assert_eq!(layer.record().unwrap().files, 1),
                LayerClaim::Missing(writer) => {
                    let fails = writers.fetch_add(1, Ordering::SeqCst) < 2;
                    assert_eq!(fs::read_dir(writer_path(&store, diff_id)).unwrap().count(), 0);
                    rustix::fs::mkdirat(writer.diff(), "d", rustix::fs::Mode::RWXU).unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    if !fails {
                        writer.commit(&LayerRecord::new(diff_id.clone(), blob("a"), 1, 1)).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(writers.into_inner(), 3);
    assert!(scene.ingest().is_empty());
}

fn writer_path(store: &Store, diff_id: &Digest) -> PathBuf {
    store.root().join("ingest").join(format!("sha256-{}.layer/diff", diff_id.hex()))
}

#[test]
fn what_a_killed_process_leaves_is_taken_over_or_swept() {
    let scene = Scene::new();
    let ingest = scene.store.root().join("ingest");
    let (digest, diff_id) = (Digest::of(b"hello"), Digest::of(b"a"));
    fs::write(ingest.join(format!("sha256-{}.blob", digest.hex())), "garb").unwrap();
    fs::create_dir_all(ingest.join(format!("sha256-{}.layer/diff/deep", diff_id.hex()))).unwrap();
    fs::create_dir_all(ingest.join("gone-1/x/y/z")).unwrap();
    fs::write(ingest.join("file-1"), "").unwrap();
    // This one lives.
    let BlobClaim::Missing(held) = scene.store.claim_blob(&Digest::of(b"other")).unwrap() else { panic!() };
    let other = scene.again();
    assert!(matches!(other.claim_layer(&diff_id).unwrap(), LayerClaim::Missing(_)));
    assert_eq!(scene.ingest().len(), 1, "{:?}", scene.ingest());
    drop(held);
    assert!(scene.ingest().is_empty());
    scene.put("m", b"hello");
}

#[test]
fn a_layer_without_its_record_is_unpacked_again() {
    let scene = Scene::new();
    let layer = scene.unpack("a");
    fs::remove_file(layer.diff().parent().unwrap().join("layer.json")).unwrap();
    assert!(!scene.has_layer("a"));
    let layer = scene.unpack("a");
    assert_eq!(layer.record().unwrap().blob, blob("a"));
    fs::write(layer.diff().parent().unwrap().join("layer.json"), "{").unwrap();
    assert!(layer.record().unwrap_err().to_string().contains("damaged"));
    let LayerClaim::Missing(writer) = scene.store.claim_layer(&Digest::of(b"b")).unwrap() else { panic!() };
    assert!(writer.commit(&LayerRecord::new(Digest::of(b"c"), blob("c"), 0, 0)).is_err());
    assert!(scene.ingest().is_empty() && !scene.has_layer("b"));
}

#[test]
fn a_damaged_index_says_what_to_do_and_nothing_is_lost() {
    let scene = Scene::new();
    scene.pulled("web", &["a"]);
    let path = scene.store.root().join("index.json");
    let whole = fs::read_to_string(&path).unwrap();
    for text in ["", "{", "[]", "{\"schemaVersion\":3,\"manifests\":[]}", &whole[..whole.len() / 2]] {
        fs::write(&path, text).unwrap();
        let error = scene.store.images().unwrap_err().to_string();
        assert!(error.contains("index.json") && error.contains("move it away"), "{text}: {error}");
        assert!(scene.store.collect_garbage().is_err() && scene.has_layer("a"));
        assert!(scene.store.put_image(&pulled("x", scene.image(&["a"], false))).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::write(&path, whole.replace("\"org.rcrun.schema\":\"1\"", "\"org.rcrun.schema\":\"9\"")).unwrap();
    assert!(scene.store.images().unwrap_err().to_string().contains("org.rcrun.schema 9"));
}

#[test]
fn names_are_put_by_many_at_once_and_none_is_lost() {
    let scene = Scene::new();
    let manifest = scene.image(&["a"], false);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (store, manifest) = (scene.again(), &manifest);
            scope.spawn(move || {
                for number in 0..10 {
                    store.put_image(&pulled(&format!("web{thread}:{number}"), manifest.clone())).unwrap();
                }
            });
        }
    });
    let images = scene.store.images().unwrap();
    assert_eq!(images.len(), 40);
    // Each entry knows all repositories.
    assert!(images.iter().all(|image| image.sources.len() == 4), "{images:?}");
    assert!(scene.ingest().is_empty());
}

#[test]
fn an_image_goes_with_its_last_name_and_takes_what_only_it_has() {
    let scene = Scene::new();
    let web = scene.pulled("web", &["a", "b"]);
    scene.pulled("other", &["a", "c"]);
    scene.store.tag(&web, &"r.example/web:2".parse().unwrap()).unwrap();
    let error = scene.remove(web.id.short(), false).unwrap_err().to_string();
    assert!(error.contains("web:latest, r.example/web:2") && error.contains("-f"), "{error}");
    let removed = scene.remove("web", false).unwrap();
    assert_eq!((removed.untagged, removed.deleted), (vec!["web:latest".to_owned()], vec![]));
    assert!(scene.has_layer("b"));
    let removed = scene.remove("r.example/web:2", false).unwrap();
    let digest = format!("web@{}", web.manifest.digest);
    assert_eq!(removed.untagged, ["r.example/web:2".to_owned(), digest]);
    assert_eq!((removed.deleted, removed.collected.layers), (vec![web.id], vec![Digest::of(b"b")]));
    assert!(removed.collected.errors.is_empty() && removed.collected.bytes > 5000);
    assert!(scene.has_layer("a") && scene.has_layer("c") && !scene.has_layer("b"));
    assert_eq!(scene.titles(), ["other:latest"]);
    assert!(scene.ingest().is_empty());
    assert!(matches!(scene.remove("web", false), Err(StoreError::NoImage { .. })));
}

#[test]
fn an_image_without_a_name_is_pruned_and_one_with_a_name_is_not() {
    let scene = Scene::new();
    let old = scene.pulled("web", &["a"]);
    scene.pulled("web", &["b"]);
    assert_eq!(scene.titles().len(), 2);
    assert!(scene.store.collect_garbage().unwrap().layers.is_empty());
    let removed = scene.store.prune(std::slice::from_ref(&old.id)).unwrap();
    assert_eq!((removed.deleted, removed.collected.layers), (vec![old.id], vec![Digest::of(b"a")]));
    assert_eq!(scene.titles(), ["web:latest"]);
}

#[test]
fn nothing_is_collected_while_somebody_uses_what_has_no_root_yet() {
    let scene = Scene::new();
    let guard = scene.store.use_shared().unwrap();
    let manifest = scene.image(&["a"], true);
    let other = scene.again();
    let collected = other.collect_garbage().unwrap();
    assert!(collected.deferred && scene.has_layer("a"));
    scene.store.put_image(&pulled("web", manifest)).unwrap();
    drop(guard);
    let collected = other.collect_garbage().unwrap();
    assert!(!collected.deferred && scene.has_layer("a"));
    // A registry has the blob, and the layer is unpacked.
    assert_eq!(collected.blobs, [blob("a").digest]);
}

#[test]
fn blobs_stay_where_they_are_asked_for_or_nowhere_else() {
    let scene = Scene::new();
    let is_there = |name: &str| scene.store.blob(&blob(name).digest).unwrap().is_some();
    let kept = NewImage { keep_blobs: true, ..pulled("kept", scene.image(&["a"], true)) };
    let loaded = NewImage { source: None, ..pulled("loaded", scene.image(&["b"], true)) };
    scene.store.put_image(&kept).unwrap();
    let loaded = scene.store.put_image(&loaded).unwrap();
    assert!(scene.store.collect_garbage().unwrap().blobs.is_empty());
    // Not unpacked: the blob is all there is.
    let bare = scene.store.put_image(&pulled("bare", scene.image(&["c"], true))).unwrap();
    fs::remove_dir_all(scene.store.layer(&Digest::of(b"c")).unwrap().diff().parent().unwrap()).unwrap();
    assert!(scene.store.collect_garbage().unwrap().blobs.is_empty());
    assert_eq!(bare.size, Some(5000));
    // Once it is pushed, a registry has it.
    scene.store.add_source(&loaded, &"r.example/loaded".parse().unwrap()).unwrap();
    assert_eq!(scene.store.collect_garbage().unwrap().blobs, [blob("b").digest]);
    assert!(is_there("a") && !is_there("b") && is_there("c"));
}

#[test]
fn an_image_that_cannot_be_read_stops_collection_until_it_is_given_up() {
    let scene = Scene::new();
    let web = scene.pulled("web", &["a"]);
    scene.pulled("other", &["b"]);
    fs::write(scene.store.blob_path(&web.manifest.digest), "x").unwrap();
    let error = scene.store.collect_garbage().unwrap_err().to_string();
    assert!(error.contains("image web:latest") && error.contains("rcrun rmi web:latest"), "{error}");
    assert!(scene.has_layer("a"));
    scene.remove("web", false).unwrap();
    assert!(!scene.has_layer("a") && scene.has_layer("b"));
}

#[test]
fn a_container_keeps_its_layers_and_a_running_one_its_image() {
    let scene = Scene::new();
    let web = scene.pulled("web", &["a"]);
    let directory = scene.container("c1", &web);
    let error = scene.remove("web", false).unwrap_err().to_string();
    assert!(error.contains("used by running container c1") && error.contains("-f"), "{error}");
    assert!(scene.remove(web.id.short(), true).is_err());
    let removed = scene.remove("web", true).unwrap();
    assert_eq!((removed.untagged, removed.deleted), (vec!["web:latest".to_owned()], vec![]));
    assert!(scene.store.prune(std::slice::from_ref(&web.id)).unwrap().deleted.is_empty());
    assert!(scene.has_layer("a"));
    // Its end without a state left makes it garbage, and the image with it.
    fs::write(scene.store.root().join("containers/c1/upper/written"), "x").unwrap();
    drop(directory);
    let removed = scene.store.prune(std::slice::from_ref(&web.id)).unwrap();
    assert_eq!((removed.deleted, removed.collected.containers), (vec![web.id], vec!["c1".to_owned()]));
    assert!(!scene.has_layer("a") && scene.store.containers().unwrap().is_empty());
    assert!(scene.ingest().is_empty());
}

#[test]
fn a_stopped_container_needs_force() {
    let scene = Scene::new();
    let web = scene.pulled("web", &["a"]);
    drop(scene.container("c1", &web));
    // Its runtime state without a process that lives.
    fs::create_dir_all(scene.directory.path().join("run/c1")).unwrap();
    assert_eq!(scene.store.containers().unwrap()[0].liveness, Liveness::Stopped);
    let error = scene.remove("web", false).unwrap_err().to_string();
    assert!(error.contains("used by stopped container c1"), "{error}");
    assert_eq!(scene.remove("web", true).unwrap().deleted, [web.id]);
    assert!(scene.has_layer("a") && scene.titles().is_empty());
    fs::remove_dir(scene.directory.path().join("run/c1")).unwrap();
    scene.store.collect_garbage().unwrap();
    assert!(!scene.has_layer("a"));
}

#[test]
fn a_container_that_was_not_finished_is_garbage_once_nobody_makes_it() {
    let scene = Scene::new();
    let web = scene.pulled("web", &["a"]);
    let held = scene.container("c1", &web);
    let record = scene.store.root().join("containers/c1/container.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("\"schema\":1", "\"schema\":7")).unwrap();
    assert!(scene.store.collect_garbage().unwrap_err().to_string().contains("schema 7"));
    fs::write(&record, "{").unwrap();
    assert!(scene.store.collect_garbage().unwrap_err().to_string().contains("remove its directory"));
    fs::remove_file(&record).unwrap();
    assert!(scene.store.collect_garbage().unwrap().containers.is_empty());
    drop(held);
    assert_eq!(scene.store.collect_garbage().unwrap().containers, ["c1"]);
    assert!(!scene.store.root().join("containers/c1").exists());
}

#[test]
fn what_other_programs_put_there_is_listed_and_kept() {
    let scene = Scene::new();
    let manifest = scene.image(&["a"], true);
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [manifest]});
    let index = scene.put(OCI_INDEX, index.to_string().as_bytes());
    let mut named = manifest.clone();
    named.annotations.insert("org.opencontainers.image.ref.name".into(), "v1".into());
    let text = json!({"schemaVersion": 2, "manifests": [named, index, manifest, {"x": 1}]}).to_string();
    fs::write(scene.store.root().join("index.json"), text).unwrap();
    let images = scene.store.images().unwrap();
    assert_eq!(images.len(), 3);
    assert!(images.iter().all(|image| image.foreign && image.id == images[0].id));
    assert_eq!(images[0].title(), "v1:latest");
    let collected = scene.store.collect_garbage().unwrap();
    assert!(collected.blobs.is_empty() && collected.layers.is_empty());
    scene.store.tag(&images[0], &"mine:1".parse().unwrap()).unwrap();
    let removed = scene.remove("mine:1", false).unwrap();
    assert_eq!((removed.untagged, removed.deleted), (vec!["mine:1".to_owned()], vec![]));
    assert_eq!(scene.store.images().unwrap(), images);
}

#[test]
fn removal_reaches_any_depth_and_follows_no_link() {
    let scene = Scene::new();
    let precious = scene.directory.path().join("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "x").unwrap();
    let top = scene.directory.path().join("tree");
    let mut path = top.clone();
    fs::create_dir(&path).unwrap();
    let mut at = rustix::fs::open(&path, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    for level in 0..3000 {
        rustix::fs::mkdirat(&at, "dd", rustix::fs::Mode::RWXU).unwrap();
        rustix::fs::symlinkat(&precious, &at, "link").unwrap();
        at = rustix::fs::openat(&at, "dd", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        if level < 100 {
            path.push("dd");
            fs::create_dir(path.join("closed")).unwrap();
            fs::write(path.join("closed/file"), "x").unwrap();
            symlink("..", path.join("up")).unwrap();
        }
    }
    for name in 0..3000 {
        fs::write(top.join(format!("{name:04}")), "").unwrap();
    }
    assert!(usage::disk_bytes(&top).unwrap() > 0);
    scene.store.ingest.discard(&top).unwrap();
    assert!(!top.exists() && scene.ingest().is_empty());
    assert_eq!(fs::read_to_string(precious.join("file")).unwrap(), "x");
}

#[test]
fn disk_usage_counts_what_is_shared_once() {
    let scene = Scene::new();
    let web = scene.pulled("web", &["a", "b"]);
    scene.pulled("other", &["a", "c"]);
    let held = scene.container("c1", &web);
    scene.unpack("unused");
    scene.put(LAYER, b"unused blob");
    let usage = scene.store.usage().unwrap();
    let one = usage.layers[&Digest::of(b"a")];
    assert!(one >= 5000 && usage.layers.len() == 4);
    assert_eq!(usage.of_images(), 3 * one + usage.documents);
    assert_eq!(usage.reclaimable(), one);
    let web = usage.images.iter().find(|image| image.image.id == web.id).unwrap();
    assert_eq!((web.unique, web.shared, web.containers), (one, one, 1));
    assert!(usage.garbage > one && usage.kept.is_empty());
    // Remembered.
    assert_eq!(scene.unpack("a").record().unwrap().disk, Some(one));
    drop(held);
}
