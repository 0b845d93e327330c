//! Changes of index.json: images come, get names, lose names, go.

use super::entries::{NAME, one_kind};
use super::index::IndexFile;
use super::{Image, NewImage, Store, StoreError};
use crate::image::{Descriptor, Digest, Reference};

impl Store {
    /// Makes an image visible, under its name if it has one; another image of that name stays without it. Its
    /// documents, and the layers that it needs, are in the store; the caller holds [`Store::use_shared`] since
    /// before they came.
    pub fn put_image(&self, new: &NewImage) -> Result<Image, StoreError> {
        let mut image = self.new_image(new)?;
        self.change_index(|index| {
            for known in same_manifest(index, &image.manifest.digest) {
                merge(&mut image, &known);
            }
            share(index, &image);
            place(index, &image);
            Ok(())
        })?;
        Ok(image)
    }

    /// Gives an image one more name; another image that has it stays without.
    pub fn tag(&self, image: &Image, name: &Reference) -> Result<Image, StoreError> {
        let tagged = Image { name: Some(one_kind(name.clone())), ..image.clone() };
        let tagged = match image.foreign {
            false => tagged,
            // An entry of rcrun's own, beside the other program's.
            true => {
                let manifest = self.contents(image)?.descriptor;
                let index = image.index.clone().filter(|index| *index != manifest.digest);
                let new = NewImage { name: tagged.name, manifest, index, source: None, keep_blobs: true };
                self.new_image(&new)?
            }
        };
        self.change_index(|index| {
            if !index.descriptors().any(|descriptor| descriptor.digest == image.manifest.digest) {
                return Err(StoreError::NoImage { name: image.title() });
            }
            place(index, &tagged);
            Ok(())
        })?;
        Ok(tagged)
    }

    /// Remembers that a registry has an image: `source` with a digest, else with its manifest's.
    pub fn add_source(&self, image: &Image, source: &Reference) -> Result<(), StoreError> {
        let source = source.with_digest(source.digest().unwrap_or(&image.manifest.digest));
        self.change_index(|index| {
            for mut known in same_manifest(index, &image.manifest.digest) {
                known.sources.push(source.clone());
                share(index, &known);
            }
            Ok(())
        })
    }
}

/// Takes the name of one entry away. The image's last entry stays without a name.
pub(super) fn untag(index: &mut IndexFile, image: &Image) {
    drop_name(index, |descriptor| is_entry(descriptor, image));
}

/// Removes entries; what nothing names any more is left to garbage collection.
pub(super) fn remove_entries(index: &mut IndexFile, images: &[Image]) {
    index.manifests.retain(|entry| {
        !entry.descriptor().is_some_and(|known| images.iter().any(|image| is_entry(known, image)))
    });
}

/// Is it the entry that `image` was read from?
fn is_entry(descriptor: &Descriptor, image: &Image) -> bool {
    let name = |descriptor: &Descriptor| descriptor.annotations.get(NAME).cloned();
    let of_image = match image.foreign {
        true => name(&image.manifest),
        false => image.name.as_ref().map(Reference::to_string),
    };
    descriptor.digest == image.manifest.digest
        && Image::ours(descriptor).is_none() == image.foreign
        && name(descriptor) == of_image
}

/// rcrun's entries of one manifest.
fn same_manifest(index: &IndexFile, digest: &Digest) -> Vec<Image> {
    let same = index.descriptors().filter(|descriptor| descriptor.digest == *digest);
    same.filter_map(Image::ours).collect()
}

/// What is known of an image already stays known.
fn merge(image: &mut Image, known: &Image) {
    let new = known.sources.iter().filter(|source| !image.sources.contains(source));
    let new: Vec<Reference> = new.cloned().collect();
    image.sources.extend(new);
    image.keep_blobs |= known.keep_blobs;
    image.index = image.index.take().or_else(|| known.index.clone());
}

/// All entries of a manifest say the same of it.
fn share(index: &mut IndexFile, image: &Image) {
    for entry in &mut index.manifests {
        let known = entry.descriptor().filter(|known| known.digest == image.manifest.digest);
        if let Some(mut known) = known.and_then(Image::ours) {
            merge(&mut known, image);
            known.size = image.size.or(known.size);
            known.hidden_layers = image.hidden_layers;
            *entry = known.entry();
        }
    }
}

/// Adds an entry, in the place of one that says the same; other images lose its name, and the image its nameless entry.
fn place(index: &mut IndexFile, image: &Image) {
    let digest = &image.manifest.digest;
    if let Some(name) = &image.name {
        let name = name.to_string();
        let has_name = |known: &Descriptor| known.annotations.get(NAME) == Some(&name);
        drop_name(index, |known| has_name(known) && known.digest != *digest);
        index.manifests.retain(|entry| !entry.descriptor().is_some_and(|known| is_replaced(known, image)));
    } else if same_manifest(index, digest).iter().any(|known| known.name.is_some()) {
        return;
    } else {
        index.manifests.retain(|entry| !entry.descriptor().is_some_and(|known| is_replaced(known, image)));
    }
    index.manifests.push(image.entry());
}

/// An entry of the same manifest, with the same name or none. Another program's without a name stays: it is a root of
/// its own.
fn is_replaced(known: &Descriptor, image: &Image) -> bool {
    let name = known.annotations.get(NAME);
    known.digest == image.manifest.digest
        && match name {
            Some(name) => image.name.as_ref().is_some_and(|new| new.to_string() == *name),
            None => Image::ours(known).is_some(),
        }
}

/// Entries that `lose` their name stay without one, unless the image has another entry.
fn drop_name(index: &mut IndexFile, lose: impl Fn(&Descriptor) -> bool) {
    let Some(at) = index.manifests.iter().position(|entry| entry.descriptor().is_some_and(&lose)) else {
        return;
    };
    let entry = index.manifests.remove(at).without(NAME);
    let digest = entry.descriptor().map(|descriptor| descriptor.digest.clone());
    if !index.descriptors().any(|other| Some(&other.digest) == digest.as_ref()) {
        index.manifests.insert(at, entry);
    }
    drop_name(index, lose);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(content: &str, name: Option<&str>) -> Image {
        let manifest = Descriptor::of("application/vnd.oci.image.manifest.v1+json", content.as_bytes());
        Image {
            id: Digest::of(content.as_bytes()),
            name: name.map(|name| name.parse::<Reference>().unwrap().or_latest()),
            manifest,
            index: None,
            sources: Vec::new(),
            keep_blobs: false,
            created: None,
            size: None,
            hidden_layers: 0,
            stored: None,
            foreign: false,
        }
    }

    fn listed(index: &IndexFile) -> Vec<(String, String)> {
        let images = index.descriptors().filter_map(Image::ours);
        images.map(|image| (image.id.short()[..4].to_owned(), image.title())).collect()
    }

    fn short(content: &str) -> String {
        Digest::of(content.as_bytes()).short().to_owned()
    }

    #[test]
    fn a_name_that_moves_leaves_its_image_without_one() {
        let mut index = IndexFile::default();
        place(&mut index, &image("a", Some("web")));
        place(&mut index, &image("b", Some("web")));
        let titles: Vec<String> = listed(&index).into_iter().map(|(_, title)| title).collect();
        assert_eq!(titles, [short("a"), "web:latest".to_owned()]);
        // Back again: the nameless entry becomes a named one.
        place(&mut index, &image("a", Some("web")));
        let titles: Vec<String> = listed(&index).into_iter().map(|(_, title)| title).collect();
        assert_eq!(titles, [short("b"), "web:latest".to_owned()]);
    }

    #[test]
    fn an_image_with_another_name_does_not_stay_without_one() {
        let mut index = IndexFile::default();
        place(&mut index, &image("a", Some("web")));
        place(&mut index, &image("a", Some("also")));
        place(&mut index, &image("b", Some("web")));
        let titles: Vec<String> = listed(&index).into_iter().map(|(_, title)| title).collect();
        assert_eq!(titles, ["also:latest", "web:latest"]);
        // Without a name it is there already.
        place(&mut index, &image("a", None));
        assert_eq!(index.manifests.len(), 2);
    }

    #[test]
    fn entries_of_one_manifest_know_the_same_sources() {
        let mut index = IndexFile::default();
        place(&mut index, &image("a", Some("web")));
        place(&mut index, &image("a", Some("also")));
        let source: Reference = "r.example/web".parse::<Reference>().unwrap().with_digest(&Digest::of(b"a"));
        let mut known = image("a", None);
        known.sources.push(source.clone());
        share(&mut index, &known);
        for known in same_manifest(&index, &known.manifest.digest) {
            assert_eq!(known.sources, std::slice::from_ref(&source));
        }
    }

    #[test]
    fn what_another_program_wrote_is_left_as_it_is() {
        let text = r#"{"schemaVersion":2,"manifests":[
            {"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
             "size":7,"data":"e30=","platform":{"os":"linux","architecture":"arm","os.features":["x"]},"annotations":{"org.opencontainers.image.ref.name":"v1"}},
            {"digest":"blake3:1","size":1},7],"other":[1]}"#;
        let mut index: IndexFile = serde_json::from_str(text).unwrap();
        place(&mut index, &image("a", Some("web")));
        let after = serde_json::to_value(&index).unwrap();
        let before: serde_json::Value = serde_json::from_str(text).unwrap();
        for at in 0..3 {
            assert_eq!(after["manifests"][at], before["manifests"][at]);
        }
        assert_eq!((&after["other"], after["manifests"].as_array().unwrap().len()), (&before["other"], 4));
        assert!(index.manifests[1].descriptor().is_none());
        let null: IndexFile = serde_json::from_str("{\"manifests\":null}").unwrap();
        assert!(null.manifests.is_empty());
    }
}
