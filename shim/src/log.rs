//! The container's log, in CRI's format.
//!
//! Records are collected and written together: one write(2) for what one read brought. A file that takes no more (ENOSPC, EDQUOT,
//! EIO) costs lines, which are counted, and never the container's time; each batch tries anew. A record is in it whole or not at all.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rcrun::state::rfc3339;
use rustix::fs::{Mode, OFlags, fstat, ftruncate, open};
use rustix::io::Errno;

use crate::error::ShimError;
use crate::lines::{Partial, Sink};

/// How much is collected before it is written.
const BATCH: usize = 48 << 10;

/// Which of the container's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// stdout; with a terminal, all output.
    Out,
    /// stderr.
    Err,
}

/// The open log.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: Option<OwnedFd>,
    longest: usize,
    /// Records of this moment that are not written yet.
    batch: Vec<u8>,
    /// Where in `batch` they end.
    ends: Vec<usize>,
    lost: u64,
    now: Now,
}

impl Log {
    /// Opens the file, behind what is in it. Its directory is made where it is missing.
    pub fn open(path: &Path, longest: usize) -> Result<Self, ShimError> {
        let file = opened(path).or_else(|error| {
            let parent = path.parent().filter(|_| error == Errno::NOENT);
            parent.and_then(|parent| std::fs::create_dir_all(parent).ok()).ok_or(error)?;
            opened(path)
        });
        let file = file.map_err(ShimError::file("open log", path))?;
        Ok(Self {
            path: path.into(),
            file: Some(file),
            longest,
            batch: Vec::new(),
            ends: Vec::new(),
            lost: 0,
            now: Now::default(),
        })
    }

    /// The same for a log whose last writer was killed: what it wrote in part is taken back.
    pub fn go_on(path: &Path, longest: usize) -> Result<Self, ShimError> {
        mend(path).map_err(ShimError::file("mend log", path))?;
        Self::open(path, longest)
    }

    /// Goes on in the file that is at the path now.
    pub fn reopen(&mut self) -> Result<(), ShimError> {
        self.write();
        // The old one is renamed, and perhaps compressed soon: nothing more goes there, even if there is no new one.
        self.file = None;
        self.file = Some(opened(&self.path).map_err(ShimError::file("open log", &self.path))?);
        Ok(())
    }

    /// Frees what only writing needs.
    pub fn rest(&mut self) {
        (self.batch, self.ends) = (Vec::new(), Vec::new());
    }

    /// Records that no file took.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Writes what `partial` and `chunk` make whole.
    pub fn append(&mut self, stream: Stream, partial: &mut Partial, chunk: &[u8]) {
        self.now.look();
        let longest = self.longest;
        partial.add(chunk, longest, &mut Batch { log: self, stream });
        self.write();
    }

    /// Writes what is left of a stream that has ended.
    pub fn end(&mut self, stream: Stream, partial: &mut Partial) {
        self.now.look();
        partial.end(&mut Batch { log: self, stream });
        self.write();
    }

    fn write(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if self.file.is_none() {
            self.file = opened(&self.path).ok();
        }
        let written = match &self.file {
            Some(file) => append_whole(file, &self.batch, &self.ends),
            None => 0,
        };
        self.lost += (self.ends.len() - written) as u64;
        self.batch.clear();
        self.ends.clear();
    }
}

/// The records of one stream on their way into the log.
struct Batch<'l> {
    log: &'l mut Log,
    stream: Stream,
}

impl Sink for Batch<'_> {
    fn record(&mut self, whole: bool, begin: &[u8], end: &[u8]) {
        let log = &mut *self.log;
        log.batch.extend_from_slice(&log.now.text);
        log.batch.extend_from_slice(match (self.stream, whole) {
            (Stream::Out, true) => b" stdout F ",
            (Stream::Out, false) => b" stdout P ",
            (Stream::Err, true) => b" stderr F ",
            (Stream::Err, false) => b" stderr P ",
        });
        log.batch.extend_from_slice(begin);
        log.batch.extend_from_slice(end);
        log.batch.push(b'\n');
        log.ends.push(log.batch.len());
        if log.batch.len() >= BATCH {
            log.write();
        }
    }
}

/// Appends `batch`; how many of the records that end at `ends` are in the file. One that is there in part is taken back.
fn append_whole(file: &OwnedFd, batch: &[u8], ends: &[usize]) -> usize {
    let mut written = 0;
    while written < batch.len() {
        match rustix::io::write(file, &batch[written..]) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    let whole = ends.partition_point(|end| *end <= written);
    let kept = whole.checked_sub(1).map_or(0, |last| ends[last]);
    let torn = (written - kept) as u64;
    if torn > 0
        && let Ok(stat) = fstat(file)
    {
        let _ = ftruncate(file, (stat.st_size as u64).saturating_sub(torn));
    }
    whole
}

/// Cuts a file behind its last newline.
fn mend(path: &Path) -> Result<(), Errno> {
    let file =
        match open(path, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NOFOLLOW, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            file => file?,
        };
    let mut end = fstat(&file)?.st_size as u64;
    let mut bytes = [0; 4096];
    while end > 0 {
        let begin = end.saturating_sub(bytes.len() as u64);
        let length = rustix::io::pread(&file, &mut bytes[..(end - begin) as usize], begin)?;
        match memchr::memrchr(b'\n', &bytes[..length]) {
            Some(at) => {
                end = begin + at as u64 + 1;
                break;
            }
            None => end = begin,
        }
    }
    ftruncate(&file, end)
}

fn opened(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::CLOEXEC
        | OFlags::NOCTTY
        // A container may have the directory mounted: what it says must not go into a file of its choice.
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK;
    open(path, flags, Mode::RUSR | Mode::WUSR | Mode::RGRP)
}

/// The text of a moment. The calendar is asked once a second.
#[derive(Debug)]
struct Now {
    second: u64,
    text: Vec<u8>,
}

impl Default for Now {
    fn default() -> Self {
        Self { second: u64::MAX, text: Vec::new() }
    }
}

impl Now {
    fn look(&mut self) {
        let now = SystemTime::now();
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if since.as_secs() != self.second || self.text.len() != "2026-01-02T03:04:05.678901234Z".len() {
            self.second = since.as_secs();
            self.text = rfc3339(now).into_bytes();
            return;
        }
        let mut rest = since.subsec_nanos();
        for digit in self.text[20..29].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        let line = |line: &str| {
            let (time, rest) = line.split_once(' ').unwrap();
            assert!(rcrun::state::parse_rfc3339(time).is_some(), "{time}");
            rest.to_owned()
        };
        text.lines().map(line).collect()
    }

    #[test]
    fn lines_have_time_stream_and_tag() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/0.log");
        let mut log = Log::open(&path, 4).unwrap();
        let (mut out, mut err) = (Partial::default(), Partial::default());
        log.append(Stream::Out, &mut out, b"one\nlonger\nno");
        log.append(Stream::Err, &mut err, b"bad\n");
        log.append(Stream::Out, &mut out, b"w\n");
        log.append(Stream::Out, &mut out, b"end");
        log.end(Stream::Out, &mut out);
        let expected =
            ["stdout F one", "stdout P long", "stdout F er", "stderr F bad", "stdout F now", "stdout F end"];
        assert_eq!(texts(&path), expected);
    }

    #[test]
    fn a_reopened_log_goes_on_in_the_new_file_with_the_whole_line() {
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("log"), directory.path().join("log.1"));
        let mut log = Log::open(&path, 100).unwrap();
        let mut out = Partial::default();
        log.append(Stream::Out, &mut out, b"one\ntw");
        std::fs::rename(&path, &old).unwrap();
        log.reopen().unwrap();
        log.append(Stream::Out, &mut out, b"o\n");
        assert_eq!(texts(&old), ["stdout F one"]);
        assert_eq!(texts(&path), ["stdout F two"]);
    }

    #[test]
    fn a_torn_record_of_a_killed_writer_is_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for (text, kept) in [("", 0), ("torn", 0), ("a\n", 2), ("a\nb", 2)] {
            std::fs::write(&path, text).unwrap();
            mend(&path).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().len(), kept, "{text:?}");
        }
        std::fs::write(&path, format!("a\n{}", "x".repeat(9000))).unwrap();
        mend(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"a\n");
    }

    #[test]
    fn what_a_full_file_takes_in_part_is_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let file = opened(&path).unwrap();
        assert_eq!(append_whole(&file, b"ab\ncd\n", &[3, 6]), 2);
        // As if write(2) had stopped there.
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 6);
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(append_whole(&full.into(), b"ab\n", &[3]), 0);
    }

    #[test]
    fn the_moment_is_the_calendars() {
        let mut now = Now::default();
        for _ in 0..3 {
            now.look();
            let text = String::from_utf8(now.text.clone()).unwrap();
            let difference = rfc3339(SystemTime::now());
            assert!(
                text.as_str() <= difference.as_str() && text[..10] == difference[..10],
                "{text} {difference}"
            );
        }
    }
}
