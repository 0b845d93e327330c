//! What is collected and what is kept; trees that are removed; what all of it takes.

use super::*;

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
    assert!(scene.prune(&web).unwrap().deleted.is_empty());
    assert!(scene.has_layer("a"));
    // Its end without a state left makes it garbage, and the image with it.
    fs::write(scene.store.root().join("containers/c1/upper/written"), "x").unwrap();
    drop(directory);
    let removed = scene.prune(&web).unwrap();
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

#[test]
fn all_names_go_and_what_a_container_uses_stays_with_it() {
    let scene = Scene::new();
    let web = scene.pulled("web", &["a"]);
    scene.store.tag(&web, &"r.example/other:2".parse().unwrap()).unwrap();
    let held = scene.container("c1", &web);
    let removed = scene.store.remove_all_names(&web.id).unwrap().unwrap();
    assert_eq!(removed.untagged[..2], ["web:latest", "r.example/other:2"]);
    assert_eq!(removed.deleted, std::slice::from_ref(&web.id));
    assert!(scene.titles().is_empty() && scene.has_layer("a"));
    assert!(scene.store.remove_all_names(&web.id).unwrap().is_none());
    drop(held);
    scene.store.collect_garbage().unwrap();
    assert!(!scene.has_layer("a"));
}

#[test]
fn space_is_that_of_layers_blobs_and_containers() {
    let scene = Scene::new();
    assert_eq!(scene.store.space().unwrap(), Default::default());
    let web = scene.pulled("web", &["a", "b"]);
    let held = scene.container("c1", &web);
    fs::write(scene.store.root().join("containers/c1/upper/written"), [1; 9000]).unwrap();
    let (images, containers) = scene.store.space().unwrap();
    // A file in each layer, a manifest and a configuration.
    assert_eq!(images.inodes, 4);
    assert!(images.bytes >= 10_000);
    // The directory, upper/, the file, container.json.
    assert_eq!(containers.inodes, 4);
    assert!(containers.bytes >= 9000);
    drop(held);
}
