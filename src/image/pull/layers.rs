//! All layers of an image, several at once, the largest first: so the last one to end is a small one.

use std::collections::HashSet;

use super::{Between, PullError, PullOptions, layer};
use crate::image::event::{Event, Progress};
use crate::image::parallel;
use crate::image::{Descriptor, Digest, Reference};

/// Fetches and unpacks `layers`, whose contents are `diff_ids`. The first error ends all of them.
pub(super) fn fetch(
    between: &Between<'_>,
    source: &Reference,
    layers: &[Descriptor],
    diff_ids: &[Digest],
    options: &PullOptions,
) -> Result<(), PullError> {
    let waiting = in_order(layers, diff_ids);
    for (descriptor, _) in &waiting {
        (between.listener)(Event::Blob(descriptor, Progress::Waiting));
    }
    parallel::for_each(waiting, options.jobs, |next, cancel| {
        layer::fetch(between, source, next, options, cancel)
    })
}

/// Each content once: an image may have the same layer several times.
fn in_order<'a>(layers: &'a [Descriptor], diff_ids: &'a [Digest]) -> Vec<(&'a Descriptor, &'a Digest)> {
    let mut seen = HashSet::new();
    let mut all: Vec<_> = layers.iter().zip(diff_ids).filter(|(_, diff_id)| seen.insert(*diff_id)).collect();
    all.sort_by_key(|(descriptor, _)| std::cmp::Reverse(descriptor.size));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_layer_comes_first_and_each_once() {
        let descriptor = |size: usize| Descriptor::of("x", &vec![0; size]);
        let layers = [descriptor(1), descriptor(3), descriptor(2), descriptor(3)];
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.digest.clone()).collect();
        let order: Vec<u64> = in_order(&layers, &diff_ids).iter().map(|(layer, _)| layer.size).collect();
        assert_eq!(order, [3, 2, 1]);
    }
}
