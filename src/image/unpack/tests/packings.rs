//! How layers are packed, and what is wrong with some.

use std::io::{self, Write};

use super::writer::*;
use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// An archive of two megabytes that does not pack well.
fn large() -> Vec<u8> {
    let mut state = 1_u64;
    let mut noise = |length: usize| -> Vec<u8> {
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 60) as u8 * 16
            })
            .collect()
    };
    archive(&(0..20).map(|n| file(format!("d{}/f{n}", n % 3), noise(n * 9973))).collect::<Vec<_>>())
}

#[test]
fn all_packings_become_the_same_tree() {
    let bytes = large();
    let half = bytes.len() / 2;
    let members = [gzip(&bytes[..half]), gzip(&bytes[half..]), vec![0; 100]].concat();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"toc!"].concat();
    let chunked = [zstd(&bytes[..half]), zstd(&bytes[half..]), skippable].concat();
    for (blob, compression) in [
        (bytes.clone(), Compression::None),
        (gzip(&bytes), Compression::Gzip),
        (members, Compression::Gzip),
        (zstd(&bytes), Compression::Zstd),
        (chunked, Compression::Zstd),
    ] {
        let (layer, mut copy) = (Layer::new(), Vec::new());
        let options =
            UnpackOptions { copy: Some(&mut copy), blob_size: Some(blob.len() as u64), ..options() };
        let unpacked = layer.unpack_with(&blob, options).unwrap();
        assert_eq!(unpacked.diff_id, Digest::of(&bytes));
        assert_eq!((unpacked.blob, unpacked.blob_size), (Digest::of(&blob), blob.len() as u64));
        assert_eq!((unpacked.bytes, unpacked.compression), (bytes.len() as u64, compression));
        assert_eq!(copy, blob);
        assert_eq!(layer.stat("d0/f18").len(), 18 * 9973);
    }
}

#[test]
fn digests_are_of_the_algorithms_asked_for() {
    let bytes = archive(&[file("f", "x")]);
    for blob in [bytes.clone(), gzip(&bytes)] {
        let options = UnpackOptions { blob_algorithm: Algorithm::Sha512, ..options() };
        let unpacked = Layer::new().unpack_with(&blob, options).unwrap();
        assert_eq!(unpacked.blob, Digest::of_with(Algorithm::Sha512, &blob));
        assert_eq!(unpacked.diff_id, Digest::of(&bytes));
    }
}

#[test]
fn a_blob_that_is_cut_short_is_told_from_a_damaged_one() {
    let bytes = large();
    for (blob, packing) in [(gzip(&bytes), "gzip"), (zstd(&bytes), "zstd")] {
        for end in [10, blob.len() / 2, blob.len() - 1] {
            let error = Layer::new().unpack(&blob[..end]).unwrap_err().to_string();
            assert!(error.contains(packing) && error.contains("truncated"), "{error}");
        }
        let mut damaged = blob.clone();
        damaged[blob.len() / 2..][..64].fill(0x55);
        // The archive within may be seen to be damaged first; and zstd without checksums leaves it to the DiffID.
        match Layer::new().unpack(&damaged) {
            Ok(unpacked) => assert!(packing == "zstd" && unpacked.diff_id != Digest::of(&bytes)),
            Err(UnpackError::Corrupt { packing: found, .. }) => assert_eq!(found, packing),
            Err(error) => assert!(error.to_string().contains("no valid tar archive"), "{error}"),
        }
    }
    let error = Layer::new().unpack(&[b"\xfd7zXZ\0"[..].to_vec(), bytes].concat()).unwrap_err().to_string();
    assert!(error.contains("xz"), "{error}");
}

#[test]
fn what_fails_outside_is_the_error_that_is_told() {
    struct Broken(usize);
    impl io::Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.checked_sub(buffer.len()) {
                Some(left) => self.0 = left,
                None => return Err(io::Error::other("the registry hung up")),
            }
            buffer.fill(0);
            Ok(buffer.len())
        }
    }
    impl io::Write for Broken {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::Error::other("disk full"))?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let layer = Layer::new();
    let diff = File::open(layer.root()).unwrap();
    let (mut sink, fd) = (io::sink(), diff.as_fd());
    for before in [0, 1 << 20] {
        let result = unpack_layer(Broken(before), Compression::None, fd, &mut sink, options());
        assert_eq!(result.unwrap_err().to_string(), "read the layer: the registry hung up");
    }
    let bytes = large();
    let mut broken = Broken(200_000);
    let result = unpack_layer(
        &bytes[..],
        Compression::None,
        fd,
        &mut sink,
        UnpackOptions { copy: Some(&mut broken), ..options() },
    );
    assert_eq!(result.unwrap_err().to_string(), "keep the layer's blob: disk full");
    let result = unpack_layer(&bytes[..], Compression::None, fd, &mut Broken(10), options());
    assert_eq!(result.unwrap_err().to_string(), "write the layer's list of digests: disk full");
}
