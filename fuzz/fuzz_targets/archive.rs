//! An archive of images, whatever its bytes: images whose documents were compared, or an error of one line.
#![no_main]

use std::fs::File;
use std::io::Write;

use libfuzzer_sys::fuzz_target;
use rcrun::image::archive::{Contents, describe};
use rcrun::image::{Digest, Limits};
use rustix::fs::{MemfdFlags, memfd_create};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { archive_entries: 100, ..Limits::default() };
    let mut file = File::from(memfd_create("archive", MemfdFlags::CLOEXEC).expect("memory"));
    file.write_all(bytes).expect("write to memory");
    let described = Contents::of_archive(file, &limits)
        .and_then(|contents| Ok((describe(&contents, None, &limits)?, contents)));
    match described {
        Ok((images, contents)) => {
            for image in &images {
                assert_eq!(Digest::of(&image.config), image.parsed.config.digest);
                assert_eq!(image.layers.len(), image.parsed.layers.len());
                for layer in &image.layers {
                    let mut content = contents.need(&layer.file, "the image").expect("its place was known");
                    assert_eq!(content.size(), layer.descriptor.size);
                    let read = std::io::copy(&mut content, &mut std::io::sink()).expect("it is in memory");
                    assert_eq!(read, layer.descriptor.size);
                }
            }
        }
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains('\n') && !text.is_empty(), "{text:?}");
        }
    }
});
