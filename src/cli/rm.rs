//! `rm`: of containers in the background.

use super::{Command, Context, background};

/// Flags of `rm`.
#[derive(clap::Args)]
pub struct Rm {
    /// Names or ids of containers in the background
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Kill one that runs first
    #[arg(short, long)]
    force: bool,
    /// Also volumes without a name, which go with the container in any case; the flag is docker's
    #[arg(short, long)]
    volumes: bool,
}

impl Command for Rm {
    const NAME: &'static str = "rm";
    const ABOUT: &'static str = "Remove containers in the background with all that they have written";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        background::each(context, &self.containers, |containers, record| {
            containers.remove(record, self.force)
        })
    }
}
