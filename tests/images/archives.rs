//! `load` and `save`: what is in an archive comes into the store whole or not at all, and out of it as it was.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::fixtures::{
    Built, Fault, Image, Layer, Node, Packing, Proxy, Registry, artifact, busybox, index, noise, sha256,
};
use crate::support::{Outcome, Pty, require};

/// The image as an OCI layout in a tar archive, where it is called `name`.
fn oci_archive(node: &Node, built: &Built, name: &str) -> PathBuf {
    let layout = node.file(&format!("layout-{}", &built.digest()[7..15]));
    built.write_layout(&layout, name);
    let file = layout.with_extension("tar");
    let mut archive = tar::Builder::new(File::create(&file).unwrap());
    archive.append_dir_all(".", &layout).unwrap();
    archive.finish().unwrap();
    file
}

/// The image as docker's archive, each layer in a directory of its own; `change` may make manifest.json wrong.
fn docker_archive(node: &Node, built: &Built, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let manifest = built.root().json();
    let hex = |digest: &Value| digest.as_str().unwrap()["sha256:".len()..].to_owned();
    let blobs: std::collections::BTreeMap<&str, &[u8]> = built.blobs().collect();
    let config = format!("{}.json", hex(&manifest["config"]["digest"]));
    let mut archive = Layer::new().file(&config, blobs[built.id().as_str()]);
    let mut layers = Vec::new();
    for (at, digest) in built.layers().iter().enumerate() {
        archive = archive.directory(&at.to_string()).file(&format!("{at}/layer.tar"), blobs[digest.as_str()]);
        layers.push(format!("{at}/layer.tar"));
    }
    let mut list = json!([{"Config": config, "RepoTags": [name], "Layers": layers}]);
    change(&mut list);
    let file = node.file(&format!("docker-{}.tar", &built.digest()[7..15]));
    fs::write(&file, archive.file("manifest.json", list.to_string()).tar()).unwrap();
    file
}

fn load(node: &Node, archive: &Path) -> Outcome {
    node.rcrun(&["load".as_ref(), "--quiet".as_ref(), "--input".as_ref(), archive.as_os_str()]).wait()
}

fn save(node: &Node, to: &Path, args: &[&str]) -> Outcome {
    let to = to.to_str().unwrap();
    node.rcrun(&[&["save", "--quiet", "--output", to], args].concat()).wait()
}

/// Names and manifests of index.json.
fn images(node: &Node) -> Vec<(String, String)> {
    let text = fs::read_to_string(node.storage().join("index.json")).unwrap();
    let index: Value = serde_json::from_str(&text).unwrap();
    let entries = index["manifests"].as_array().unwrap().iter();
    let name = |entry: &Value| {
        entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap_or_default().to_owned()
    };
    entries.map(|entry| (name(entry), entry["digest"].as_str().unwrap().to_owned())).collect()
}

#[track_caller]
fn is_refused(node: &Node, outcome: &Outcome, reason: &str) {
    assert_eq!(outcome.code(), 1, "{outcome}");
    assert!(outcome.stderr.contains(reason), "{reason:?}: {outcome}");
    assert_eq!(outcome.stderr.trim_end().lines().count(), 1, "{outcome}");
    node.holds_nothing();
}

#[test]
fn a_layout_is_loaded_from_its_directory_its_archive_a_pipe_and_packed() {
    let built = Image::busybox().layer(Layer::new().file("second", "2"), Packing::Zstd).build();
    let check = |node: &Node, outcome: Outcome| {
        outcome.prints("Loaded image: r.example/bb:1");
        assert_eq!(images(node), [("r.example/bb:1".to_owned(), built.digest())]);
        let program = node.layer(&built.diff_ids()[0]).join("bin/busybox");
        assert_eq!(fs::read(program).unwrap(), fs::read("/bin/busybox").unwrap());
        assert_eq!(fs::read_to_string(node.layer(&built.diff_ids()[1]).join("second")).unwrap(), "2");
        // Nobody else has them: two layers, the configuration and the manifest.
        assert_eq!(node.stored("blobs/sha256").len(), 4);
    };
    let node = Node::new();
    let archive = oci_archive(&node, &built, "r.example/bb:1");
    check(&node, load(&node, &archive));
    check(&node, load(&node, &archive.with_extension("")));
    let plain = fs::read(&archive).unwrap();
    for packed in [plain.clone(), Packing::Gzip.pack(&plain), Packing::Zstd.pack(&plain)] {
        let node = Node::new();
        let file = node.file("packed");
        fs::write(&file, packed).unwrap();
        check(&node, load(&node, &file));
        let node = Node::new();
        let mut cat = std::process::Command::new("cat");
        let mut cat = cat.arg(&file).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let loaded = node.rcrun(&["load", "--quiet"]).stdin_from(cat.stdout.take().unwrap()).wait();
        assert!(cat.wait().unwrap().success());
        check(&node, loaded);
    }
}

#[test]
fn dockers_archive_keeps_the_images_id_and_says_its_names() {
    let node = Node::new();
    let built = Image::busybox().layer(Layer::new().file("b", "c"), Packing::Plain).build();
    let archive = docker_archive(&node, &built, "busybox:1", |list| {
        list[0]["RepoTags"] = json!(["busybox:1", "docker.io/library/busybox:latest"]);
    });
    load(&node, &archive).prints("Loaded image: busybox:1\nLoaded image: busybox:latest");
    let loaded = images(&node);
    let names: Vec<&str> = loaded.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["docker.io/library/busybox:1", "docker.io/library/busybox:latest"]);
    assert!(node.stored("blobs/sha256").contains(&built.id()["sha256:".len()..].to_owned()));
}

#[test]
fn an_image_that_is_there_gets_another_name_and_no_second_set_of_blobs() {
    let node = Node::new();
    let built = Image::busybox().build();
    load(&node, &oci_archive(&node, &built, "a/b:1")).success();
    let before = node.stored("blobs/sha256");
    let archive = docker_archive(&node, &built, "a/b:2", |_| ());
    load(&node, &archive).prints("Loaded image: a/b:2");
    assert_eq!(node.stored("blobs/sha256"), before);
    let manifests: Vec<String> = images(&node).into_iter().map(|(_, digest)| digest).collect();
    assert_eq!(manifests, [built.digest(), built.digest()]);
}

#[test]
fn an_image_without_a_name_is_loaded_by_its_id() {
    let node = Node::new();
    let built = Image::busybox().build();
    let expected = format!("Loaded image ID: {}", built.id());
    load(&node, &oci_archive(&node, &built, "latest")).prints(&expected);
    assert_eq!(images(&node), [(String::new(), built.digest())]);
}

#[test]
fn a_name_moves_to_the_image_that_is_loaded_last() {
    let node = Node::new();
    let old = Image::busybox().build();
    let new = Image::busybox().layer(Layer::new().file("new", ""), Packing::Gzip).build();
    load(&node, &oci_archive(&node, &old, "a/b:1")).success();
    load(&node, &oci_archive(&node, &new, "a/b:1")).success();
    let expected = [(String::new(), old.digest()), ("docker.io/a/b:1".to_owned(), new.digest())];
    assert_eq!(images(&node), expected);
}

#[test]
fn of_several_platforms_one_is_loaded() {
    let here = Image::busybox().build();
    let there = Image::new().layer(Layer::new().file("s390x", ""), Packing::Gzip);
    let there = there.architecture("s390x", "").build();
    let both = index(&[&here, &there], false);
    let node = Node::new();
    let archive = oci_archive(&node, &both, "a/b:1");
    load(&node, &archive).success();
    assert_eq!(images(&node)[0].1, here.digest());
    // The index is kept beside it.
    assert!(node.stored("blobs/sha256").contains(&both.digest()["sha256:".len()..].to_owned()));
    let node = Node::new();
    let path = archive.to_str().unwrap();
    let asked = |platform: &str| node.rcrun(&["load", "-i", path, "--platform", platform]).wait();
    is_refused(&node, &asked("linux/riscv64"), "it offers linux/amd64, linux/s390x");
    asked("linux/s390x").success();
    assert_eq!(images(&node)[0].1, there.digest());
}

#[test]
fn what_is_saved_is_the_same_bytes_whoever_saves_it_and_what_was_loaded() {
    let node = Node::new();
    let one = Image::busybox().layer(Layer::new().file("one", "1"), Packing::Zstd).build();
    let two = Image::busybox().layer(Layer::new().file("two", "2"), Packing::Gzip).docker().build();
    load(&node, &oci_archive(&node, &one, "r.example/one:1")).success();
    load(&node, &oci_archive(&node, &two, "r.example/two:2")).success();
    let names = ["r.example/one:1", "r.example/two:2"];
    for format in ["docker-archive", "oci-archive", "oci-dir"] {
        let args = [&["--format", format][..], &names].concat();
        let (first, second) = (node.file(&format!("{format}-1")), node.file(&format!("{format}-2")));
        save(&node, &first, &args).success();
        let other = Node::new();
        let lines = "Loaded image: r.example/one:1\nLoaded image: r.example/two:2";
        load(&other, &first).prints(lines);
        let digests = |node: &Node| images(node).into_iter().map(|(_, digest)| digest).collect::<Vec<_>>();
        assert_eq!(digests(&other), [one.digest(), two.digest()], "{format}");
        save(&other, &second, &args).success();
        match format {
            "oci-dir" => {
                for name in ["index.json", "oci-layout"] {
                    assert_eq!(fs::read(first.join(name)).unwrap(), fs::read(second.join(name)).unwrap());
                }
            }
            _ => assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap(), "{format}"),
        }
    }
}

#[test]
fn dockers_archive_has_the_names_of_tags_alone() {
    let node = Node::new();
    let built = Image::busybox().build();
    load(&node, &oci_archive(&node, &built, "busybox:1")).success();
    let file = node.file("saved");
    save(&node, &file, &["busybox:1", &built.id()[7..20]]).success();
    let mut archive = tar::Archive::new(File::open(&file).unwrap());
    let mut names = Vec::new();
    let mut manifest = Value::Null;
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        if name == "manifest.json" {
            manifest = serde_json::from_reader(entry).unwrap();
        }
        names.push(name);
    }
    assert_eq!(names[..3], ["oci-layout", "index.json", "manifest.json"]);
    assert_eq!(manifest[0]["RepoTags"], json!(["busybox:1"]));
    let blob = |digest: &str| format!("blobs/{}", digest.replace(':', "/"));
    assert_eq!(manifest[0]["Config"], json!(blob(&built.id())));
    assert_eq!(manifest[0]["Layers"], json!([blob(&built.layers()[0])]));
    assert!(names.contains(&blob(&built.digest())));
}

#[test]
fn artifacts_are_loaded_and_saved() {
    let node = Node::new();
    let built = artifact("application/x.test", &[("text/plain", b"hello")]);
    load(&node, &oci_archive(&node, &built, "r.example/sbom:1")).prints("Loaded image: r.example/sbom:1");
    let file = node.file("saved");
    save(&node, &file, &["r.example/sbom:1"]).success();
    let other = Node::new();
    load(&other, &file).prints("Loaded image: r.example/sbom:1");
    assert_eq!(images(&other)[0].1, built.digest());
}

#[test]
fn wrong_digests_and_diff_ids_and_missing_layers_leave_nothing() {
    let two = || Image::busybox().layer(Layer::new().file("a", noise(7, 100_000)), Packing::Gzip);
    let wrong = |config: &mut Value| {
        config["rootfs"] = json!({"type": "layers", "diff_ids": [sha256(b"x"), sha256(b"y")]});
    };
    let node = Node::new();
    let built = two().config(wrong).build();
    is_refused(&node, &load(&node, &oci_archive(&node, &built, "a/b:1")), "has the DiffID sha256:");
    let built = two().build();
    let archive = docker_archive(&node, &built, "a/b:1", |list| {
        list[0]["Layers"].as_array_mut().unwrap().swap(0, 1);
    });
    is_refused(&node, &load(&node, &archive), "has the DiffID sha256:");
    let plain = Image::new().layer(busybox(), Packing::Plain).config(|config| {
        config["rootfs"] = json!({"type": "layers", "diff_ids": [sha256(b"x")]});
    });
    let archive = docker_archive(&node, &plain.build(), "a/b:1", |_| ());
    is_refused(&node, &load(&node, &archive), "but its image's configuration says");
    let archive = docker_archive(&node, &built, "a/b:1", |list| list[0]["Layers"][1] = json!("9/layer.tar"));
    is_refused(&node, &load(&node, &archive), "\"9/layer.tar\", which is not in the archive");

    let archive = oci_archive(&node, &built, "a/b:1");
    let layout = archive.with_extension("");
    let blob = layout.join(format!("blobs/{}", built.layers()[1].replace(':', "/")));
    let mut bytes = fs::read(&blob).unwrap();
    bytes[1000] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    is_refused(&node, &load(&node, &layout), "the archive is damaged");
    bytes.truncate(5000);
    fs::write(&blob, &bytes).unwrap();
    is_refused(&node, &load(&node, &layout), "has 5000 bytes, but");
    fs::remove_file(&blob).unwrap();
    is_refused(&node, &load(&node, &layout), "which is not in the archive");
    std::os::unix::fs::symlink("/etc/passwd", &blob).unwrap();
    is_refused(&node, &load(&node, &layout), "leads out of the archive");
    // The same store takes what is right.
    load(&node, &archive).success();
}

#[test]
fn hostile_archives_are_one_line() {
    let node = Node::new();
    let refused = |name: &str, bytes: &[u8], reason: &str| {
        let file = node.file(name);
        fs::write(&file, bytes).unwrap();
        is_refused(&node, &load(&node, &file), reason);
    };
    refused("empty", b"", "it is empty");
    refused("text", &[b'x'; 2000], "no tar archive");
    refused("xz", b"\xfd7zXZ\0rest", "compressed with xz");
    refused("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03rest", "read the archive");
    refused("nothing", &Layer::new().file("a", "b").tar(), "no archive of images");
    refused("dots", &Layer::new().file("../../etc/passwd", "b").tar(), "leads out of the archive");
    let twice = Layer::new().file("manifest.json", "[]").file("./manifest.json", "[]").tar();
    refused("twice", &twice, "two entries called \"manifest.json\"");
    let link = Layer::new().symlink("manifest.json", "/etc/passwd").tar();
    refused("link", &link, "leads out of the archive");
    let config = |config: &str| format!(r#"[{{"Config":"{config}"}}]"#);
    let escape = Layer::new().file("manifest.json", config("../../../../etc/passwd")).tar();
    refused("escape", &escape, "leads out of the archive");
    let whole = Layer::new().file("a", noise(1, 10_000)).tar();
    refused("cut", &whole[..5_000], "cut off");
    refused("bomb", &Packing::Zstd.pack(&vec![0; 64 << 20]), "RCRUN_IMAGE_MAX_RATIO raises the limit");
    is_refused(&node, &load(&node, Path::new("/nonexistent/x.tar")), "No such file or directory");
    let fifo = node.file("no-archive");
    fs::create_dir(&fifo).unwrap();
    is_refused(&node, &load(&node, &fifo), "no archive of images");
}

#[test]
fn terminals_neither_give_nor_take_archives() {
    let node = Node::new();
    let (mut pty, slave) = Pty::open();
    node.rcrun(&["load"]).on_terminal(&slave).wait().exits_with(1);
    pty.wait_for("stdin is a terminal: name an archive with -i FILE");
    load(&node, &oci_archive(&node, &Image::busybox().build(), "a/b:1")).success();
    node.rcrun(&["save", "a/b:1"]).on_terminal(&slave).wait().exits_with(1);
    pty.wait_for("stdout is a terminal: name a file with -o FILE");
}

#[test]
fn what_cannot_be_saved_says_why_and_leaves_no_file() {
    let node = Node::new();
    let built = Image::busybox().layer(Layer::new().file("a", "b"), Packing::Gzip).build();
    let refused = |args: &[&str], to: &Path, reason: &str| {
        let outcome = save(&node, to, args).exits_with(1);
        assert!(outcome.stderr.contains(reason), "{outcome}");
        assert_eq!(outcome.stderr.trim_end().lines().count(), 1, "{outcome}");
    };
    let file = node.file("saved");
    refused(&["a/b:1"], &file, "image \"a/b:1\" is not in the store");
    load(&node, &oci_archive(&node, &built, "a/b:1")).success();
    refused(&["a/b:1", "a/c:1"], &file, "image \"a/c:1\" is not in the store");
    let directory = node.file("directory");
    fs::create_dir_all(directory.join("full")).unwrap();
    refused(&["a/b:1"], &directory, "is a directory");
    refused(&["--format", "oci-dir", "a/b:1"], &directory, "is not empty");
    refused(&["a/b:1"], Path::new("/nonexistent/saved"), "No such file or directory");
    let stdout = node.rcrun(&["save", "--format", "oci-dir", "a/b:1"]).wait().exits_with(1);
    assert!(stdout.stderr.contains("name it with -o DIR"), "{stdout}");

    let blob = node.storage().join(format!("blobs/{}", built.layers()[1].replace(':', "/")));
    let mut bytes = fs::read(&blob).unwrap();
    bytes[50] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    refused(&["a/b:1"], &file, "it is damaged");
    refused(&["--format", "oci-dir", "a/b:1"], &file, "it is damaged");
    fs::remove_file(&blob).unwrap();
    let reason = format!("{} (no registry is known to have it)", built.layers()[1]);
    refused(&["a/b:1"], &file, &reason);
    let left: Vec<_> = fs::read_dir(node.file("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("saved")), "{left:?}");
}

#[test]
fn a_file_is_replaced_only_by_a_whole_archive_and_a_link_stays_one() {
    let node = Node::new();
    let built = Image::busybox().build();
    load(&node, &oci_archive(&node, &built, "a/b:1")).success();
    let (file, link) = (node.file("saved"), node.file("link"));
    fs::write(&file, "precious").unwrap();
    std::os::unix::fs::symlink("saved", &link).unwrap();
    save(&node, &link, &["a/nope:1"]).exits_with(1);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    save(&node, &link, &["a/b:1"]).success();
    assert!(link.is_symlink() && fs::metadata(&file).unwrap().len() > 100_000);
    save(&node, Path::new("/dev/null"), &["a/b:1"]).success();
    assert!(!Path::new("/dev/null").is_file());
}

#[test]
fn loads_of_the_same_archive_at_once_make_one_image() {
    let node = Node::new();
    let layers = (0..6).fold(Image::busybox(), |image, at| {
        image.layer(Layer::new().file(&format!("file{at}"), noise(at, 400_000)), Packing::Gzip)
    });
    let built = layers.build();
    let archive = oci_archive(&node, &built, "a/b:1");
    let path = archive.to_str().unwrap();
    let running: Vec<_> = (0..4).map(|_| node.rcrun(&["load", "-i", path]).spawn()).collect();
    for running in running {
        running.wait().prints("Loaded image: a/b:1");
    }
    assert_eq!(images(&node), [("docker.io/a/b:1".to_owned(), built.digest())]);
    assert_eq!(node.stored("layers/sha256").len(), 7);
}

#[test]
fn a_load_that_is_killed_leaves_nothing_to_see_and_the_next_one_succeeds() {
    let node = Node::new();
    let built = Image::busybox().layer(Layer::new().file("a", noise(1, 6_000_000)), Packing::Gzip).build();
    let archive = oci_archive(&node, &built, "a/b:1");
    let path = archive.to_str().unwrap();
    let mut killed = 0;
    for milliseconds in (0..20).map(|n| n * 25) {
        let running = node.rcrun(&["load", "-i", path]).spawn();
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        running.signal(rustix::process::Signal::KILL);
        let outcome = running.wait();
        let there = node.storage().join("index.json").exists();
        if outcome.status.success() {
            break;
        }
        killed += 1;
        assert!(!there || images(&node).is_empty() || images(&node)[0].1 == built.digest(), "{outcome}");
    }
    load(&node, &archive).prints("Loaded image: a/b:1");
    assert_eq!(images(&node), [("docker.io/a/b:1".to_owned(), built.digest())]);
    let bytes = fs::read(node.layer(&built.diff_ids()[1]).join("a")).unwrap();
    assert!(bytes == noise(1, 6_000_000));
    assert_eq!(node.stored("ingest"), [""; 0]);
    if killed == 0 {
        crate::support::skip("this machine did not kill the first load before it was done");
    }
}

#[test]
fn a_full_disk_is_said_and_nothing_is_left() {
    let root = rustix::process::geteuid().is_root();
    require!(root.then_some(()).ok_or("mounting a small file system needs root".to_owned()));
    let node = Node::new();
    let built = Image::busybox().layer(Layer::new().file("a", noise(1, 9_000_000)), Packing::Gzip).build();
    let archive = oci_archive(&node, &built, "a/b:1");
    fs::create_dir(node.storage()).unwrap();
    for (size, by_pipe) in [("3m", false), ("11m", false), ("3m", true)] {
        // The mount is gone with its namespace.
        let script = r#"mount -t tmpfs -o size="$3",mode=700 tmpfs "$1" || exit 99
            if [ "$4" = true ]; then cat "$2" | "$0" --storage "$1" load; else "$0" --storage "$1" load -i "$2"; fi
            status=$?; find "$1/layers/sha256" "$1/ingest" -mindepth 1; grep -c sha256 "$1/index.json"
            exit $status"#;
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(crate::support::binary());
        command.arg(node.storage()).arg(&archive).args([size, &by_pipe.to_string()]);
        let outcome = node.invocation(command).wait().exits_with(1);
        assert!(outcome.stderr.contains("o space left on"), "{outcome}");
        assert_eq!(outcome.stdout.trim(), "", "{outcome}");
    }
}

/// Makes the store forget a layer's blob, and remember that `source` has the image.
fn drop_blob(node: &Node, built: &Built, layer: usize, source: &str) {
    let index = node.storage().join("index.json");
    let mut value: Value = serde_json::from_str(&fs::read_to_string(&index).unwrap()).unwrap();
    for entry in value["manifests"].as_array_mut().unwrap() {
        entry["annotations"]["org.rcrun.image.sources"] = json!(format!("{source}@{}", built.digest()));
    }
    fs::write(&index, value.to_string()).unwrap();
    let blob = built.layers()[layer].replace(':', "/");
    fs::remove_file(node.storage().join("blobs").join(blob)).unwrap();
}

#[test]
fn a_dropped_blob_is_fetched_again_and_is_not_kept() {
    let registry = require!(Registry::start());
    let proxy = Proxy::before(registry.address());
    let node = Node::new();
    let address = proxy.address();
    node.insecure(&[&address]);
    let built = Image::busybox().layer(Layer::new().file("a", noise(3, 300_000)), Packing::Gzip).build();
    registry.push("team/app", "1", &built);
    let name = format!("{address}/team/app");
    load(&node, &oci_archive(&node, &built, &format!("{name}:1"))).success();
    let (first, second) = (node.file("first"), node.file("second"));
    save(&node, &first, &[&format!("{name}:1")]).success();
    drop_blob(&node, &built, 1, &name);
    // Once more from where it was cut.
    proxy.times(1, "/blobs/", Fault::Cut(100_000));
    save(&node, &second, &[&format!("{name}:1")]).success();
    assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap());
    assert_eq!(proxy.count(&built.layers()[0]), 0);
    assert!(!node.stored("blobs/sha256").contains(&built.layers()[1]["sha256:".len()..].to_owned()));

    fs::remove_file(&second).unwrap();
    let refused = |reason: &str| {
        let outcome = save(&node, &second, &[&format!("{name}:1")]).exits_with(1);
        assert!(outcome.stderr.contains(reason) && outcome.stderr.contains(&built.layers()[1]), "{outcome}");
        assert_eq!(outcome.stderr.trim_end().lines().count(), 1, "{outcome}");
        assert!(!second.exists());
    };
    proxy.times(1, "/blobs/", Fault::Flip(1000));
    refused("it is damaged");
    proxy.times(1, "/blobs/", Fault::Answer(404, Vec::new(), Vec::new()));
    refused("no such blob");
}
