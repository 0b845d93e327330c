//! `rcrun-cri check`: what this host has, what it lacks, and what that disables. The same facts stand in Status' verbose
//! information.
//!
//! Each fact is found by trying (a call, a file), never by the kernel's version, and nothing is changed by it.

mod cgroups;
mod kernel;
mod network;
mod privileges;
mod programs;

use std::fmt::Write as _;

use serde::Serialize;

use crate::config::Config;
use crate::spec::HostFacts;

/// What a fact means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is there.
    Ok,
    /// It is missing, and something does not work.
    Limited,
    /// It is missing, and no Pod can run.
    Fatal,
}

/// One thing that a host has or lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What was looked at.
    pub name: String,
    /// What it means.
    pub state: State,
    /// What was found, or what its lack disables and what to do.
    pub note: String,
}

impl Fact {
    fn ok(name: impl Into<String>, note: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Ok, note: note.into() }
    }

    fn limited(name: impl Into<String>, note: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Limited, note: note.into() }
    }

    fn fatal(name: impl Into<String>, note: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Fatal, note: note.into() }
    }

    /// There, or limited with this note.
    fn or_limited(name: &str, there: bool, note: &str) -> Self {
        if there { Self::ok(name, "") } else { Self::limited(name, note) }
    }

    /// There, or fatal with this note.
    fn or_fatal(name: &str, there: bool, note: &str) -> Self {
        if there { Self::ok(name, "") } else { Self::fatal(name, note) }
    }
}

/// All facts. Blocks.
pub fn facts(config: &Config) -> Vec<Fact> {
    let mut facts = kernel::facts();
    facts.extend(privileges::facts(config));
    facts.extend(cgroups::facts(config));
    facts.extend(network::facts(config));
    facts.extend(programs::facts(config));
    facts
}

/// Limits that are left out of containers here, by controller: with `missing_controllers = "skip"`.
pub fn skipped(config: &Config) -> Vec<&'static str> {
    cgroups::skipped(config).into_iter().filter_map(|(name, skipped)| skipped.then_some(name)).collect()
}

/// Each controller that the CRI knows limits of, and whether they are left out. Blocks.
pub fn controllers(config: &Config) -> Vec<(&'static str, bool)> {
    cgroups::skipped(config)
}

/// The oom_score_adj that lower ones are raised to, where there is one: with `restrict_oom_score_adj`. Blocks.
pub fn lowest_oom_score_adj(config: &Config) -> Option<i32> {
    privileges::lowest_oom_score_adj(config.restrict_oom_score_adj, &HostFacts::read())
}

/// A table for people.
pub fn table(facts: &[Fact]) -> String {
    let width = facts.iter().map(|fact| fact.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Fact { name, state, note } in facts {
        let word = match state {
            State::Ok => "ok",
            State::Limited => "limited",
            State::Fatal => "MISSING",
        };
        // Writing to a String does not fail.
        let _ = writeln!(text, "{}", format!("{name:width$}  {word:7}  {note}").trim_end());
    }
    text
}

/// Can Pods run?
pub fn usable(facts: &[Fact]) -> bool {
    facts.iter().all(|fact| fact.state != State::Fatal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_fact() {
        let facts = [
            Fact::ok("overlayfs", ""),
            Fact::limited("cpu controller", "no shares"),
            Fact::fatal("root", "start it as root"),
        ];
        assert_eq!(
            table(&facts),
            "overlayfs       ok\ncpu controller  limited  no shares\nroot            MISSING  start it as root\n"
        );
        assert!(!usable(&facts) && usable(&facts[..2]));
    }

    #[test]
    fn a_host_is_looked_at_without_a_panic_and_each_name_once() {
        let facts = facts(&Config::default());
        let mut names: Vec<_> = facts.iter().map(|fact| &fact.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), facts.len());
        assert!(facts.iter().all(|fact| fact.state == State::Ok || !fact.note.is_empty()), "{facts:?}");
    }
}
