//! A layer, whatever its bytes: an error of one line, or a tree that is as its list says; nothing around it
//! changes.
#![no_main]

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rcrun::image::limits::Limits;
use rcrun::image::manifest::Compression;
use rcrun::image::unpack::{UnpackOptions, unpack_layer, verify_layer};

/// In memory.
static PLACE: LazyLock<PathBuf> =
    LazyLock::new(|| Path::new("/dev/shm").join(format!("rcrun-fuzz-{}", std::process::id())));

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    bytes.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar").for_each(seal);
    let _ = fs::remove_dir_all(&*PLACE);
    fs::create_dir_all(PLACE.join("layer")).expect("a directory");
    fs::write(PLACE.join("secret"), "secret").expect("a file");
    let diff = File::open(PLACE.join("layer")).expect("a directory");
    let limits = Limits { layer_bytes: 1 << 20, layer_files: 200, header_bytes: 64 << 10, ..Limits::default() };
    let options = UnpackOptions { limits, rootless: true, ..UnpackOptions::default() };
    let mut list = Vec::new();
    match unpack_layer(&bytes[..], Compression::None, diff.as_fd(), &mut list, options) {
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
        Ok(_) => {
            let differences = verify_layer(diff.as_fd(), &list[..]).expect("a list");
            assert!(differences.is_empty(), "{differences:?}\n{}", String::from_utf8_lossy(&list));
        }
    }
    assert_eq!(fs::read_dir(&*PLACE).expect("a directory").count(), 2);
    assert_eq!(fs::read(PLACE.join("secret")).expect("a file"), b"secret");
    let _ = fs::remove_dir_all(&*PLACE);
});

/// Makes a header's checksum right, which chance would not.
fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
