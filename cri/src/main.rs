//! The `rcrun-cri` program: arguments, configuration, logs, then the server until a signal ends it.

mod arguments;
mod logs;
mod service;

use std::process::ExitCode;

use clap::Parser as _;
use rcrun_cri::{check, config};

use arguments::{Arguments, Command, ConfigCommand};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        None => service::run(&arguments).map(|()| ExitCode::SUCCESS),
        Some(Command::Config(ConfigCommand::Default)) => {
            print!("{}", config::DEFAULT);
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Check { json }) => look(&arguments, *json),
    };
    match done {
        Ok(status) => status,
        Err(error) => {
            eprintln!("rcrun-cri: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// `rcrun-cri check`
fn look(arguments: &Arguments, json: bool) -> anyhow::Result<ExitCode> {
    let facts = check::facts(&config::read(arguments.config.as_deref())?);
    match json {
        true => println!("{}", serde_json::to_string_pretty(&facts)?),
        false => print!("{}", check::table(&facts)),
    }
    Ok(if check::usable(&facts) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
