//! `push`: an image of the store into a registry.

use anyhow::Context as _;
use rcrun::image::push::push;
use rcrun::image::{Digest, Name, Reference};
use serde_json::json;

use super::progress::{self, Format};
use super::transfer::{RegistryFlags, Source};
use super::{Command, Context, image, output};

/// Flags of `push`.
#[derive(clap::Args)]
pub struct Push {
    /// Print the image's name and digest and nothing else
    #[arg(short, long)]
    quiet: bool,
    /// Format of the progress
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    #[command(flatten)]
    registry: RegistryFlags,
    /// Name or id of the image
    image: String,
    /// Name to push it as [default: its own]
    destination: Option<Name>,
}

impl Command for Push {
    const NAME: &'static str = "push";
    const ABOUT: &'static str = "Push an image to a registry";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let store = image::existing_for(context, &self.image)?;
        let found = image::find(&store, &self.image)?;
        let source = Source::new(&self.registry, None)?;
        let destination = match &self.destination {
            Some(name) => source.repository(name)?.or_latest(),
            None => found.name.clone().with_context(|| {
                format!("image {} has no name: say where to push it, rcrun push {0} NAME", found.title())
            })?,
        };
        let listener = progress::listener("pushing", self.format, self.quiet);
        let between = (&store, source.registry());
        let digest = push(between, &found, &destination, self.registry.jobs(), &listener)
            .with_context(|| format!("push {} as {destination}", found.title()))?;
        drop(listener);
        self.print(&destination, &digest)
    }
}

impl Push {
    fn print(&self, destination: &Reference, digest: &Digest) -> anyhow::Result<u8> {
        output::print(&match self.format {
            Format::Text => format!("{}@{digest}\n", destination.name()),
            Format::Json => output::json_line(
                &json!({"event": "pushed", "name": destination.to_string(), "digest": digest}),
            )?,
        })?;
        Ok(0)
    }
}
