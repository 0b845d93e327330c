//! `start`.

use rcrun::id::ContainerId;
use rcrun::lifecycle;

use super::{Command, Context};

/// Flags of `start`.
#[derive(clap::Args)]
pub struct Start {
    /// Name of a created container
    id: String,
}

impl Command for Start {
    const NAME: &'static str = "start";
    const ABOUT: &'static str = "Start the process of a created container";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        lifecycle::start(&context.store(), &ContainerId::parse(&self.id)?)?;
        Ok(0)
    }
}
