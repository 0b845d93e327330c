//! A log's file: read from its tail or its beginning, piece by piece, also when it grows or is moved away for a new one.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::line::{Options, Writer};

/// Bytes read at a time.
const PIECE: usize = 64 << 10;
/// The longest line that is kept until its end comes; runtimes cut lines at 16 KiB.
const LONGEST: usize = 1 << 20;

/// A log is moved away before the runtime begins the next one: for so long there may be none.
const BETWEEN: Duration = Duration::from_secs(1);
/// A runtime that has begun the next file may still write to the old one what it has in hand.
const IN_HAND: Duration = Duration::from_millis(100);

/// Where a reader is.
pub struct Reader {
    path: PathBuf,
    file: File,
    writer: Writer,
    /// A line whose end has not come.
    rest: Vec<u8>,
    over: bool,
}

/// What a piece was.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// What the container wrote; there may be more.
    Some(Vec<u8>),
    /// Nothing now: the file's end.
    End,
    /// Nothing more will come: the limit of bytes.
    Over,
}

impl Reader {
    /// At the beginning of what the options ask for. Blocks.
    pub fn open(path: PathBuf, options: Options) -> io::Result<Self> {
        let mut file = open(&path, BETWEEN)?;
        if let Some(lines) = options.tail {
            let start = tail(&mut file, lines)?;
            file.seek(SeekFrom::Start(start))?;
        }
        let over = options.limit == Some(0);
        Ok(Self { path, file, writer: Writer::new(options), rest: Vec::new(), over })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What comes next. Blocks for as long as the disk does.
    pub fn next(&mut self) -> io::Result<Piece> {
        let mut bytes = vec![0; PIECE];
        while !self.over {
            let read = self.file.read(&mut bytes)?;
            if read == 0 {
                if self.moved()? {
                    continue;
                }
                return Ok(Piece::End);
            }
            let mut out = Vec::new();
            self.take(bytes.get(..read).unwrap_or_default(), &mut out);
            if !out.is_empty() {
                return Ok(Piece::Some(out));
            }
        }
        Ok(Piece::Over)
    }

    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.rest.len() + piece.len() > LONGEST {
                // Nothing of ours: no runtime writes such lines.
                self.rest.clear();
            }
            self.rest.extend_from_slice(piece);
            if self.rest.last() == Some(&b'\n') {
                self.rest.pop();
                let goes_on = self.writer.put(&self.rest, out);
                self.rest.clear();
                if !goes_on {
                    self.over = true;
                    return;
                }
            }
        }
    }

    /// Whether the path leads to another file by now, or to one that was emptied; the reader goes on at its beginning.
    fn moved(&mut self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        let theirs = match std::fs::metadata(&self.path) {
            // Between two files, or removed with the container.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            theirs => theirs?,
        };
        if (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()) {
            if self.file.stream_position()? <= ours.len() {
                return Ok(false);
            }
            self.file.seek(SeekFrom::Start(0))?;
        } else {
            sleep(IN_HAND);
            // The old one is at its end, but for what came since it was read last.
            if self.file.stream_position()? < self.file.metadata()?.len() {
                return Ok(true);
            }
            self.file = match File::open(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                next => next?,
            };
        }
        self.rest.clear();
        Ok(true)
    }
}

/// Waits so long for a file that is not there.
fn open(path: &Path, patience: Duration) -> io::Result<File> {
    let end = Instant::now() + patience;
    loop {
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && Instant::now() < end => {
                sleep(Duration::from_millis(20));
            }
            opened => return opened,
        }
    }
}

/// Where the last lines of a file begin.
fn tail(file: &mut File, lines: u64) -> io::Result<u64> {
    let length = file.metadata()?.len();
    // A line without its end yet does not count.
    let (mut end, mut left, mut block) = (length, lines, vec![0; PIECE]);
    while end > 0 {
        let start = end.saturating_sub(PIECE as u64);
        let piece = block.get_mut(..(end - start) as usize).unwrap_or_default();
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(piece)?;
        for (at, byte) in piece.iter().enumerate().rev() {
            if *byte == b'\n' {
                if left == 0 {
                    return Ok(start + at as u64 + 1);
                }
                left -= 1;
            }
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    fn line(text: &str) -> String {
        format!("2026-11-26T08:00:00Z stdout F {text}\n")
    }

    fn all(reader: &mut Reader) -> String {
        let mut text = Vec::new();
        while let Piece::Some(bytes) = reader.next().unwrap() {
            text.extend(bytes);
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn tails_are_whole_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let numbers = |range: std::ops::Range<u32>| range.map(|n| format!("{n}\n")).collect::<String>();
        fs::write(&path, (0..5000).map(|n| line(&n.to_string())).collect::<String>()).unwrap();
        for (tail, from) in [(0, 5000), (1, 4999), (3000, 2000), (5000, 0), (9999, 0)] {
            let options = Options { tail: Some(tail), ..Options::default() };
            assert_eq!(all(&mut Reader::open(path.clone(), options).unwrap()), numbers(from..5000));
        }
        let options = Options { limit: Some(3), ..Options::default() };
        let mut reader = Reader::open(path, options).unwrap();
        assert_eq!(all(&mut reader), "0\n1");
        assert_eq!(reader.next().unwrap(), Piece::Over);
    }

    #[test]
    fn a_file_that_grows_or_is_rotated_is_read_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        fs::write(&path, line("one")).unwrap();
        let mut reader = Reader::open(path.clone(), Options::default()).unwrap();
        assert_eq!(all(&mut reader), "one\n");
        let mut old = fs::OpenOptions::new().append(true).open(&path).unwrap();
        let two = line("two");
        old.write_all(&two.as_bytes()[..12]).unwrap();
        assert_eq!(all(&mut reader), "");
        fs::rename(&path, directory.path().join("0.log.1")).unwrap();
        assert_eq!(all(&mut reader), "");
        old.write_all(&two.as_bytes()[12..]).unwrap();
        fs::write(&path, line("three")).unwrap();
        assert_eq!(all(&mut reader), "two\nthree\n");
        fs::write(&path, line("4")).unwrap();
        assert_eq!(all(&mut reader), "4\n");
    }

    #[test]
    fn what_is_written_until_the_next_file_is_begun_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        fs::write(&path, "").unwrap();
        let mut reader = Reader::open(path.clone(), Options::default()).unwrap();
        for number in 0..20 {
            let mut old = fs::OpenOptions::new().append(true).open(&path).unwrap();
            std::thread::scope(|scope| {
                let path = &path;
                let writer = scope.spawn(move || {
                    fs::rename(path, path.with_extension("old")).unwrap();
                    for last in 0..100 {
                        old.write_all(line(&format!("{number} {last}")).as_bytes()).unwrap();
                    }
                    fs::write(path, line("next")).unwrap();
                });
                let mut text = String::new();
                while !text.ends_with("next\n") {
                    text += &all(&mut reader);
                }
                let lines = (0..100).map(|last| format!("{number} {last}\n"));
                assert_eq!(text, lines.chain(["next\n".to_owned()]).collect::<String>());
                writer.join().unwrap();
            });
        }
    }

    #[test]
    fn a_log_that_is_being_begun_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let begun = path.clone();
        let writer = std::thread::spawn(move || fs::write(begun, line("one")).unwrap());
        assert!(open(&path, Duration::from_secs(60)).is_ok());
        writer.join().unwrap();
        fs::remove_file(&path).unwrap();
        let error = open(&path, BETWEEN).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
