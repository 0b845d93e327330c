//! Images in the CRI's words.

use rcrun::image::store::Image;

use super::find::Names;
use super::images::Documents;
use super::pinned::Pinned;
use crate::api;

/// What the CRI tells of an image: of all its `entries` together, of which there is at least one. Without `documents`, which
/// cannot be read then, it has neither a user nor a size worth the word.
pub fn image(entries: &[Image], documents: Option<&Documents>, pinned: &Pinned) -> Option<api::Image> {
    let first = entries.first()?;
    let names = Names::of(entries, &first.id);
    let facts = documents.and_then(|documents| documents.facts.as_ref().ok());
    let (uid, username) = facts.map_or((None, String::new()), |facts| user(&facts.user));
    let id = first.id.to_string();
    Some(api::Image {
        // Never 0: the kubelet takes that for a mistake.
        size: documents.map_or(0, size).max(1),
        pinned: pinned.has(&id, &names),
        id,
        repo_tags: names.tags,
        repo_digests: names.digests,
        uid: uid.map(|value| api::Int64Value { value }),
        username,
        spec: None,
    })
}

/// Bytes of its blobs as a registry has them: what a pull costs, and what other runtimes tell.
fn size(documents: &Documents) -> u64 {
    let contents = &documents.contents;
    let layers: u64 = contents.manifest.layers.iter().map(|layer| layer.size).sum();
    layers.saturating_add(contents.manifest.config.size).saturating_add(contents.descriptor.size)
}

/// `USER[:GROUP]` as a number or a name; neither where the image says nothing.
fn user(text: &str) -> (Option<i64>, String) {
    let user = text.split(':').next().unwrap_or_default();
    match user.parse() {
        Ok(uid) => (Some(uid), String::new()),
        Err(_) => (None, user.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_number_or_a_name() {
        assert_eq!(user(""), (None, String::new()));
        assert_eq!(user("1002"), (Some(1002), String::new()));
        assert_eq!(user("1003:22"), (Some(1003), String::new()));
        assert_eq!(user("www-data:www-data"), (None, "www-data".to_owned()));
    }
}
