//! A manifest's text: one or more YAML or JSON documents.

use serde_json::Value;

/// A text that is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct YamlError {
    /// Of the text, from 1.
    pub line: usize,
    /// One line for people.
    pub why: String,
}

/// The documents of a text that are not empty, with the line that each starts at.
pub fn documents(text: &str) -> Result<Vec<(usize, Value)>, YamlError> {
    let _ = text;
    Ok(Vec::new())
}
