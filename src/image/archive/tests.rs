//! Archives of memory, from their bytes to the images that they describe.

use std::io::Write;

use serde_json::{Value, json};

use super::*;
use crate::image::manifest::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::image::{Descriptor, Digest, Limits, Platform};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A tar archive that is being written.
struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn file(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.add(name, content);
        self
    }

    fn add(&mut self, name: &str, content: impl AsRef<[u8]>) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.as_ref().len() as u64);
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        self.0.append(&header, content.as_ref()).unwrap();
    }

    fn link(mut self, kind: tar::EntryType, name: &str, target: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_path(name).unwrap();
        header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        self.0.append(&header, &[][..]).unwrap();
        self
    }

    /// Adds a blob of an OCI layout.
    fn blob(&mut self, media_type: &str, content: impl AsRef<[u8]>) -> Descriptor {
        let descriptor = Descriptor::of(media_type, content.as_ref());
        self.add(&oci::blob_name(&descriptor.digest), content);
        descriptor
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    fn contents(self) -> Contents {
        contents_of(&self.bytes()).unwrap()
    }

    fn describe(self) -> Result<Vec<Described>, ArchiveError> {
        describe(&self.contents(), None, &Limits::default())
    }

    #[track_caller]
    fn refused(self, reason: &str) {
        let error = contents_of(&self.bytes())
            .and_then(|contents| describe(&contents, None, &Limits::default()).map(drop))
            .unwrap_err();
        one_line(&error, reason);
    }
}

#[track_caller]
fn one_line(error: &ArchiveError, reason: &str) {
    let text = error.to_string();
    assert!(text.contains(reason) && !text.contains('\n'), "{text}");
}

fn contents_of(bytes: &[u8]) -> Result<Contents, ArchiveError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("archive");
    std::fs::write(&path, bytes).unwrap();
    Input::Path(path).open(directory.path(), &Limits::default())
}

fn config(diff_ids: &[&Digest]) -> String {
    let rootfs = json!({"type": "layers", "diff_ids": diff_ids});
    json!({"os": "linux", "architecture": "amd64", "rootfs": rootfs}).to_string()
}

/// An archive of docker's: one image of one layer.
fn docker(tags: Value) -> Tar {
    let config = config(&[&Digest::of(b"layer")]);
    let name = format!("{}.json", Digest::of(config.as_bytes()).hex());
    let manifest = json!([{"Config": name, "RepoTags": tags, "Layers": ["a/layer.tar"]}]);
    Tar::new().file(&name, config).file("manifest.json", manifest.to_string())
}

/// The blobs of an image, and its manifest's descriptor.
fn image(tar: &mut Tar, content: &str, architecture: &str) -> Descriptor {
    let layer = tar.blob(LAYER, content);
    let rootfs = json!({"type": "layers", "diff_ids": [layer.digest]});
    let config = json!({"os": "linux", "architecture": architecture, "rootfs": rootfs});
    let config = tar.blob(OCI_CONFIG, config.to_string());
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]}).to_string();
    let mut descriptor = tar.blob(OCI_MANIFEST, manifest);
    descriptor.platform = Some(format!("linux/{architecture}").parse().unwrap());
    descriptor
}

fn named(mut descriptor: Descriptor, name: &str) -> Descriptor {
    descriptor.annotations.insert(names::REF_NAME.into(), name.into());
    descriptor
}

fn layout(tar: Tar, manifests: &[Descriptor]) -> Tar {
    tar.file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", json!({"schemaVersion": 2, "manifests": manifests}).to_string())
}

fn names_of(image: &Described) -> Vec<String> {
    image.names.iter().map(|name| name.familiar()).collect()
}

#[test]
fn dockers_archive_gets_a_manifest_and_keeps_its_configuration() {
    let images =
        docker(json!(["busybox:1", "r.example/b:2"])).file("a/layer.tar", "layer").describe().unwrap();
    assert_eq!(names_of(&images[0]), ["busybox:1", "r.example/b:2"]);
    assert_eq!(images[0].parsed.config, Descriptor::of(OCI_CONFIG, &images[0].config));
    assert_eq!(images[0].parsed.layers, [Descriptor::of(LAYER, b"layer")]);
    let layers = serde_json::to_string(&images[0].parsed.layers).unwrap();
    let config = serde_json::to_string(&images[0].parsed.config).unwrap();
    let manifest =
        format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":{layers}}}"#);
    assert_eq!(String::from_utf8(images[0].manifest.clone()).unwrap(), manifest);
    assert!(docker(Value::Null).file("a/layer.tar", "layer").describe().unwrap()[0].names.is_empty());
}

#[test]
fn a_layer_may_be_a_link_to_another_file_and_be_packed() {
    use tar::EntryType::{Link, Symlink};
    for (kind, target) in
        [(Symlink, "../b/layer.tar"), (Link, "b/layer.tar"), (Symlink, "./../a/../b/layer.tar")]
    {
        let images =
            docker(json!([])).link(kind, "./a/layer.tar", target).file("b/layer.tar", "layer").describe();
        assert_eq!(images.unwrap()[0].layers[0].descriptor, Descriptor::of(LAYER, b"layer"));
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"layer").unwrap();
    let gzip = gzip.finish().unwrap();
    let images = docker(json!([])).file("a/layer.tar", &gzip).describe().unwrap();
    assert_eq!(images[0].layers[0].descriptor, Descriptor::of(&format!("{LAYER}+gzip"), &gzip));
    assert_eq!(images[0].layers[0].unpack.as_ref().unwrap().1, Digest::of(b"layer"));
}

#[test]
fn links_out_of_the_archive_and_in_circles_are_refused() {
    use tar::EntryType::{Link, Symlink};
    docker(json!([])).link(Symlink, "a/layer.tar", "../../b").refused("leads out of the archive");
    docker(json!([])).link(Symlink, "a/layer.tar", "/etc/passwd").refused("leads out of the archive");
    docker(json!([])).link(Link, "a/layer.tar", "../b").refused("leads out of the archive");
    docker(json!([])).link(Symlink, "a/layer.tar", "layer.tar").refused("circle");
    docker(json!([])).file("../x", "").refused("leads out of the archive");
    docker(json!([])).link(tar::EntryType::Fifo, "a/layer.tar", "").refused("a device or a FIFO");
    docker(json!([])).link(tar::EntryType::Directory, "a/layer.tar", "").refused("a directory");
}

#[test]
fn what_manifest_json_says_wrong_is_one_line() {
    let list = |value: Value| Tar::new().file("manifest.json", value.to_string());
    let layer = |tar: Tar| tar.file("a/layer.tar", "layer");
    docker(json!([])).refused("manifest.json names \"a/layer.tar\", which is not in the archive");
    layer(docker(json!(["Busybox"]))).refused("lower case");
    layer(docker(json!(["../x:1"]))).refused("manifest.json: RepoTags: \"../x:1\" is no image name");
    layer(docker(json!([]))).file("a/./layer.tar", "x").refused("two entries called \"a/layer.tar\"");
    list(json!([])).refused("lists no image");
    list(json!({"Config": "x"})).refused("manifest.json is no JSON of its kind");
    list(json!([{"Config": "a\nb"}])).refused("at most 255 bytes");
    list(json!([{"Config": "c", "Layers": [""]}])).refused("at most 255 bytes");
    list(json!([{"Config": "../../etc/passwd"}])).refused("leads out of the archive");
    list(json!([{"Config": "c"}])).file("c", config(&[]).replace("\"layers\"", "\"tar\"")).refused("\"tar\"");
    list(json!([{"Config": "c"}])).file("c", "{}").refused("c is no JSON of its kind");
    list(json!([{"Config": "c"}])).file("c", config(&[&Digest::of(b"")])).refused("c lists 1 layers");
    list(json!([{"Config": "c", "Layers": vec!["x"; 501]}])).refused("RCRUN_IMAGE_MAX_LAYERS");
    list(json!(vec![json!({"Config": "c"}); 1001])).refused("RCRUN_IMAGE_MAX_INDEX_ENTRIES");
    let wrong = format!("{}.json", Digest::of(b"other").hex());
    list(json!([{"Config": wrong}])).file(&wrong, config(&[])).refused("the archive is damaged");
    Tar::new().file("repositories", "{}").refused("older than 1.10");
    Tar::new().file("x", "").refused("no archive of images");
    let one = config(&[]);
    let rootfs = json!({"type": "layers", "diff_ids": []});
    let other = json!({"os": "windows", "architecture": "arm", "rootfs": rootfs}).to_string();
    let twice = json!([{"Config": "1", "RepoTags": ["a"]}, {"Config": "2", "RepoTags": ["a:latest"]}]);
    list(twice).file("1", one).file("2", other).refused("calls two images a:latest");
}

#[test]
fn a_layout_has_its_manifests_as_they_are() {
    let mut tar = Tar::new();
    let manifest = image(&mut tar, "layer", "s390x");
    let images = layout(tar, &[named(manifest.clone(), "r.example/a:1"), named(manifest, "latest")]);
    let images = images.describe().unwrap();
    assert_eq!(images.len(), 1);
    assert_eq!(names_of(&images[0]), ["r.example/a:1"]);
    assert_eq!(images[0].platform, Some("linux/s390x".parse().unwrap()));
    assert_eq!(images[0].descriptor, Descriptor::of(OCI_MANIFEST, &images[0].manifest));
    assert!(images[0].index.is_none());
}

#[test]
fn of_several_platforms_the_best_that_is_there_is_taken() {
    let platform = |text: &str| Some(text.parse::<Platform>().unwrap());
    let several = || {
        let mut tar = Tar::new();
        let mut manifests = vec![image(&mut tar, "a", "arm64"), image(&mut tar, "b", "s390x")];
        let mut absent = Descriptor::of(OCI_MANIFEST, b"absent");
        absent.platform = platform("linux/riscv64");
        manifests.push(absent);
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).to_string();
        let index = tar.blob(OCI_INDEX, index);
        layout(tar, &[named(index, "a:1")]).contents()
    };
    let limits = Limits::default();
    let images = describe(&several(), platform("linux/s390x").as_ref(), &limits).unwrap();
    assert_eq!(images[0].platform, platform("linux/s390x"));
    assert_eq!(images[0].index.as_ref().unwrap().0.media_type, OCI_INDEX);
    let error = describe(&several(), platform("linux/riscv64").as_ref(), &limits).unwrap_err();
    let text = format!("{error}");
    assert!(
        text.contains("it offers linux/arm64/v8, linux/s390x") || text.contains("linux/arm64, linux/s390x"),
        "{text}"
    );
}

#[test]
fn a_single_image_for_another_platform_is_refused_only_if_one_was_asked_for() {
    let single = || {
        let mut tar = Tar::new();
        let manifest = image(&mut tar, "a", "s390x");
        layout(tar, &[named(manifest, "a:1")]).contents()
    };
    assert!(describe(&single(), None, &Limits::default()).is_ok());
    let wanted = "linux/arm64".parse().unwrap();
    one_line(&describe(&single(), Some(&wanted), &Limits::default()).unwrap_err(), "it offers linux/s390x");
}

#[test]
fn what_a_layout_says_wrong_is_one_line() {
    let with = |change: &dyn Fn(&mut Descriptor)| {
        let mut tar = Tar::new();
        let mut manifest = named(image(&mut tar, "layer", "amd64"), "a:1");
        change(&mut manifest);
        layout(tar, &[manifest])
    };
    with(&|manifest| manifest.digest = Digest::of(b"absent")).refused("which is not in the archive");
    with(&|manifest| manifest.size += 1).refused("bytes, but index.json says");
    with(&|manifest| manifest.media_type = OCI_INDEX.into()).refused("belongs to a manifest");
    with(&|manifest| manifest.media_type = "text/plain".into()).refused("index.json lists no image");
}

#[test]
fn damaged_blobs_and_nested_indexes_are_refused() {
    let mut tar = Tar::new();
    let manifest = Descriptor::of(OCI_MANIFEST, b"right");
    tar.add(&oci::blob_name(&manifest.digest), b"wrong");
    layout(tar, &[manifest]).refused("the archive is damaged");

    let mut tar = Tar::new();
    let mut inner = image(&mut tar, "a", "amd64");
    for _ in 0..5 {
        inner.platform = Some(Platform::host());
        let index = json!({"schemaVersion": 2, "manifests": [inner]}).to_string();
        inner = tar.blob(OCI_INDEX, index);
    }
    layout(tar, &[inner]).refused("nested too deeply");

    let two = layout(Tar::new(), &[]);
    two.refused("index.json lists no image");
    let version = Tar::new().file("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#);
    version.refused("\"2.0.0\"");
}

#[test]
fn one_name_for_two_manifests_needs_platforms() {
    let mut tar = Tar::new();
    let both = [image(&mut tar, "a", "amd64"), image(&mut tar, "b", "amd64")];
    let both = both.map(|descriptor| Descriptor { platform: None, ..named(descriptor, "a:1") });
    layout(tar, &both).refused("calls two images a:1");
}

#[test]
fn artifacts_are_taken_by_their_names_alone() {
    let artifact = |name: Option<&str>| {
        let mut tar = Tar::new();
        let config = tar.blob("application/vnd.oci.empty.v1+json", "{}");
        let layer = tar.blob("text/plain", "hello");
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]}).to_string();
        let manifest = tar.blob(OCI_MANIFEST, manifest);
        let manifest = name.map_or(manifest.clone(), |name| named(manifest, name));
        layout(tar, &[manifest])
    };
    let images = artifact(Some("r.example/sbom:1")).describe().unwrap();
    assert!(images[0].platform.is_none() && images[0].layers[0].unpack.is_none());
    artifact(None).refused("lists no image");
}

#[test]
fn an_archive_that_is_both_is_a_layout_with_the_names_of_manifest_json() {
    let mut tar = Tar::new();
    let manifest = image(&mut tar, "layer", "amd64");
    let config = config(&[&Digest::of(b"layer")]);
    // The same bytes as image() writes: its configuration is found by its digest.
    let rootfs = json!({"type": "layers", "diff_ids": [Digest::of(b"layer")]});
    let written = json!({"os": "linux", "architecture": "amd64", "rootfs": rootfs}).to_string();
    assert_eq!(config, written);
    let config = oci::blob_name(&Digest::of(config.as_bytes()));
    let listed = json!([{"Config": config, "RepoTags": ["a:1", "b:2"], "Layers": []}]).to_string();
    let images =
        layout(tar, std::slice::from_ref(&manifest)).file("manifest.json", listed).describe().unwrap();
    assert_eq!((images.len(), names_of(&images[0])), (1, vec!["a:1".to_owned(), "b:2".to_owned()]));
    assert_eq!(images[0].descriptor.digest, manifest.digest);
}

#[test]
fn archives_may_be_packed_by_gzip_and_zstd_and_by_nothing_else() {
    let plain = docker(json!(["a:1"])).file("a/layer.tar", "layer").bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    for packed in [gzip.finish().unwrap(), zstd::encode_all(&plain[..], 1).unwrap(), plain] {
        let images = describe(&contents_of(&packed).unwrap(), None, &Limits::default()).unwrap();
        assert_eq!(names_of(&images[0]), ["a:1"]);
    }
    one_line(&contents_of(b"\xfd7zXZ\0").err().unwrap(), "compressed with xz");
    one_line(&contents_of(b"BZh91AY&SY").err().unwrap(), "compressed with bzip2");
    one_line(&contents_of(b"").err().unwrap(), "it is empty");
    one_line(&contents_of(&[b'x'; 1024]).err().unwrap(), "no tar archive");
    one_line(&contents_of(b"\x1f\x8bxxxxxx").err().unwrap(), "read the archive");
}

#[test]
fn archives_that_are_cut_off_or_absurd_are_refused() {
    let whole = docker(json!(["a:1"])).file("a/layer.tar", vec![b'x'; 5000]).bytes();
    let end = whole.len() - 2048;
    one_line(&contents_of(&whole[..end]).err().unwrap(), "cut off");
    one_line(&contents_of(&whole[..100]).err().unwrap(), "a header is cut off");

    let bomb = vec![0; 20 << 20];
    let packed = zstd::encode_all(&bomb[..], 19).unwrap();
    one_line(&contents_of(&packed).err().unwrap(), "RCRUN_IMAGE_MAX_RATIO");

    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_path("x").unwrap();
    header.set_size(1 << 40);
    header.set_cksum();
    one_line(&contents_of(header.as_bytes()).err().unwrap(), "RCRUN_IMAGE_MAX_HEADER_BYTES");

    let mut many = Tar::new();
    for name in 0..=Limits::default().archive_entries {
        many.add(&name.to_string(), "");
    }
    one_line(&contents_of(&many.bytes()).err().unwrap(), "RCRUN_IMAGE_MAX_ARCHIVE_ENTRIES");
}

#[test]
fn pax_headers_say_names_and_sizes() {
    let long = "n".repeat(200);
    let record = |key: &str, value: &str| {
        let rest = format!(" {key}={value}\n");
        let length = (1..).find(|length| length.to_string().len() + rest.len() == *length).unwrap();
        format!("{length}{rest}")
    };
    let records = record("path", &long) + &record("SCHILY.xattr.user.x", "a\nb") + &record("size", "5");
    let mut tar = Tar::new();
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_path("x").unwrap();
    header.set_size(records.len() as u64);
    header.set_cksum();
    tar.0.append(&header, records.as_bytes()).unwrap();
    let contents = tar.file("short", "12345").contents();
    assert_eq!(contents.need(&long, "").unwrap().bytes("", 9, "").unwrap(), b"12345");
    assert!(contents.open("short").unwrap().is_none());
}
