//! ListImages, StreamImages and ImageStatus: what is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use rcrun::image::Digest;
use rcrun::image::store::{Image, Store};
use serde_json::{Value, json};
use tonic::Status;

use super::images::Documents;
use super::pinned::Pinned;
use super::{blocking, describe, error, find, store};
use crate::api;
use crate::runtime::Runtime;

/// All images, or the one that the filter means.
pub async fn list(
    runtime: &Arc<Runtime>,
    filter: Option<api::ImageFilter>,
) -> Result<Vec<api::Image>, Status> {
    let runtime = Arc::clone(runtime);
    blocking(move || {
        let wanted = filter.and_then(|filter| filter.image).map(|image| image.image);
        list_blocking(&runtime, wanted.as_deref().unwrap_or_default())
    })
    .await
}

fn list_blocking(runtime: &Runtime, wanted: &str) -> Result<Vec<api::Image>, Status> {
    let store = store(runtime)?;
    let images = store.images().map_err(error::store)?;
    let only = match wanted {
        "" => None,
        text => match find::resolve(&images, text)? {
            Some(image) => Some(image.id),
            None => return Ok(Vec::new()),
        },
    };
    let mut by_id: BTreeMap<Digest, Vec<Image>> = BTreeMap::new();
    for image in images {
        if only.as_ref().is_none_or(|only| *only == image.id) {
            by_id.entry(image.id.clone()).or_default().push(image);
        }
    }
    let pinned = Pinned::new(&runtime.config().pinned_images);
    let describe = |entries: &Vec<Image>| {
        describe::image(entries, documents(runtime, &store, entries).as_deref(), &pinned)
    };
    Ok(by_id.values().filter_map(describe).collect())
}

/// One damaged image must not hide the others: it is listed, so that it can be removed.
fn documents(runtime: &Runtime, store: &Store, entries: &[Image]) -> Option<Arc<Documents>> {
    let first = entries.first()?;
    match runtime.images.documents(store, first) {
        Ok(documents) => Some(documents),
        Err(failure) => {
            tracing::warn!(image = first.title(), "cannot be read: {failure}");
            None
        }
    }
}

/// ImageStatus: an image that is not there is no error.
pub async fn status(
    runtime: &Arc<Runtime>,
    request: api::ImageStatusRequest,
) -> Result<api::ImageStatusResponse, Status> {
    let runtime = Arc::clone(runtime);
    let text = request.image.unwrap_or_default().image;
    blocking(move || status_blocking(&runtime, &text, request.verbose)).await
}

fn status_blocking(runtime: &Runtime, text: &str, verbose: bool) -> Result<api::ImageStatusResponse, Status> {
    let store = store(runtime)?;
    let images = store.images().map_err(error::store)?;
    let Some(image) = find::resolve(&images, text)? else { return Ok(api::ImageStatusResponse::default()) };
    let entries: Vec<Image> = images.into_iter().filter(|other| other.id == image.id).collect();
    let documents = documents(runtime, &store, &entries);
    let pinned = Pinned::new(&runtime.config().pinned_images);
    let mut answer = api::ImageStatusResponse {
        image: describe::image(&entries, documents.as_deref(), &pinned),
        info: Default::default(),
    };
    if verbose && let Some(documents) = documents {
        answer.info.insert("info".to_owned(), info(&documents).to_string());
    }
    Ok(answer)
}

/// What crictl's inspecti reads: the configuration, and the name of the image's layers as one.
fn info(documents: &Documents) -> Value {
    let spec = serde_json::from_slice(&documents.contents.config).unwrap_or(Value::Null);
    json!({
        "chainID": chain_id(documents.contents.diff_ids()).map(|id| id.to_string()).unwrap_or_default(),
        "imageSpec": spec,
    })
}

/// ChainID: OCI image specification, config.md. None of no layers.
fn chain_id(diff_ids: &[Digest]) -> Option<Digest> {
    let (first, others) = diff_ids.split_first()?;
    Some(others.iter().fold(first.clone(), |below, id| Digest::of(format!("{below} {id}").as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_id_is_of_all_layers_in_order() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(chain_id(&[]), None);
        assert_eq!(chain_id(std::slice::from_ref(&a)).unwrap(), a);
        let both = Digest::of(format!("{a} {b}").as_bytes());
        assert_eq!(chain_id(&[a.clone(), b.clone()]).unwrap(), both);
        assert_eq!(
            chain_id(&[a, b.clone(), b.clone()]).unwrap(),
            Digest::of(format!("{both} {b}").as_bytes())
        );
    }
}
