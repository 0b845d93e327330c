//! Blobs that the store has dropped, from the registries that are known to have them: what [`super::Fetch`] is made of.

use std::error::Error;
use std::io::Read;

use crate::image::Descriptor;
use crate::image::registry::Registry;
use crate::image::store::Image;

/// Gets a blob from the first of the image's sources that gives it; its bytes are not trusted. The error says why each
/// does not.
pub fn fetch(
    registry: &Registry,
    image: &Image,
    blob: &Descriptor,
) -> Result<Box<dyn Read + Send>, Box<dyn Error + Send + Sync>> {
    let mut failures = Vec::new();
    for source in &image.sources {
        match registry.blob(source, blob) {
            Ok(blob) => return Ok(Box::new(blob)),
            Err(error) => failures.push(error.to_string()),
        }
    }
    Err(failures.join("; ").into())
}
