//! `load`: images of an archive into the store, as `docker load` does.

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use rcrun::image::archive::{self, Input, LoadOptions, Loaded};
use rcrun::image::policy::{Policy, PolicyFiles};
use rcrun::image::{Limits, Platform, Reference, Store};
use serde_json::json;

use super::progress::{self, Format};
use super::{Command, Context, log, output};

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
    /// Format of the progress and of what was loaded
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Signature policy [default: ~/.config/containers/policy.json, or /etc/containers/policy.json]
    #[arg(long, value_name = "FILE")]
    signature_policy: Option<PathBuf>,
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
        let policy = Policy::load(&PolicyFiles::from_environment(self.signature_policy))?;
        let storage = context.storage()?;
        if let Some(note) = super::enter_user_namespace()? {
            log::warning(&note);
        }
        let store = Store::open(&storage)?;
        let options = LoadOptions {
            platform: self.platform,
            limits: Limits::from_environment()?,
            rootless: rcrun::host::in_user_namespace(),
        };
        let listener = progress::listener("loading", self.format, self.quiet);
        let loaded = archive::load(&store, &input, &options, &policy, &listener)
            .with_context(|| format!("load {name}"))?;
        drop(listener);
        let lines =
            loaded.iter().map(|loaded| line(loaded, self.format)).collect::<anyhow::Result<String>>()?;
        output::print(&lines)?;
        Ok(0)
    }
}

/// What was loaded: docker's words, or an object.
fn line(loaded: &Loaded, format: Format) -> anyhow::Result<String> {
    let Loaded { name, id } = loaded;
    match (format, name) {
        (Format::Text, Some(name)) => Ok(format!("Loaded image: {}\n", name.familiar())),
        (Format::Text, None) => Ok(format!("Loaded image ID: {id}\n")),
        (Format::Json, name) => {
            let name = name.as_ref().map(Reference::to_string);
            output::json_line(&json!({"event": "loaded", "name": name, "id": id}))
        }
    }
}
