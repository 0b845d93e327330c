//! `mounts`: crun's command to change the mounts of a running container.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use oci_spec::runtime::Mount;
use rcrun::id::ContainerId;
use rcrun::lifecycle;

use super::{Command, Context};

/// Flags of `mounts`.
#[derive(clap::Args)]
pub struct Mounts {
    /// Whether to mount or to unmount
    #[arg(value_enum)]
    action: Action,
    /// Name of a running container
    id: String,
    /// File with the mounts as config.json has them, or - for stdin; to remove, destinations suffice
    file: PathBuf,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Action {
    Add,
    Remove,
}

impl Command for Mounts {
    const NAME: &'static str = "mounts";
    const ABOUT: &'static str = "Add mounts to a running container or remove them";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let id = ContainerId::parse(&self.id)?;
        let mounts = read(&self.file)?;
        match self.action {
            Action::Add => lifecycle::add_mounts(&context.store(), &id, mounts)?,
            Action::Remove => lifecycle::remove_mounts(&context.store(), &id, &mounts)?,
        }
        Ok(0)
    }
}

/// A list of mounts, or an object with one, as a whole config.json is.
#[derive(serde::Deserialize)]
struct Whole {
    mounts: Vec<Mount>,
}

fn read(file: &Path) -> anyhow::Result<Vec<Mount>> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).context("read mounts from stdin")?;
    } else {
        File::open(file)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .with_context(|| format!("read mounts from {}", file.display()))?;
    }
    let is_object = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    match is_object {
        true => Ok(rcrun::spec::parse_json::<Whole>("mounts", &bytes)?.mounts),
        false => Ok(rcrun::spec::parse_json("mounts", &bytes)?),
    }
}
