//! `restart`: of containers in the background.

use super::{Command, Context, background};

/// Flags of `restart`.
#[derive(clap::Args)]
pub struct Restart {
    /// Names or ids of containers in the background
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Seconds before it is killed; -1 waits for ever [default: as --stop-timeout said, or 10]
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", allow_hyphen_values = true)]
    time: Option<i64>,
}

impl Command for Restart {
    const NAME: &'static str = "restart";
    const ABOUT: &'static str = "End containers in the background, and start them again";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        background::each(context, &self.containers, |containers, record| {
            containers.stop(record, None, self.time)?;
            containers.start(record)
        })
    }
}
