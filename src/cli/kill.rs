//! `kill`.

use rcrun::id::ContainerId;
use rcrun::{lifecycle, signal};

use super::{Command, Context};

/// Flags of `kill`.
#[derive(clap::Args)]
pub struct Kill {
    /// Name of the container
    pub id: String,
    /// Signal: a name with or without SIG, in any case, or a number
    #[arg(default_value = "SIGTERM")]
    pub signal: String,
    /// Send it to all processes of the container; a stopped container is no error then
    #[arg(short, long)]
    pub all: bool,
}

impl Command for Kill {
    const NAME: &'static str = "kill";
    const ABOUT: &'static str = "Send a signal to the container's first process";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let id = ContainerId::parse(&self.id)?;
        // An empty word is no word, as for runc.
        let signal = if self.signal.is_empty() { "SIGTERM" } else { &self.signal };
        lifecycle::kill(&context.store(), &id, signal::parse(signal)?, self.all)?;
        Ok(0)
    }
}
