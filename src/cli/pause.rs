//! `pause` and `resume`.

use rcrun::id::ContainerId;
use rcrun::lifecycle;

use super::{Command, Context};

/// Flags of `pause`.
#[derive(clap::Args)]
pub struct Pause {
    /// Name of a running container
    id: String,
}

impl Command for Pause {
    const NAME: &'static str = "pause";
    const ABOUT: &'static str = "Freeze all processes of a container";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        lifecycle::pause(&context.store(), &ContainerId::parse(&self.id)?)?;
        Ok(0)
    }
}

/// Flags of `resume`.
#[derive(clap::Args)]
pub struct Resume {
    /// Name of a paused container
    id: String,
}

impl Command for Resume {
    const NAME: &'static str = "resume";
    const ABOUT: &'static str = "Let the processes of a paused container run on";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        lifecycle::resume(&context.store(), &ContainerId::parse(&self.id)?)?;
        Ok(0)
    }
}
