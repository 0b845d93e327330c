//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Serves the Container Runtime Interface (CRI v1) on a unix socket: a kubelet's runtime.
#[derive(Debug, Parser)]
#[command(name = "rcrun-cri", version, args_conflicts_with_subcommands = false)]
pub struct Arguments {
    /// The configuration [default: /etc/rcrun/cri.toml where that exists]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// The socket's path [default: the configuration's `listen`]
    #[arg(long, value_name = "PATH", global = true)]
    pub listen: Option<PathBuf>,
    /// What is logged to standard error: error, warn, info, debug, trace, or a filter like `info,rcrun_cri::cni=debug`
    #[arg(long, value_name = "LEVEL", env = "RCRUN_LOG", default_value = "info", global = true)]
    pub log_level: String,
    /// How it is logged
    #[arg(long, value_name = "FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,
    /// Without a command: serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What else it does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print what this host has and lacks, and what that disables; exits with 1 where Pods cannot run
    Check {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// About the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// `rcrun-cri config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the default configuration, each key explained
    Default,
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object a line.
    Json,
}
