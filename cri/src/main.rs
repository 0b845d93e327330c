//! The `rcrun-cri` program: arguments, configuration, logs, then the server until a signal ends it.

mod arguments;
mod logs;
mod service;

use std::process::ExitCode;

use clap::Parser as _;
use rcrun_cri::config;

use arguments::{Arguments, Command, ConfigCommand};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        None => service::run(&arguments),
        Some(Command::Config(ConfigCommand::Default)) => {
            print!("{}", config::DEFAULT);
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rcrun-cri: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
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
