//! A manifest, an index or a configuration, whatever its bytes: within the limits, or an error of one line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rcrun::image::store::Facts;
use rcrun::image::{Digest, Document, Limits, Platform};

fuzz_target!(|bytes: &[u8]| {
    let one_line = |text: String| assert!(!text.contains('\n') && !text.is_empty(), "{text:?}");
    let limits = Limits { layers: 50, index_entries: 50, ..Limits::default() };
    match Document::parse(bytes, None, &limits) {
        Ok(Document::Manifest(manifest)) => assert!(manifest.layers.len() <= limits.layers),
        Ok(Document::Index(index)) => {
            assert!(index.manifests.len() <= limits.index_entries);
            match index.choose(&Platform::host()) {
                Ok(chosen) => assert!(index.manifests.contains(chosen)),
                Err(error) => one_line(error.to_string()),
            }
        }
        Err(error) => one_line(error.to_string()),
    }
    match Facts::parse(&Digest::of(bytes), bytes) {
        Ok(facts) => drop((facts.platform(), facts.labels())),
        Err(error) => one_line(error.to_string()),
    }
});
