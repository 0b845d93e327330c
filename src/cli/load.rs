//! `load`: images of an archive into the store, as `docker load` does.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use rcrun::image::archive::{self, Input, LoadOptions, Loaded};
use rcrun::image::{Limits, Platform, Store};

use super::{Command, Context, output};

const ARCHIVES: &str = "\
An archive is what docker, podman or buildah save, what skopeo copies to docker-archive: or oci-archive:, or the directory of an
OCI image layout; plain, or packed with gzip or zstd. An image whose name is not in the archive is found by its ID.";

/// Flags of `load`.
#[derive(clap::Args)]
#[command(after_help = ARCHIVES)]
pub struct Load {
    /// Archive, or directory of an OCI image layout [default: stdin]
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Print no progress, only what was loaded
    #[arg(short, long)]
    quiet: bool,
    /// Which of an image's platforms, as OS/ARCHITECTURE[/VARIANT] [default: this machine's, or the only one]
    #[arg(long)]
    platform: Option<Platform>,
}

impl Command for Load {
    const NAME: &'static str = "load";
    const ABOUT: &'static str = "Load images from an archive";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let (input, name) = match self.input.filter(|path| path.as_os_str() != "-") {
            Some(path) => (Input::Path(path.clone()), path.display().to_string()),
            None if std::io::stdin().is_terminal() => {
                bail!("stdin is a terminal: name an archive with -i FILE, or redirect one")
            }
            None => (Input::Stdin, "standard input".to_owned()),
        };
        let store = Store::open(&context.storage()?)?;
        let options = LoadOptions {
            platform: self.platform,
            limits: Limits::from_environment()?,
            rootless: !super::global::is_host_root(),
        };
        let loaded =
            archive::load(&store, &input, &options, &|_| {}).with_context(|| format!("load {name}"))?;
        let lines: String = loaded.iter().map(line).collect();
        output::print(&lines)?;
        Ok(0)
    }
}

/// docker's words.
fn line(loaded: &Loaded) -> String {
    match &loaded.name {
        Some(name) => format!("Loaded image: {}\n", name.familiar()),
        None => format!("Loaded image ID: {}\n", loaded.id),
    }
}
