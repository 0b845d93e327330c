//! Entries of index.json: names that come, move and go.

use super::*;

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
    let removed = scene.prune(&old).unwrap();
    assert_eq!((removed.deleted, removed.collected.layers), (vec![old.id], vec![Digest::of(b"a")]));
    assert_eq!(scene.titles(), ["web:latest"]);
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
fn layers_below_an_opaque_root_are_counted() {
    let scene = Scene::new();
    let diff_id = Digest::of(b"opaque");
    let LayerClaim::Missing(writer) = scene.store.claim_layer(&diff_id).unwrap() else { panic!() };
    let record = LayerRecord { opaque_root: true, ..LayerRecord::new(diff_id, blob("opaque"), 1, 1) };
    writer.commit(&record).unwrap();
    assert_eq!(scene.pulled("web", &["a", "b", "opaque", "c"]).hidden_layers, 2);
    assert_eq!(scene.store.images().unwrap()[0].hidden_layers, 2);
    assert_eq!(scene.pulled("other", &["a", "b"]).hidden_layers, 0);
}

#[test]
fn an_image_does_not_fill_the_index_with_its_words() {
    let scene = Scene::new();
    let long = "x".repeat(100_000);
    let config = json!({"architecture": long, "os": "linux", "created": long, "rootfs": {"diff_ids": []}});
    let config = scene.put(OCI_CONFIG, config.to_string().as_bytes());
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": long,
        "config": config, "layers": []});
    let manifest = scene.put(OCI_MANIFEST, manifest.to_string().as_bytes());
    scene.store.put_image(&pulled("web", manifest)).unwrap();
    assert_eq!(scene.titles(), ["web:latest"]);
    assert!(fs::read(scene.store.root().join("index.json")).unwrap().len() < 2000);
}
