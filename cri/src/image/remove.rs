//! RemoveImage, and garbage that could not be collected then.

use std::sync::Arc;

use rcrun::image::Digest;
use rcrun::image::store::{Collected, Store};
use tonic::Status;

use super::{blocking, error, find, store};
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
            note(&runtime, &removed.collected);
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
                collect(&runtime, &store);
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
        Ok(store) => collect(&runtime, &store),
        Err(failure) => tracing::warn!("garbage of images stays: {failure}"),
    });
}

/// Collects what a killed process left, or what was in use when an image was removed.
fn collect(runtime: &Runtime, store: &Store) {
    match store.collect_garbage() {
        Ok(collected) => note(runtime, &collected),
        Err(failure) => tracing::warn!("garbage of images stays: {failure}"),
    }
}

/// Collects if that is overdue; for who just stopped using the store.
pub(super) fn collect_overdue(runtime: &Runtime, store: &Store) {
    if runtime.images.take_overdue() {
        collect(runtime, store);
    }
}

fn note(runtime: &Runtime, collected: &Collected) {
    // A pull goes on: its end collects.
    if collected.deferred {
        runtime.images.set_overdue();
    }
    for failure in &collected.errors {
        tracing::warn!("garbage of images stays: {failure}");
    }
}
