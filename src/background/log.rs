//! A container's log: lines in the format that Kubernetes gives logs, `TIME STREAM TAGS TEXT`.
//!
//! A container writes what it likes, but the first three words are its shim's.

use std::io::{self, BufRead, Seek, SeekFrom};

/// One line of a log; a container's line may be several of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When it was written, RFC 3339 with nanoseconds.
    pub time: &'a str,
    /// Is it of standard error?
    pub stderr: bool,
    /// Does the container's line go on in the next entry?
    pub partial: bool,
    /// The text, without a newline.
    pub text: &'a [u8],
}

/// Reads a line of a log, with its newline or without; None of what is none.
pub fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let (time, stream, tags) = (words.next()?, words.next()?, words.next()?);
    let text = words.next().unwrap_or_default();
    let stderr = match stream {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    let partial = tags.split(|byte| *byte == b':').next() == Some(b"P");
    Some(Entry { time: std::str::from_utf8(time).ok()?, stderr, partial, text })
}

/// Moves `log` to where its last `count` lines begin, those of the container's.
pub fn seek_tail(log: &mut (impl BufRead + Seek), count: usize) -> io::Result<()> {
    let (mut starts, mut at, mut line) = (std::collections::VecDeque::new(), 0, Vec::new());
    let mut new = [true; 2];
    loop {
        line.clear();
        let read = log.read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        if let Some(entry) = parse(&line) {
            let stream = usize::from(entry.stderr);
            if new[stream] {
                starts.push_back(at);
                if starts.len() > count {
                    starts.pop_front();
                }
            }
            new[stream] = !entry.partial;
        }
        at += read as u64;
    }
    log.seek(SeekFrom::Start(starts.front().copied().unwrap_or(at)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const LOG: &str = "2026-01-01T00:00:00.1Z stdout F one\n2026-01-01T00:00:00.2Z stdout P two \n\
        2026-01-01T00:00:00.3Z stderr F wrong\n2026-01-01T00:00:00.4Z stdout F halves\n2026-01-01T00:00:00.5Z stdout F \n";

    #[test]
    fn a_line_is_time_stream_tags_and_text() {
        let entry = parse(b"2026-01-01T00:00:00.1Z stderr P:x a  b \n").unwrap();
        assert_eq!((entry.time, entry.stderr, entry.partial), ("2026-01-01T00:00:00.1Z", true, true));
        assert_eq!(entry.text, b"a  b ");
        assert_eq!(parse(b"t stdout F").unwrap().text, b"");
        for line in [&b""[..], b"t", b"t stdlog F x", b"t stdout"] {
            assert_eq!(parse(line), None);
        }
    }

    #[test]
    fn the_tail_is_counted_in_the_containers_lines() {
        let tail = |count| {
            let mut log = io::Cursor::new(LOG.as_bytes());
            seek_tail(&mut log, count).unwrap();
            let mut rest = String::new();
            log.read_to_string(&mut rest).unwrap();
            rest.lines().count()
        };
        assert_eq!([tail(0), tail(1), tail(2), tail(3), tail(4), tail(99)], [0, 1, 3, 4, 5, 5]);
    }
}
