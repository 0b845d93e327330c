//! Blobs and layers have their names when they are whole, and are written once.

use super::*;

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
