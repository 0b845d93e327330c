//! What directories take on the disk.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Context;

/// Bytes in blocks of the disk, each file once, of all below `directory`.
pub fn taken(directory: &Path) -> anyhow::Result<u64> {
    let mut seen = HashSet::new();
    let mut sum = 0;
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).with_context(|| format!("read {}", directory.display()))? {
            let path = entry?.path();
            let status =
                fs::symlink_metadata(&path).with_context(|| format!("look at {}", path.display()))?;
            if seen.insert((status.dev(), status.ino())) {
                sum += status.blocks() * 512;
            }
            if status.is_dir() {
                directories.push(path);
            }
        }
    }
    Ok(sum)
}

/// The same of the unpacked trees in rcrun's store alone.
pub fn taken_by_layers(store: &Path) -> anyhow::Result<u64> {
    let layers = store.join("layers/sha256");
    let mut sum = 0;
    for entry in fs::read_dir(&layers).with_context(|| format!("read {}", layers.display()))? {
        sum += taken(&entry?.path().join("diff"))?;
    }
    Ok(sum)
}
