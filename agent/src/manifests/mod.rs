//! The directory of manifests: its files are applied when they come or change, and what was in them is deleted when they go.
//!
//! [`watch`] says which files may have changed, [`files`] reads them, [`plan`] decides (pure) what is to be applied and deleted, and
//! [`sync`] does it through [`crate::api::admission`]. Each object says in its annotation ORIGIN which file it is from, so that a file that
//! went while the agent was not there is known, too.

mod files;
mod plan;
mod sync;
mod watch;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep_until};

use crate::api::admission::{ORIGIN, Ranges};
use crate::objects::Kind;
use crate::store::{Change, Store};

use files::Files;
use sync::Sync;
use watch::{Changed, Watch};

/// How long further changes are waited for: an editor makes several of one.
const SETTLE: Duration = Duration::from_millis(20);
/// What a file that vanished is waited for: some editors move it away before they write the new one.
const VANISHED: Duration = Duration::from_millis(200);
/// When what was refused is tried again, if nothing that may matter changes before.
const AGAIN: Duration = Duration::from_secs(30);

/// Follows a directory until the process ends. What is wrong with a file is logged and becomes an Event; the rest goes on.
pub async fn follow(store: Arc<Store>, ranges: Ranges, directory: &Path) -> anyhow::Result<()> {
    let mut changes = store.watch(|_| ()).1;
    let mut watch = Watch::new(directory).with_context(|| format!("cannot watch {}", directory.display()))?;
    let mut features = ranges.watch_features();
    let mut follower = Follower {
        files: Files::new(directory),
        sync: Sync::new(store, ranges),
        changed: Changed::Everything,
        objects_changed: false,
    };
    loop {
        let again = follower.turn().await?;
        let deadline = again.map(|after| Instant::now() + after);
        tokio::select! {
            changed = watch.next() => {
                follower.changed.and(changed);
                // More of it comes at once, or not.
                let settled = Instant::now() + SETTLE;
                while let Ok(more) = tokio::time::timeout_at(settled, watch.next()).await {
                    follower.changed.and(more);
                }
            }
            () = relevant(&mut changes) => follower.objects_changed = true,
            // Some manifests cannot be judged before the runtime has said what it can.
            Ok(()) = features.changed() => follower.objects_changed = true,
            () = until(deadline) => follower.objects_changed = true,
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits for a change after which something may be applied that was not before: an object of a file that somebody deleted, a namespace or a
/// quota that changed, anything that went and made room.
async fn relevant(changes: &mut broadcast::Receiver<Change>) {
    loop {
        match changes.recv().await {
            Ok(change) if matters(&change) => return,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn matters(change: &Change) -> bool {
    let kind = change.object().kind();
    let limits = [Kind::Namespace, Kind::ResourceQuota, Kind::LimitRange].contains(&kind);
    match change {
        Change::Deleted(object) => {
            let annotations = object.metadata().annotations.as_ref();
            let of_file = annotations.is_some_and(|annotations| annotations.contains_key(ORIGIN));
            limits || of_file || kind == Kind::Service || kind == Kind::Pod
        }
        Change::Added(_) | Change::Modified(..) => limits,
    }
}

/// What is known of the directory, and what is to be looked at.
struct Follower {
    files: Files,
    sync: Sync,
    changed: Changed,
    objects_changed: bool,
}

impl Follower {
    /// Looks at what changed, and does what follows. Returns when to come again though nothing changes.
    async fn turn(&mut self) -> anyhow::Result<Option<Duration>> {
        let changed = std::mem::take(&mut self.changed);
        let objects_changed = std::mem::take(&mut self.objects_changed);
        let (mut files, mut sync) = (std::mem::take(&mut self.files), std::mem::take(&mut self.sync));
        // Files are read and written.
        let done = tokio::task::spawn_blocking(move || {
            let read = files.read(&changed);
            let waits = files.vanishing();
            let more = if read || objects_changed { sync.all(&files) } else { None };
            (files, sync, waits, more)
        });
        let (files, sync, waits, more) = done.await.context("cannot apply the manifests")?;
        self.files = files;
        self.sync = sync;
        if !waits.is_empty() {
            self.changed.and(Changed::Names(waits));
            return Ok(Some(VANISHED));
        }
        Ok(more)
    }
}

/// Names of files.
type Names = BTreeSet<String>;

#[cfg(test)]
mod tests;
