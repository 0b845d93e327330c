//! CRIU's log: long, and the reason of a failure somewhere in it.

use std::path::Path;

/// How many complaints fit into one line of ours.
const MOST: usize = 3;
/// Complaints that are none, or that follow others: a limit that may stay as it is without
/// CAP_SYS_RESOURCE, a helper's status after its own words, a helper that ends with CRIU.
const NOISE: [&str; 3] = ["rlimit: Can't setup RLIMIT_NOFILE", "exited, status=", "cg: cgroupd:"];
/// How much of a log is read: its end.
const LIMIT: u64 = 4 << 20;

/// CRIU's complaints in one line, and where the rest is; empty where there is no log.
pub fn reasons(path: &Path) -> String {
    let Some(text) = end_of(path) else { return String::new() };
    let complaints = complaints(&text);
    let place = format!("(criu's log: {})", path.display());
    match complaints.is_empty() {
        true => place,
        false => format!("{} {place}", complaints.join("; ")),
    }
}

fn end_of(path: &Path) -> Option<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LIMIT))).ok()?;
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last lines that CRIU marks as errors, once each and without those that only say that something
/// has failed.
fn complaints(log: &str) -> Vec<String> {
    let marked = |line: &str| Some(clean(line.split_once("Error (")?.1.split_once("): ")?.1));
    let mut all: Vec<String> = Vec::new();
    for text in log.lines().filter_map(marked) {
        let says_nothing = text.is_empty()
            || text.to_lowercase().ends_with("failed.")
            || NOISE.iter().any(|noise| text.starts_with(noise));
        if !says_nothing && !all.contains(&text) {
            all.push(text);
        }
    }
    all[all.len().saturating_sub(MOST)..].to_vec()
}

fn clean(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
(00.000001) Version: 4.2 (gitid 0)
(00.010000) Warn  (criu/kerndat.c:1290): Can't keep kdat cache
(00.020000) Error (criu/mount.c:1093): mnt: Mount 27 ./data has unreachable sharing.
(00.021000)      1: Error (criu/files.c:1): a\tb
(00.022000) Error (criu/mount.c:1093): mnt: Mount 27 ./data has unreachable sharing.
(00.023000) Error (criu/util.c:657): exited, status=1
(00.030000) Error (criu/cr-dump.c:2131): Dumping FAILED.
";

    #[test]
    fn complaints_come_without_places_and_without_the_last_word() {
        assert_eq!(complaints(LOG), ["mnt: Mount 27 ./data has unreachable sharing.", "a b"]);
        assert!(complaints("").is_empty());
    }

    #[test]
    fn the_last_complaints_count() {
        let log: String = (0..9).map(|n| format!("(0) Error (x.c:1): e{n}\n")).collect();
        assert_eq!(complaints(&log), ["e6", "e7", "e8"]);
    }

    #[test]
    fn no_log_is_no_reason() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(reasons(&dir.path().join("dump.log")), "");
        let path = dir.path().join("x.log");
        std::fs::write(&path, LOG).unwrap();
        let line = reasons(&path);
        assert!(line.contains("unreachable") && line.contains("x.log") && !line.contains('\n'), "{line}");
    }
}
