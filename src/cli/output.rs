//! What commands print on stdout.

use std::io::Write;

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

/// `--format` of `list` and `ps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns with a header
    Table,
    /// One line of JSON
    Json,
}

/// Writes `text` to stdout as it is.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("write to stdout")
}

/// `value` as JSON on one line, with its newline.
pub fn json_line(value: &impl Serialize) -> anyhow::Result<String> {
    let mut text = serde_json::to_string(value).context("write JSON")?;
    text.push('\n');
    Ok(text)
}

/// `value` as JSON over several lines, each level indented by `indent`; no newline at the end.
pub fn json_pretty(value: &impl Serialize, indent: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let mut serializer =
        Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(indent.as_bytes()));
    value.serialize(&mut serializer).context("write JSON")?;
    String::from_utf8(bytes).context("write JSON")
}
