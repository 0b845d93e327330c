//! The image that `run` and `unpack` start from: found in the store, or pulled.

use std::path::Path;

use clap::ValueEnum;
use rcrun::image::Platform;
use rcrun::image::store::{Image, Store, StoreError, Use};

use super::image;
use super::progress::{self, Format};
use super::transfer::{RegistryFlags, Source};

/// `--pull`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Pull {
    /// Where the store has no such image
    #[default]
    Missing,
    /// Each time, for a newer one
    Always,
    /// Never
    Never,
}

/// An image that stays in the store at least as long as `in_use`.
pub struct Found {
    pub store: Store,
    pub image: Image,
    pub in_use: Use,
}

/// Is there an image of this name or id in the store at `storage`? Nothing is made.
pub fn is_stored(storage: &Path, word: &str) -> bool {
    let store = Store::existing(storage).ok().flatten();
    store.is_some_and(|store| image::find(&store, word).is_ok())
}

/// The image `word` for `platform`, or for this machine's.
pub fn find(
    storage: &Path,
    word: &str,
    (platform, pull): (Option<&Platform>, Pull),
    registry: &RegistryFlags,
) -> anyhow::Result<Found> {
    let store = Store::open(storage)?;
    let in_use = store.use_shared()?;
    let found = if pull == Pull::Always { None } else { stored(&store, word, platform)? };
    let image = match found {
        Some(image) => image,
        None if pull == Pull::Never => return Err(StoreError::NoImage { name: word.into() }.into()),
        None => pulled(&store, word, platform, registry)?,
    };
    Ok(Found { store, image, in_use })
}

/// None where there is none, or one for another platform than is asked for.
fn stored(store: &Store, word: &str, platform: Option<&Platform>) -> anyhow::Result<Option<Image>> {
    let image = match image::find(store, word) {
        Err(error) if matches!(error.downcast_ref(), Some(StoreError::NoImage { .. })) => return Ok(None),
        found => found?,
    };
    let fits = |built: &Platform| platform.is_none_or(|wanted| wanted.rank(built).is_some());
    Ok(image.manifest.platform.as_ref().is_none_or(fits).then_some(image))
}

/// Gets the image from its registry; the progress is on stderr, for stdout is the container's.
fn pulled(
    store: &Store,
    word: &str,
    platform: Option<&Platform>,
    registry: &RegistryFlags,
) -> anyhow::Result<Image> {
    // An id that is not in the store is in no registry either.
    let Ok(name) = word.parse() else { return Err(StoreError::NoImage { name: word.into() }.into()) };
    let listener = progress::listener("pulling", Format::Text, false);
    Source::new(registry, None)?.pull(store, &name, (platform.cloned(), false), &listener)
}
