//! One layer: its blob comes from the registry, or is there, and becomes a directory of the store.

use std::io::{self, Read, Write};
use std::sync::Arc;

use super::{Between, PullError, PullOptions};
use crate::image::event::{Event, Progress, Watched};
use crate::image::manifest::{Compression, Descriptor};
use crate::image::parallel::{Cancel, Cancellable};
use crate::image::store::{BlobClaim, BlobWriter, LayerClaim, LayerRecord, LayerWriter};
use crate::image::unpack::{UnpackOptions, Unpacked, unpack_layer};
use crate::image::{Digest, Reference};

/// Fetches and unpacks `descriptor`, whose content unpacks to `diff_id`.
pub(super) fn fetch(
    between: &Between<'_>,
    source: &Reference,
    (descriptor, diff_id): (&Descriptor, &Digest),
    options: &PullOptions,
    cancel: &Arc<Cancel>,
) -> Result<(), PullError> {
    match between.store.claim_layer(diff_id)? {
        LayerClaim::Present(_) if options.keep_blobs => keep(between, source, descriptor, cancel),
        LayerClaim::Present(_) => {
            (between.listener)(Event::Blob(descriptor, Progress::Present));
            Ok(())
        }
        LayerClaim::Missing(writer) => {
            let kept = match options.keep_blobs {
                true => Some(between.store.claim_blob(&descriptor.digest)?),
                false => between.store.blob(&descriptor.digest)?.map(BlobClaim::Present),
            };
            match kept {
                Some(BlobClaim::Present(file)) => unpack(writer, file, None, (descriptor, diff_id), options)?,
                Some(BlobClaim::Missing(mut blob)) => {
                    let from = transfer(between, source, descriptor, cancel)?;
                    unpack(writer, from, Some(&mut blob), (descriptor, diff_id), options)?;
                    blob.commit(descriptor)?;
                }
                None => {
                    let from = transfer(between, source, descriptor, cancel)?;
                    unpack(writer, from, None, (descriptor, diff_id), options)?;
                }
            }
            (between.listener)(Event::Blob(descriptor, Progress::Done));
            Ok(())
        }
    }
}

/// Fetches a blob into the store as it is.
pub(super) fn keep(
    between: &Between<'_>,
    source: &Reference,
    descriptor: &Descriptor,
    cancel: &Arc<Cancel>,
) -> Result<(), PullError> {
    let BlobClaim::Missing(mut blob) = between.store.claim_blob(&descriptor.digest)? else {
        (between.listener)(Event::Blob(descriptor, Progress::Present));
        return Ok(());
    };
    let mut from = transfer(between, source, descriptor, cancel)?;
    let copied = io::copy(&mut from, &mut blob);
    copied.map_err(|error| PullError::Transfer { digest: descriptor.digest.clone(), error })?;
    blob.commit(descriptor)?;
    (between.listener)(Event::Blob(descriptor, Progress::Done));
    Ok(())
}

/// Unpacks `from` and, if it was what the manifest and the configuration say, makes the layer visible.
fn unpack(
    writer: LayerWriter,
    from: impl Read + Send,
    copy: Option<&mut BlobWriter>,
    (descriptor, diff_id): (&Descriptor, &Digest),
    options: &PullOptions,
) -> Result<(), PullError> {
    let digest = || descriptor.digest.clone();
    let Some(compression) = Compression::of(&descriptor.media_type) else {
        return Err(PullError::MediaType { digest: digest(), media_type: descriptor.media_type.clone() });
    };
    let how = UnpackOptions {
        limits: options.limits.clone(),
        rootless: options.rootless,
        blob_size: Some(descriptor.size),
        blob_algorithm: descriptor.digest.algorithm(),
        diff_algorithm: diff_id.algorithm(),
        copy: copy.map(|copy| copy as &mut (dyn Write + Send)),
    };
    let mut digests = writer.digests()?;
    let unpacked = unpack_layer(from, compression, writer.diff(), &mut digests, how)
        .map_err(|error| PullError::Unpack { digest: digest(), error })?;
    compare(&unpacked, descriptor, diff_id)?;
    writer.commit(&LayerRecord::of(descriptor.clone(), &unpacked))?;
    Ok(())
}

/// The blob before the DiffID: where both are wrong, the first is why.
fn compare(unpacked: &Unpacked, descriptor: &Descriptor, diff_id: &Digest) -> Result<(), PullError> {
    let digest = descriptor.digest.clone();
    if unpacked.blob != descriptor.digest {
        return Err(PullError::Blob { digest, is: unpacked.blob.clone() });
    }
    if &unpacked.diff_id != diff_id {
        return Err(PullError::DiffId { digest, said: diff_id.clone(), is: unpacked.diff_id.clone() });
    }
    Ok(())
}

/// The blob's bytes from the registry, told to the listener as they come.
fn transfer(
    between: &Between<'_>,
    source: &Reference,
    descriptor: &Descriptor,
    cancel: &Arc<Cancel>,
) -> Result<impl Read + Send + use<>, PullError> {
    let inner = between.registry.blob(source, descriptor)?;
    let inner = Cancellable { inner, cancel: Arc::clone(cancel) };
    Ok(Watched::new(inner, descriptor, between.listener))
}
