//! The store: its commands, what other programs read of it, and what is left when its writers are killed.

mod commands;
mod killed;
mod layout;
mod pulls;
mod room;
mod verify;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use rcrun::image::store::{BlobClaim, Image, LayerClaim, LayerRecord, NewImage, Store};
use rcrun::image::{Descriptor, Digest, Reference};

use crate::fixtures::Built;

/// Puts `built` into a store as a pull does, its layers unpacked to one file each; where `kept`, with its layer blobs.
pub fn put(store: &Store, name: &str, built: &Built, kept: bool) -> Image {
    let _use = store.use_shared().expect("lock");
    let manifest = built.root().json();
    let descriptors: Vec<Descriptor> = serde_json::from_value(manifest["layers"].clone()).expect("layers");
    let diff_ids = built.diff_ids();
    let diff_id = |descriptor: &Descriptor| {
        let at = descriptors.iter().position(|layer| layer.digest == descriptor.digest).expect("a layer");
        diff_ids[at].parse::<Digest>().expect("a digest")
    };
    for (digest, bytes) in built.blobs() {
        let descriptor = descriptors.iter().find(|layer| layer.digest.to_string() == digest);
        if let Some(descriptor) = descriptor {
            unpack(store, &diff_id(descriptor), descriptor, 1);
        }
        if kept || descriptor.is_none() {
            store.put_blob(&digest.parse().expect("a digest"), bytes).expect("put a blob");
        }
    }
    let root = built.root();
    let descriptor = Descriptor::of(&root.media_type, &root.bytes);
    store.put_blob(&descriptor.digest, &root.bytes).expect("put the manifest");
    let name: Reference = name.parse::<Reference>().expect("a name").or_latest();
    let source = Some(name.clone());
    let new = NewImage { name: Some(name), manifest: descriptor, index: None, source, keep_blobs: kept };
    store.put_image(&new).expect("put the image")
}

/// Unpacks a layer of so many files with its DiffID in them.
pub fn unpack(store: &Store, diff_id: &Digest, blob: &Descriptor, files: u64) {
    let LayerClaim::Missing(writer) = store.claim_layer(diff_id).expect("claim a layer") else { return };
    for file in 0..files {
        let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::EXCL;
        let mode = rustix::fs::Mode::RUSR;
        let fd = rustix::fs::openat(writer.diff(), format!("file{file}"), flags, mode).expect("make a file");
        File::from(fd).write_all(diff_id.hex().as_bytes()).expect("write");
    }
    writer.digests().expect("digests").write_all(b"list").expect("write");
    writer.commit(&LayerRecord::new(diff_id.clone(), blob.clone(), files * 64, files)).expect("commit");
}

/// Writes a blob in pieces, if this is who writes it.
pub fn write_blob(store: &Store, bytes: &[u8]) {
    let descriptor = Descriptor::of("application/vnd.oci.image.layer.v1.tar", bytes);
    if let BlobClaim::Missing(mut writer) = store.claim_blob(&descriptor.digest).expect("claim a blob") {
        bytes.chunks(1000).for_each(|piece| writer.write_all(piece).expect("write"));
        writer.commit(&descriptor).expect("commit");
    }
}

/// Bytes of the files in a directory.
pub fn contents(directory: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(directory).expect("read a directory");
    entries.map(|entry| fs::read(entry.expect("entry").path()).expect("read a file")).collect()
}
