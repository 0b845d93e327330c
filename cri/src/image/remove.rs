//! RemoveImage, and garbage that could not be collected then.

use std::sync::Arc;

use rcrun::image::Digest;
use rcrun::image::store::{Collected, Store, StoreError};
use tonic::Status;

use super::{Images, blocking, error, find, store};
use crate::api;
use crate::runtime::Runtime;

/// Removes an image with all its names. One that is not there is fine. What containers use of it stays until they are removed.
pub async fn remove(
    runtime: &Arc<Runtime>,
    request: api::RemoveImageRequest,
) -> Result<api::RemoveImageResponse, Status> {
    let runtime = Arc::clone(runtime);
    let text = request.image.unwrap_or_default().image;
    blocking(move || {
        let store = store(&runtime)?;
        let images = store.images().map_err(error::store)?;
        if let Some(image) = find::resolve(&images, &text)?
            && let Some(removed) = store.remove_all_names(&image.id).map_err(error::store)?
        {
            tracing::info!(image = %image.id, names = removed.untagged.join(" "), "removed");
            runtime.images.set_changed();
            go_on(&runtime.images, &store, Ok(removed.collected));
        }
        Ok(api::RemoveImageResponse {})
    })
    .await
}

/// A container of the image `id` was removed: if the image went before it, its layers go now, and nobody waits for that.
pub fn container_removed(runtime: &Arc<Runtime>, id: &str) {
    let (runtime, id) = (Arc::clone(runtime), id.parse::<Digest>());
    tokio::task::spawn_blocking(move || {
        let images = store(&runtime).and_then(|store| {
            let images = store.images().map_err(error::store)?;
            Ok((store, images))
        });
        match images {
            Ok((store, images)) if id.is_ok_and(|id| !images.iter().any(|image| image.id == id)) => {
                collect(&runtime.images, &store);
            }
            Ok(_) => {}
            Err(failure) => tracing::warn!("garbage of images stays: {failure}"),
        }
    });
}

/// After a start: what the last process left in the middle of a pull or a removal goes, and nobody waits for that.
pub fn collect_left(runtime: &Arc<Runtime>) {
    let runtime = Arc::clone(runtime);
    tokio::task::spawn_blocking(move || match store(&runtime) {
        Ok(store) => collect(&runtime.images, &store),
        Err(failure) => tracing::warn!("garbage of images stays: {failure}"),
    });
}

/// Collects if that is overdue; for who just stopped using the store.
pub(super) fn collect_overdue(images: &Images, store: &Store) {
    if images.take_overdue() {
        collect(images, store);
    }
}

/// The same, and nobody waits for that.
pub fn collect_overdue_beside(runtime: &Arc<Runtime>) {
    if runtime.images.take_overdue() {
        collect_left(runtime);
    }
}

/// Collects what a killed process left, or what was in use when an image was removed.
fn collect(images: &Images, store: &Store) {
    go_on(images, store, store.collect_garbage());
}

/// Notes what a collection has done, and collects again as long as somebody may have left that to this one.
fn go_on(images: &Images, store: &Store, mut done: Result<Collected, StoreError>) {
    loop {
        let again = match &done {
            // Who uses the store looks for this when done with it. That look may have been before: one more try.
            Ok(collected) if collected.deferred => !images.set_overdue(),
            // Other collections were deferred while this one had the store.
            Ok(_) => images.take_overdue(),
            Err(_) => false,
        };
        let failures = match done {
            Ok(collected) => collected.errors,
            Err(failure) => vec![failure],
        };
        for failure in failures {
            tracing::warn!("garbage of images stays: {failure}");
        }
        if !again {
            return;
        }
        done = store.collect_garbage();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::PathBuf;

    use rustix::fs::{FlockOperation, flock};

    use super::*;

    /// A store with a blob that nothing needs.
    struct Given {
        directory: tempfile::TempDir,
        store: Store,
        images: Images,
        garbage: PathBuf,
    }

    impl Given {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(directory.path()).unwrap();
            let garbage = directory.path().join("blobs/sha256").join("a".repeat(64));
            fs::create_dir_all(garbage.parent().unwrap()).unwrap();
            fs::write(&garbage, "x").unwrap();
            Self { directory, store, images: Images::default(), garbage }
        }

        /// Does `work` while the store is in use. Its lock is given back, not only closed: a process that another test has forked
        /// may still have it open.
        fn in_use<T>(&self, work: impl FnOnce() -> T) -> T {
            let lock = File::create(self.directory.path().join("lock")).unwrap();
            flock(&lock, FlockOperation::LockShared).unwrap();
            let done = work();
            flock(&lock, FlockOperation::Unlock).unwrap();
            done
        }

        #[track_caller]
        fn is_collected(&self) {
            assert!(!self.garbage.exists() && !self.images.take_overdue());
        }
    }

    #[test]
    fn who_has_used_the_store_collects_what_was_left() {
        let given = Given::new();
        given.in_use(|| collect(&given.images, &given.store));
        assert!(given.garbage.exists());
        collect_overdue(&given.images, &given.store);
        given.is_collected();
    }

    #[test]
    fn what_was_left_to_one_that_is_done_is_collected_at_once() {
        let given = Given::new();
        let deferred = given.in_use(|| given.store.collect_garbage());
        collect_overdue(&given.images, &given.store);
        assert!(given.garbage.exists());
        go_on(&given.images, &given.store, deferred);
        given.is_collected();
    }

    #[test]
    fn a_collection_goes_on_for_those_that_it_kept_out() {
        let given = Given::new();
        given.images.set_overdue();
        go_on(&given.images, &given.store, Ok(Collected::default()));
        given.is_collected();
    }
}
