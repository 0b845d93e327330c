//! What a container says last: in its termination message file, or at the end of its log.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use super::annotation;

/// Bytes of a message.
const LONGEST: u64 = 4096;
/// Of a log.
const LONGEST_OF_LOG: usize = 2048;
const LINES_OF_LOG: usize = 80;
/// Enough of a log for its last lines: each has a time and a stream before it.
const TAIL: u64 = 16 << 10;

/// By the container's terminationMessagePolicy, which its annotations tell. "" where it left nothing.
pub fn termination_message(
    annotations: &HashMap<String, String>,
    exit_code: i32,
    file: &Path,
    log: &Path,
) -> String {
    let left = match read(file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return format!("cannot read the termination message {}: {error}", file.display()),
    };
    let policy = annotations.get(annotation::TERMINATION_MESSAGE_POLICY).map(String::as_str);
    if !left.is_empty() || exit_code == 0 || policy != Some("FallbackToLogsOnError") {
        return left;
    }
    match tail(log) {
        Ok(bytes) => last_lines(&String::from_utf8_lossy(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => format!("cannot read the log {}: {error}", log.display()),
    }
}

/// What is in the file is the container's, and so is the file: it may have been made a link, a FIFO, or anything.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file.into()),
        _ => Err(io::Error::other("it is not a regular file")),
    }
}

/// The end of it, as far as a message may be.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    end(path, LONGEST)
}

fn tail(path: &Path) -> io::Result<Vec<u8>> {
    end(path, TAIL)
}

fn end(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(longest)))?;
    let mut bytes = Vec::new();
    file.take(longest).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The texts of the CRI log format's lines: `TIME STREAM TAG TEXT`. A line cut off at the beginning is none.
fn last_lines(log: &str) -> String {
    let texts = log.lines().filter_map(|line| {
        let mut parts = line.splitn(4, ' ');
        let (_, stream, tag, text) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let known = matches!(stream, "stdout" | "stderr");
        let end = match tag.split(':').next() {
            Some("F") => "\n",
            Some("P") => "",
            _ => return None,
        };
        known.then_some((text, end))
    });
    let texts: Vec<(&str, &str)> = texts.collect();
    let from = texts.len().saturating_sub(LINES_OF_LOG);
    let mut message: String = texts[from..].iter().flat_map(|(text, end)| [*text, *end]).collect();
    if message.len() > LONGEST_OF_LOG {
        let mut start = message.len() - LONGEST_OF_LOG;
        while !message.is_char_boundary(start) {
            start += 1;
        }
        message.drain(..start);
    }
    message
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::fs;

    use super::*;

    fn policy(policy: &str) -> HashMap<String, String> {
        HashMap::from([(annotation::TERMINATION_MESSAGE_POLICY.to_owned(), policy.to_owned())])
    }

    #[test]
    fn the_file_goes_first_and_the_log_only_on_errors() {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, log) = (directory.path().join("file"), directory.path().join("log"));
        fs::write(&log, "2026-01-01T00:00:00Z stdout P a\n2026-01-01T00:00:00Z stderr F b\nT stdout F c\n")
            .expect("log");
        let falls_back = policy("FallbackToLogsOnError");
        assert_eq!(termination_message(&falls_back, 1, &file, &log), "ab\nc\n");
        fs::write(&file, "").expect("file");
        assert_eq!(termination_message(&falls_back, 1, &file, &log), "ab\nc\n");
        assert_eq!(termination_message(&falls_back, 0, &file, &log), "");
        assert_eq!(termination_message(&policy("File"), 1, &file, &log), "");
        fs::write(&file, "said").expect("file");
        assert_eq!(termination_message(&falls_back, 1, &file, &log), "said");
        fs::remove_file(&file).expect("removed");
        fs::remove_file(&log).expect("removed");
        assert_eq!(termination_message(&falls_back, 1, &file, &log), "");
    }

    #[test]
    fn what_is_long_is_cut() {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, log) = (directory.path().join("file"), directory.path().join("log"));
        fs::write(&file, "x".repeat(5000) + "end").expect("file");
        let message = termination_message(&policy("File"), 1, &file, &log);
        assert!(message.len() == 4096 && message.ends_with("end"));
        fs::write(&file, "").expect("file");
        let mut lines = String::new();
        for line in 0..200 {
            let _ = writeln!(lines, "2026-01-01T00:00:00.000000000Z stdout F {line}ü");
        }
        fs::write(&log, &lines).expect("log");
        let message = termination_message(&policy("FallbackToLogsOnError"), 1, &file, &log);
        assert!(message.starts_with("120ü\n") && message.ends_with("199ü\n"), "{message}");
        fs::write(&log, format!("T stdout F {}\n", "ü".repeat(4000))).expect("log");
        let message = termination_message(&policy("FallbackToLogsOnError"), 1, &file, &log);
        assert!(message.len() <= 2048 && message.ends_with("ü\n"));
    }

    #[test]
    fn hostile_files_are_not_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let secret = directory.path().join("secret");
        fs::write(&secret, "hidden").expect("secret");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&secret, &link).expect("link");
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).expect("fifo");
        for path in [link, fifo, directory.path().to_owned()] {
            let message = termination_message(&policy("File"), 1, &path, &path);
            assert!(message.contains("cannot read") && !message.contains("hidden"), "{message}");
        }
    }
}
