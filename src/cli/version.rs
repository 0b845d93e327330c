//! `version`, and what `--version` prints.

use super::{Command, Context, output};

/// Flags of `version`.
#[derive(clap::Args)]
pub struct Version {}

impl Command for Version {
    const NAME: &'static str = "version";
    const ABOUT: &'static str = "Print the versions of rcrun and of the runtime specification";

    fn run(self, _: &Context) -> anyhow::Result<u8> {
        output::print(&format!("rcrun {}\n", text()))?;
        Ok(0)
    }
}

/// What stands after the program's name; podman and others read these two lines.
pub fn text() -> String {
    format!("version {}\nspec: {}", env!("CARGO_PKG_VERSION"), rcrun::spec::OCI_VERSION)
}
