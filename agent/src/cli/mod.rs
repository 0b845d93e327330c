//! kubectl's verbs on the agent's socket.

use std::process::ExitCode;

/// Runs a verb.
pub fn run(command: Command, socket: &std::path::Path) -> anyhow::Result<ExitCode> {
    let _ = (command, socket);
    anyhow::bail!("not yet")
}

/// The verbs.
#[derive(clap::Subcommand, Debug)]
pub enum Command {}
