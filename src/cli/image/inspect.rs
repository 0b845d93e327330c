//! `image inspect`: docker's fields.

use rcrun::image::store::{Facts, Image, Store};
use serde_json::{Value, json};

use super::{each, existing_for, find, parsed_format};
use crate::cli::output::{self, Format};
use crate::cli::{Command, Context};

/// Flags of `image inspect`.
#[derive(clap::Args)]
pub struct Inspect {
    /// Names or ids of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// json for one line of JSON an image, instead of a list over several
    #[arg(short, long, value_name = "FORMAT", value_parser = parsed_format)]
    format: Option<Format>,
}

impl Command for Inspect {
    const NAME: &'static str = "inspect";
    const ABOUT: &'static str = "Print what is known of images as JSON";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let (found, result) = each(&self.images, |word| {
            let store = existing_for(context, word)?;
            report(&store, &find(&store, word)?)
        });
        let text = match self.format {
            Some(Format::Json) => found.iter().map(output::json_line).collect::<anyhow::Result<String>>()?,
            _ => output::json_pretty(&found, "    ")? + "\n",
        };
        output::print(&text)?;
        result
    }
}

fn report(store: &Store, image: &Image) -> anyhow::Result<Value> {
    let contents = store.contents(image)?;
    let all: Vec<Image> = store.images()?.into_iter().filter(|other| other.id == image.id).collect();
    let tags: Vec<String> = all
        .iter()
        .filter_map(|entry| entry.name.as_ref())
        .filter(|name| name.tag().is_some())
        .map(|name| name.familiar())
        .collect();
    let mut digests: Vec<String> = all.iter().flat_map(Image::repo_digests).collect();
    digests.sort();
    digests.dedup();
    let facts = contents.facts.clone().unwrap_or_default();
    Ok(json!({
        "Id": image.id,
        "RepoTags": tags,
        "RepoDigests": digests,
        "Parent": "",
        "Comment": facts.comment.clone().unwrap_or_default(),
        "Created": facts.created,
        "DockerVersion": facts.docker_version.clone().unwrap_or_default(),
        "Author": facts.author.clone().unwrap_or_default(),
        "Config": facts.config,
        "Architecture": facts.architecture,
        "Variant": facts.variant.clone().unwrap_or_default(),
        "Os": facts.os,
        "OsVersion": facts.os_version.clone().unwrap_or_default(),
        "Size": image.size,
        "GraphDriver": { "Name": "overlay", "Data": { "LowerDir": lower(store, &facts) } },
        "RootFS": { "Type": "layers", "Layers": facts.diff_ids() },
        "Metadata": { "LastTagTime": image.stored },
        "Descriptor": { "mediaType": contents.descriptor.media_type, "digest": contents.descriptor.digest,
            "size": contents.descriptor.size },
    }))
}

/// The unpacked layers as overlayfs takes them, the highest first.
fn lower(store: &Store, facts: &Facts) -> String {
    let layers = facts.diff_ids().iter().rev().filter_map(|diff_id| store.layer(diff_id));
    let paths: Vec<String> = layers.map(|layer| layer.diff().display().to_string()).collect();
    paths.join(":")
}
