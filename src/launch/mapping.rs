//! The ids of a new user namespace: written by rcrun where it may, else by newuidmap(1) and newgidmap(1).

use std::path::Path;
use std::process::{Command, Stdio};

use super::LaunchError;
use crate::fault;
use crate::plan::Mappings;

/// Maps the ids of the user namespace that `pid` is in, user_namespaces(7).
pub(crate) fn write(pid: i32, mappings: &Mappings) -> Result<(), LaunchError> {
    if mappings.deny_setgroups {
        write_file(pid, "setgroups", "deny")?;
    }
    map(pid, "uid_map", &mappings.uid, mappings.uid_helper.as_deref())?;
    fault::point("uid_map");
    map(pid, "gid_map", &mappings.gid, mappings.gid_helper.as_deref())
}

fn map(pid: i32, file: &'static str, lines: &str, helper: Option<&Path>) -> Result<(), LaunchError> {
    match helper {
        Some(helper) => ask(helper, pid, file, lines),
        None => write_file(pid, file, lines),
    }
}

fn write_file(pid: i32, file: &'static str, text: &str) -> Result<(), LaunchError> {
    std::fs::write(format!("/proc/{pid}/{file}"), text).map_err(|error| LaunchError::Mapping { file, error })
}

/// `helper PID INSIDE OUTSIDE COUNT...`
fn ask(helper: &Path, pid: i32, file: &'static str, lines: &str) -> Result<(), LaunchError> {
    let failed = |reason: String| LaunchError::MappingHelper { file, helper: helper.to_owned(), reason };
    let mut command = Command::new(helper);
    command.arg(pid.to_string()).args(lines.split_whitespace()).stdin(Stdio::null());
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    Err(failed(if words.is_empty() { output.status.to_string() } else { words }))
}
