//! `delete`.

use rcrun::id::ContainerId;
use rcrun::lifecycle;

use super::{Command, Context};

/// Flags of `delete`.
#[derive(clap::Args)]
pub struct Delete {
    /// Name of the container
    id: String,
    /// Kill a running container first (SIGKILL); one that does not exist is no error
    #[arg(short, long)]
    force: bool,
}

impl Command for Delete {
    const NAME: &'static str = "delete";
    const ABOUT: &'static str = "Delete what a stopped container holds";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        lifecycle::delete(&context.store(), &ContainerId::parse(&self.id)?, self.force)?;
        Ok(0)
    }
}
