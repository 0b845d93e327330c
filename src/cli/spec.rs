//! `spec`: a config.json to start from.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};

use super::{Command, Context};

/// Flags of `spec`.
#[derive(clap::Args)]
pub struct Spec {
    /// Directory to write config.json into
    #[arg(short, long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    bundle: PathBuf,
    /// For a container of the calling user, in a user namespace
    #[arg(id = "rootless-spec", long = "rootless")]
    rootless: bool,
}

impl Command for Spec {
    const NAME: &'static str = "spec";
    const ABOUT: &'static str = "Write a config.json to start from";

    fn run(self, _: &Context) -> anyhow::Result<u8> {
        let text = if self.rootless {
            let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
            rcrun::spec::rootless_config(uid.as_raw(), gid.as_raw())
        } else {
            rcrun::spec::default_config()
        };
        let path = self.bundle.join("config.json");
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = match file {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(anyhow!("{} exists: remove it first", path.display()));
            }
            other => other.with_context(|| format!("create {}", path.display()))?,
        };
        file.write_all(text.as_bytes()).with_context(|| format!("write {}", path.display()))?;
        Ok(0)
    }
}
