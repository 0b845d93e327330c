//! What is on disk, for limits of emptyDirs and of Pods: measured as `du` does, since not every file system has quotas.

use std::collections::HashSet;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, statat};

use super::VolumeError;
use super::plan::{Plan, Source};
use super::prepare::place;
use super::walk::walk;

/// The first volume that holds more than it may.
pub(super) fn exceeded(plan: &Plan, directory: &Path) -> Option<VolumeError> {
    plan.volumes.iter().find_map(|volume| {
        let Source::Disk { limit: Some(limit) } = volume.source else { return None };
        let used = bytes(&place(volume, directory)?);
        (used > limit).then(|| VolumeError {
            volume: volume.name.clone(),
            message: format!("{used} bytes are used, its sizeLimit is {limit}"),
        })
    })
}

/// What all directories on disk hold.
pub(super) fn of_all(plan: &Plan, directory: &Path) -> u64 {
    let disks = plan.volumes.iter().filter(|volume| matches!(volume.source, Source::Disk { .. }));
    disks.filter_map(|volume| place(volume, directory)).map(|path| bytes(&path)).fold(0, u64::saturating_add)
}

/// What a tree takes of the disk. What goes meanwhile is not counted.
pub(super) fn bytes(path: &Path) -> u64 {
    let mut bytes = 0_u64;
    let mut linked = HashSet::new();
    // An agent that cannot look does not end a Pod for what it has not seen.
    let _ = walk(path, |directory, name, kind| {
        let status = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if kind == FileType::Directory || status.st_nlink < 2 || linked.insert(status.st_ino) {
            bytes = bytes.saturating_add(u64::try_from(status.st_blocks).unwrap_or(0).saturating_mul(512));
        }
        Ok(())
    });
    bytes
}
