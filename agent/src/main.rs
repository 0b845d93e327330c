//! The `rcrun-agent` program: the agent itself, or one of kubectl's verbs asked of it.

mod arguments;
mod memory;
mod service;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        None => service::run(&arguments.settings).map(|()| ExitCode::SUCCESS),
        Some(command) => rcrun_agent::cli::run(command, &arguments.settings.socket),
    };
    done.unwrap_or_else(|error| {
        eprintln!("rcrun-agent: {}", one_line(&error));
        ExitCode::FAILURE
    })
}

/// The error and its causes, outermost first, on one line.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // Some errors of libraries have their source in their own text; once is enough.
        if !line.ends_with(&cause) {
            line = if line.is_empty() { cause } else { format!("{line}: {cause}") };
        }
    }
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
