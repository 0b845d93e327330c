//! The `rcrun-agent` program: the agent itself, or one of kubectl's verbs asked of it.

mod arguments;
mod memory;
mod service;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};

use arguments::Arguments;
use rcrun_agent::cli::{in_claps_spelling, say};
use rcrun_agent::volumes;

fn main() -> ExitCode {
    if let Some(exit) = for_nfs() {
        return exit;
    }
    let words = in_claps_spelling(&Arguments::command(), std::env::args_os());
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) if is_mistake(&error) => {
            say(usage(&error));
            return ExitCode::FAILURE;
        }
        Err(help) => help.exit(),
    };
    let done = match arguments.command {
        None => service::run(&arguments.settings).map(|()| ExitCode::SUCCESS),
        Some(command) => rcrun_agent::cli::run(command, &arguments.settings.socket),
    };
    done.unwrap_or_else(|error| {
        say(format_args!("rcrun-agent: {}", one_line(&error)));
        ExitCode::FAILURE
    })
}

/// This program as the agent starts it itself, for mounts that may take for ever. None: it is not.
fn for_nfs() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let request = words.next().filter(|verb| verb == volumes::NFS).and_then(|_| words.next())?;
    match volumes::serve_nfs(&request.to_string_lossy()) {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(why) => {
            println!("{why}");
            Some(ExitCode::FAILURE)
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

fn is_mistake(error: &clap::Error) -> bool {
    error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// What is wrong with a command line, on one line.
fn usage(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let verb = std::env::args_os().nth(1).and_then(|verb| verb.into_string().ok());
    let verb = verb.filter(|verb| verb.starts_with(|c: char| c.is_ascii_lowercase()));
    let what =
        text.lines().take_while(|line| !line.trim_start().starts_with("tip:") && !line.starts_with("Usage:"));
    let what = what.take_while(|line| !line.starts_with("For more")).collect::<Vec<_>>().join(" ");
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    let known = verb.filter(|_| error.kind() != ErrorKind::InvalidSubcommand);
    format!("{what}: see rcrun-agent {}--help", known.map(|verb| verb + " ").unwrap_or_default())
}
