//! From a name to the manifest of one image: through an index by platform, past the policy.

use super::{Between, PullError, PullOptions};
use crate::image::manifest::{Descriptor, Document, Manifest};
use crate::image::registry::Fetched;
use crate::image::{Digest, Platform, Reference, policy};

/// Indexes within indexes are followed so deep.
const DEEPEST: usize = 4;

/// What a name led to.
pub struct Chosen {
    /// The digest that the name led to: that of the index, where there is one.
    pub named: Digest,
    /// The manifest's own, with its platform.
    pub descriptor: Descriptor,
    /// The manifest as it came.
    pub bytes: Vec<u8>,
    /// The same, parsed.
    pub manifest: Manifest,
    /// The index that it was chosen from, as it came.
    pub index: Option<Vec<u8>>,
}

/// Asks the registry for `reference`. What the policy does not let in is an error, and nothing else has been fetched then.
pub fn choose(
    between: &Between<'_>,
    reference: &Reference,
    options: &PullOptions,
) -> Result<Chosen, PullError> {
    let wanted = options.platform.clone().unwrap_or_else(Platform::host);
    between.policy.check_name(reference)?;
    let mut fetched = between.registry.manifest(reference)?;
    let named = fetched.digest.clone();
    let mut index = None;
    let mut platform = None;
    for _ in 0..DEEPEST {
        let document = Document::parse(&fetched.bytes, Some(&fetched.media_type), &options.limits);
        match document.map_err(|error| PullError::Manifest { digest: fetched.digest.clone(), error })? {
            Document::Manifest(manifest) => {
                let descriptor = Descriptor {
                    platform,
                    ..Descriptor::new(&manifest.media_type, fetched.digest, fetched.bytes.len() as u64)
                };
                check(between, reference, &[&named, &descriptor.digest], options)?;
                return Ok(Chosen { named, descriptor, bytes: fetched.bytes, manifest, index });
            }
            Document::Index(list) => {
                let entry = list
                    .choose(&wanted)
                    .map_err(|error| PullError::Manifest { digest: fetched.digest.clone(), error })?;
                platform.clone_from(&entry.platform);
                let next = entry_of(between, reference, entry)?;
                index.get_or_insert(fetched.bytes);
                fetched = next;
            }
        }
    }
    Err(PullError::Nested { deepest: DEEPEST })
}

/// Does the policy let it in? A signature of the index is one of each manifest in it.
fn check(
    between: &Between<'_>,
    reference: &Reference,
    digests: &[&Digest],
    options: &PullOptions,
) -> Result<(), PullError> {
    let signed = |digest: &Digest| policy::signatures(between.registry, reference, digest, &options.limits);
    Ok(between.policy.check(reference, digests, &signed)?)
}

/// The manifest that an index's entry describes.
fn entry_of(between: &Between<'_>, reference: &Reference, entry: &Descriptor) -> Result<Fetched, PullError> {
    let fetched = between.registry.manifest(&reference.with_digest(&entry.digest))?;
    if fetched.bytes.len() as u64 != entry.size {
        let (digest, said, is) = (entry.digest.clone(), entry.size, fetched.bytes.len() as u64);
        return Err(PullError::Size { digest, said, is });
    }
    Ok(fetched)
}
