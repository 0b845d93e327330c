//! `stop`: of containers in the background.

use rcrun::signal;

use super::{Command, Context, background};

/// Flags of `stop`.
#[derive(clap::Args)]
pub struct Stop {
    /// Names or ids of containers in the background
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    /// Seconds before it is killed; -1 waits for ever [default: as --stop-timeout said, or 10]
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", allow_hyphen_values = true)]
    time: Option<i64>,
    /// Signal [default: as --stop-signal or the image said, or SIGTERM]
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
}

impl Command for Stop {
    const NAME: &'static str = "stop";
    const ABOUT: &'static str = "End containers in the background, and wait for that";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let signal = self.signal.as_deref().map(signal::parse).transpose()?;
        background::each(context, &self.containers, |containers, record| {
            containers.stop(record, signal, self.time)
        })
    }
}
