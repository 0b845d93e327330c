//! `save`: images of the store as an archive, as `docker save` does.

use std::cell::OnceCell;
use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::bail;
use clap::ValueEnum;
use rcrun::image::archive::{self, Format, Output, Wanted};
use rcrun::image::store::Image;
use rcrun::image::{Descriptor, Reference, Store, missing};

use super::progress::{self, Format as Progress};
use super::transfer::{RegistryFlags, Source};
use super::{Command, Context, image};

const NAMES: &str = "\
An image that is named by its ID has no name in the archive. Of a name without a tag that is the image called latest.
The same images make the same bytes. A layer whose blob the store has not kept is fetched again from where the image came.";

/// Flags of `save`.
#[derive(clap::Args)]
#[command(after_help = NAMES)]
pub struct Save {
    /// File to write, or with --format oci-dir a directory that is not there yet [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Kind of the archive
    #[arg(long, value_name = "FORMAT", default_value = "docker-archive")]
    format: Kind,
    /// Print no progress of layers that are fetched again
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    registry: RegistryFlags,
    /// Names or IDs of images
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

/// `--format`, in podman's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Docker's and OCI's at once, as docker writes since version 25
    DockerArchive,
    /// A tar archive of an OCI image layout
    OciArchive,
    /// An OCI image layout, uncompressed in a directory
    OciDir,
}

impl Command for Save {
    const NAME: &'static str = "save";
    const ABOUT: &'static str = "Save images as an archive";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let output = match self.output.filter(|path| path.as_os_str() != "-") {
            Some(path) => Output::Path(path),
            None if std::io::stdout().is_terminal() => {
                bail!("stdout is a terminal: name a file with -o FILE, or redirect it")
            }
            None => Output::Stdout,
        };
        let format = match self.format {
            Kind::DockerArchive => Format::DockerArchive,
            Kind::OciArchive => Format::OciArchive,
            Kind::OciDir => Format::OciDirectory,
        };
        let store = image::existing_for(context, &self.images[0])?;
        let images = self.images.iter().map(|text| wanted(&store, text)).collect::<Result<Vec<_>, _>>()?;
        let source = OnceCell::new();
        let fetch = |image: &Image, blob: &Descriptor| {
            // Whoever saves what is there needs no configuration of registries.
            let source = match source.get() {
                Some(source) => source,
                None => {
                    let new = Source::new(&self.registry, None).map_err(|error| format!("{error:#}"))?;
                    source.get_or_init(|| new)
                }
            };
            Ok(missing::fetch(source.registry(), image, blob)?)
        };
        let listener = progress::listener("fetching", Progress::Text, self.quiet);
        archive::save(&store, &images, format, output, &fetch, &listener)?;
        Ok(0)
    }
}

/// The image that `text` means, under that name; under none where it is an ID.
fn wanted(store: &Store, text: &str) -> anyhow::Result<Wanted> {
    let image::Found { image, candidates } = image::found(store, text)?;
    let name = name(&image, &candidates);
    Ok(Wanted { image, name })
}

fn name(image: &Image, candidates: &[Reference]) -> Option<Reference> {
    let name = image.name.clone().filter(|name| name.tag().is_some())?;
    let is_meant = |other: &Reference| other.digest().is_none() && other.clone().or_latest() == name;
    candidates.iter().any(is_meant).then_some(name)
}
