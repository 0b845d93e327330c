//! Pulls an image: from a name to unpacked layers and an entry in the store.
//!
//! name -> manifest ([`choose`]) -> policy -> configuration -> layers, several at once ([`layers`]) -> entry. The entry comes last: an
//! image is there as a whole or not at all. Everything is fetched once, also by several processes: who wants what another
//! is fetching waits for it.

mod choose;
mod error;
mod layer;
mod layers;

pub use choose::{Chosen, choose};
pub use error::PullError;

use std::sync::Arc;

use super::event::{Event, Listener};
use super::manifest::Manifest;
use super::policy::Policy;
use super::registry::Registry;
use super::store::{Image, NewImage, Store};
use super::{Limits, Platform, Reference, config};

/// How to pull.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// What the image is to run on; None is this machine, or whatever a manifest without a choice was built for.
    pub platform: Option<Platform>,
    /// Keep the layers' blobs.
    pub keep_blobs: bool,
    /// How many layers are on their way at once.
    pub jobs: usize,
    /// Unpack as an unprivileged user's user namespace allows.
    pub rootless: bool,
    /// What is too large.
    pub limits: Limits,
}

/// Where images come from and go to, and who may watch.
#[derive(Clone, Copy)]
pub struct Between<'a> {
    /// Has them.
    pub registry: &'a Registry,
    /// Gets them.
    pub store: &'a Store,
    /// Says which of them are let in.
    pub policy: &'a Policy,
    /// Is told what happens.
    pub listener: &'a Listener,
}

/// Pulls `reference` and gives the store's entry of it.
pub fn pull(between: &Between<'_>, reference: &Reference, options: &PullOptions) -> Result<Image, PullError> {
    let _used = between.store.use_shared()?;
    let chosen = choose(between, reference, options)?;
    let name = reference.to_string();
    (between.listener)(Event::Resolved { name: &name, digest: &chosen.named });
    let source = reference.with_digest(&chosen.descriptor.digest);
    within(&chosen.manifest, &options.limits)?;
    if chosen.manifest.is_image() {
        image(between, &source, &chosen, options)?;
    } else {
        artifact(between, &source, &chosen.manifest)?;
    }
    enter(between.store, reference, &chosen, options)
}

/// The configuration and the layers of an image.
fn image(
    between: &Between<'_>,
    source: &Reference,
    chosen: &Chosen,
    options: &PullOptions,
) -> Result<(), PullError> {
    let manifest = &chosen.manifest;
    layer::keep(between, source, &manifest.config, &Arc::default())?;
    let bytes = between.store.read_blob("the image's configuration", &manifest.config)?;
    let configuration = config::parse(&bytes).map_err(|error| PullError::Config { error })?;
    if let Some(wanted) = &options.platform {
        let built = config::platform(&configuration);
        if wanted.rank(&built).is_none() {
            return Err(PullError::Platform { wanted: wanted.clone(), built });
        }
    }
    let diff_ids = config::diff_ids(&configuration).map_err(|error| PullError::Config { error })?;
    if diff_ids.len() != manifest.layers.len() {
        let (layers, diff_ids) = (manifest.layers.len(), diff_ids.len());
        return Err(PullError::Count { layers, diff_ids });
    }
    layers::fetch(between, source, &manifest.layers, &diff_ids, options)
}

/// All blobs of an artifact, as they are: nothing is unpacked.
fn artifact(between: &Between<'_>, source: &Reference, manifest: &Manifest) -> Result<(), PullError> {
    for descriptor in std::iter::once(&manifest.config).chain(&manifest.layers) {
        layer::keep(between, source, descriptor, &Arc::default())?;
    }
    Ok(())
}

/// Is nothing larger than it may be? A configuration is read as a whole, an artifact's too.
fn within(manifest: &Manifest, limits: &Limits) -> Result<(), PullError> {
    let (size, most) = (manifest.config.size, limits.config_bytes);
    if size > most {
        return Err(PullError::ConfigSize { size, most });
    }
    let most = limits.layer_bytes;
    match manifest.layers.iter().find(|layer| layer.size > most) {
        Some(layer) => Err(PullError::BlobSize { digest: layer.digest.clone(), size: layer.size, most }),
        None => Ok(()),
    }
}

/// The manifest's own blobs, and the name.
fn enter(
    store: &Store,
    reference: &Reference,
    chosen: &Chosen,
    options: &PullOptions,
) -> Result<Image, PullError> {
    store.put_blob(&chosen.descriptor.digest, &chosen.bytes)?;
    if let Some(index) = &chosen.index {
        store.put_blob(&chosen.named, index)?;
    }
    Ok(store.put_image(&NewImage {
        name: Some(reference.clone()),
        manifest: chosen.descriptor.clone(),
        index: chosen.index.as_ref().map(|_| chosen.named.clone()),
        source: Some(reference.clone()),
        keep_blobs: options.keep_blobs,
    })?)
}
