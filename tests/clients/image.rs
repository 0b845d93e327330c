//! An image of one layer, the root file system [`ROOTFS`], as an archive: an OCI layout, which containerd imports, with
//! docker's manifest.json in it, for `docker load`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::view::{ROOTFS, View};

/// Writes an image called `name` to the view's `file`. `config` is what its containers get: `User`, `Env`, `Cmd` ...
pub fn write(view: &View, file: &str, name: &str, config: &Value) {
    let layout = tempfile::tempdir().expect("make a directory");
    let blobs = Blobs(layout.path());
    fs::create_dir_all(layout.path().join("blobs/sha256")).expect("mkdir");
    let layer = blobs.add(&fs::read(view.path(ROOTFS)).expect("read the root file system"));
    let config = blobs.add_json(&json!({
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
    }));
    let manifest = blobs.add_json(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
        "layers": [layer.descriptor("application/vnd.oci.image.layer.v1.tar")],
    }));
    let mut listed = manifest.descriptor("application/vnd.oci.image.manifest.v1+json");
    listed["annotations"] = json!({"io.containerd.image.name": name});
    let write = |file: &str, value: &Value| {
        fs::write(layout.path().join(file), value.to_string()).expect("write");
    };
    write("oci-layout", &json!({"imageLayoutVersion": "1.0.0"}));
    write("index.json", &json!({"schemaVersion": 2, "manifests": [listed]}));
    write("manifest.json", &json!([{"Config": config.path(), "RepoTags": [name], "Layers": [layer.path()]}]));
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(layout.path()).arg("-cf").arg(view.path(file));
    tar.args(["oci-layout", "index.json", "manifest.json", "blobs"]);
    assert!(tar.status().expect("start tar").success(), "{tar:?}");
}

/// The layout's directory.
struct Blobs<'l>(&'l Path);

impl Blobs<'_> {
    fn add(&self, data: &[u8]) -> Blob {
        let new = self.0.join("new");
        fs::write(&new, data).expect("write a blob");
        let output = Command::new("sha256sum").arg(&new).output().expect("start sha256sum");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let hash = text.split(' ').next().filter(|hash| hash.len() == 64).expect("a hash");
        let blob = Blob { digest: format!("sha256:{hash}"), size: data.len() };
        fs::rename(&new, self.0.join(blob.path())).expect("rename");
        blob
    }

    fn add_json(&self, value: &Value) -> Blob {
        self.add(value.to_string().as_bytes())
    }
}

struct Blob {
    digest: String,
    size: usize,
}

impl Blob {
    fn path(&self) -> String {
        format!("blobs/{}", self.digest.replace(':', "/"))
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": self.digest, "size": self.size})
    }
}
