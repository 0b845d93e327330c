//! Logs: to standard error, which systemd and container hosts collect.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::arguments::LogFormat;

/// Logs from now on what `level` lets through.
///
/// # Errors
/// A level that is none.
pub fn begin(level: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter(level))
        .with_context(|| format!("log level {level:?}: give error, warn, info, debug or trace"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => lines.json().init(),
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    Ok(())
}

/// A level alone is for what is ours: each frame of HTTP/2 interests who asks for it.
fn filter(level: &str) -> String {
    match level.contains(['=', ',']) {
        true => level.into(),
        false => format!("warn,rcrun_cri={level},rcrun={level}"),
    }
}
