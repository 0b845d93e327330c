//! `pull`: an image from a registry into the store.

use std::path::PathBuf;

use rcrun::image::store::{Image, Store};
use rcrun::image::{Name, Platform, Reference};
use serde_json::json;

use super::progress::{self, Format};
use super::transfer::{RegistryFlags, Source};
use super::{Command, Context, log, output};

/// Flags of `pull`.
#[derive(clap::Args)]
pub struct Pull {
    /// Platform to pull an image for: OS/ARCHITECTURE[/VARIANT] [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Keep the layers' blobs as they came, for skopeo, umoci and push [default: as rcrun.toml says]
    #[arg(long)]
    keep_blobs: bool,
    /// Pull all tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Print the image's name and nothing else
    #[arg(short, long)]
    quiet: bool,
    /// Format of the progress
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Signature policy [default: ~/.config/containers/policy.json, or /etc/containers/policy.json]
    #[arg(long, value_name = "FILE")]
    signature_policy: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryFlags,
    /// [REGISTRY/]REPOSITORY[:TAG][@DIGEST]
    #[arg(required = true, value_name = "IMAGE")]
    names: Vec<Name>,
}

impl Command for Pull {
    const NAME: &'static str = "pull";
    const ABOUT: &'static str = "Pull images from a registry";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let source = Source::new(&self.registry, self.signature_policy.clone())?;
        let storage = context.storage()?;
        if let Some(note) = super::enter_user_namespace()? {
            log::warning(&note);
        }
        let store = Store::open(&storage)?;
        for name in &self.names {
            match self.all_tags {
                true => self.pull_all_tags(&store, &source, name)?,
                false => self.pull_one(&store, &source, name)?,
            }
        }
        Ok(0)
    }
}

impl Pull {
    fn pull_one(&self, store: &Store, source: &Source, name: &Name) -> anyhow::Result<()> {
        let listener = progress::listener("pulling", self.format, self.quiet);
        let how = (self.platform.clone(), self.keep_blobs);
        let image = source.pull(store, name, how, &listener)?;
        // The bars are drawn for the last time.
        drop(listener);
        self.print(&image)
    }

    fn pull_all_tags(&self, store: &Store, source: &Source, name: &Name) -> anyhow::Result<()> {
        let repository = source.repository(name)?;
        let tags = source.registry().tags(&repository)?;
        for tag in tags {
            self.pull_one(store, source, &Name::Qualified(repository.with_tag(&tag)))?;
        }
        Ok(())
    }

    fn print(&self, image: &Image) -> anyhow::Result<()> {
        let name = image.name.as_ref().map(Reference::to_string).unwrap_or_default();
        match self.format {
            Format::Text => output::print(&format!("{name}\n")),
            Format::Json => output::print(&output::json_line(&json!({
                "event": "pulled", "name": name, "id": image.id, "digest": image.manifest.digest,
            }))?),
        }
    }
}
