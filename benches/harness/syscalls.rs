//! How many system calls a run takes, as `strace -f -c` counts them.

use std::path::Path;
use std::process::{Command, Stdio};

use rcrun::bench::{Contender, Word};

/// All of the contender's first step, in all its processes; None without strace, or where it fails.
pub fn count(contender: &Contender) -> Option<u64> {
    let output = Path::new("/run/bench/syscalls");
    let id = format!("strace-{}", contender.name);
    let words = contender.steps.first()?.words.iter().map(|word| match word {
        Word::Text(text) => text.to_string_lossy().into_owned(),
        Word::Id => id.clone(),
    });
    let mut command = Command::new("timeout");
    command.args(["-k", "5", "60", "strace", "-f", "-qq", "-c", "-o"]).arg(output).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !command.status().ok()?.success() {
        return None;
    }
    total(&std::fs::read_to_string(output).ok()?)
}

/// The calls of the line `100.00 0.003 7 441 12 total`; the column of errors is empty where there are none.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_total_is_the_fourth_column() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
                    ------ ----------- ----------- --------- --------- ----------------\n\
                    50.00    0.000010           5         2         1 openat\n\
                    100.00    0.000020           4       441        12 total\n";
        assert_eq!(super::total(text), Some(441));
        assert_eq!(super::total("100.00    0.000020           4        41           total\n"), Some(41));
        assert_eq!(super::total(""), None);
    }
}
