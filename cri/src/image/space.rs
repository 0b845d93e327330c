//! ImageFsInfo: which file system has images and containers, and what they take of it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcrun::image::store::Space;
use tonic::Status;

use super::{error, store};
use crate::api;
use crate::runtime::Runtime;
use crate::state::now;
use crate::work::{blocking, to_the_end};

/// What was measured is good for so long: the kubelet asks each ten seconds, and others in between.
const FRESH: Duration = Duration::from_secs(10);
/// Measuring takes at most this part of the time.
const PART: u32 = 20;

/// What was measured last.
#[derive(Clone, Debug)]
pub struct Measured {
    answer: api::ImageFsInfoResponse,
    until: Instant,
}

/// ImageFsInfo.
pub async fn info(runtime: &Arc<Runtime>) -> Result<api::ImageFsInfoResponse, Status> {
    // What was measured for a client that has given up is the next one's answer.
    to_the_end(measured(Arc::clone(runtime))).await
}

async fn measured(runtime: Arc<Runtime>) -> Result<api::ImageFsInfoResponse, Status> {
    // Held over the measuring: of several who ask one measures.
    let mut last = runtime.images.space.lock().await;
    let changed = runtime.images.take_changed();
    if let Some(measured) = last.as_ref().filter(|measured| !changed && Instant::now() < measured.until) {
        return Ok(measured.answer.clone());
    }
    let measuring = Arc::clone(&runtime);
    let measured = blocking(move || measure(&measuring)).await?;
    Ok(last.insert(measured).answer.clone())
}

fn measure(runtime: &Runtime) -> Result<Measured, Status> {
    let started = Instant::now();
    let (images, containers) = store(runtime)?.space().map_err(error::store)?;
    let root = &runtime.paths.images;
    // Both are in the store's directory, and both are told: the kubelet wants either, and compares the mount points.
    let answer = api::ImageFsInfoResponse {
        image_filesystems: vec![usage(root, images)],
        container_filesystems: vec![usage(root, containers)],
    };
    let ended = Instant::now();
    Ok(Measured { answer, until: ended + FRESH.max((ended - started) * PART) })
}

fn usage(root: &Path, space: Space) -> api::FilesystemUsage {
    let value = |value| Some(api::UInt64Value { value });
    api::FilesystemUsage {
        timestamp: now(),
        fs_id: Some(api::FilesystemIdentifier { mountpoint: root.to_string_lossy().into_owned() }),
        used_bytes: value(space.bytes),
        inodes_used: value(space.inodes),
    }
}
