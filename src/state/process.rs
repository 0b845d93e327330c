//! A process by pid and start time: a pid alone may be another's tomorrow.

use serde::{Deserialize, Serialize};

/// A process of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its pid.
    pub pid: i32,
    /// When it started, in clock ticks after boot: field 22 of proc_pid_stat(5).
    pub start_time: u64,
}

impl ProcessId {
    /// The process that has this pid now.
    pub fn of(pid: i32) -> Option<Self> {
        // One that has ended and was not waited for has its name until then.
        let (_, start_time) = parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        Some(Self { pid, start_time })
    }

    /// Does it run? One that has ended and was not waited for does not.
    pub fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.start_time)
    }
}

/// The start time of a process that has not ended.
pub fn start_time(pid: i32) -> Option<u64> {
    match parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)? {
        ("Z" | "X", _) => None,
        (_, start_time) => Some(start_time),
    }
}

/// State and start time out of /proc/PID/stat.
fn parse(stat: &str) -> Option<(&str, u64)> {
    // The name, in parentheses, may hold spaces and parentheses itself.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let own = ProcessId::of(std::process::id() as i32).unwrap();
        assert!(own.is_alive());
        assert!(!ProcessId { start_time: own.start_time + 1, ..own }.is_alive());
    }

    #[test]
    fn state_and_start_time_are_found_whatever_the_name() {
        let fields = "1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0";
        assert_eq!(parse(&format!("7 (a ) b) S {fields}")), Some(("S", 4711)));
        assert_eq!(parse(&format!("7 (a) Z {fields}")), Some(("Z", 4711)));
    }
}
