//! `rcrun-cri check`: what this host lacks, and what that disables.

use serde::Serialize;

use crate::config::Config;

/// One thing that a host has or lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What was looked at.
    pub name: String,
}

/// All that was looked at. Blocks.
pub fn facts(_config: &Config) -> Vec<Fact> {
    Vec::new()
}
