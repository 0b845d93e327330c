//! `checkpoint` and `restore`: known by name, refused with a reason.

use anyhow::bail;

use super::{Command, Context};

/// Flags of `checkpoint`: any.
#[derive(clap::Args)]
pub struct Checkpoint {
    /// Not looked at
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

impl Command for Checkpoint {
    const NAME: &'static str = "checkpoint";
    const ABOUT: &'static str = "Write a running container to files (not supported yet)";

    fn run(self, _: &Context) -> anyhow::Result<u8> {
        bail!("checkpoint is not supported yet by rcrun {}", env!("CARGO_PKG_VERSION"));
    }
}

/// Flags of `restore`: any.
#[derive(clap::Args)]
pub struct Restore {
    /// Not looked at
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

impl Command for Restore {
    const NAME: &'static str = "restore";
    const ABOUT: &'static str = "Bring a container back from files (not supported yet)";

    fn run(self, _: &Context) -> anyhow::Result<u8> {
        bail!("restore is not supported yet by rcrun {}", env!("CARGO_PKG_VERSION"));
    }
}
