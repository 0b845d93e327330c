//! One line of a log in the CRI's format: `TIME STREAM TAG TEXT`. Pure.

use k8s_openapi::jiff::Timestamp;

/// What of a log is wanted, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Each line begins with its time.
    pub timestamps: bool,
    /// Nothing older.
    pub since: Option<Timestamp>,
    /// Only so many of the last lines.
    pub tail: Option<u64>,
    /// Only so many bytes.
    pub limit: Option<u64>,
}

/// A line's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// As it is written.
    pub time: &'a str,
    /// Whether the next line of the stream goes on where this one stops.
    pub partial: bool,
    /// Without an end of line.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Of a line without its end. None: it is not in the format, as what a crash left.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let stream = parts.next()?;
        let tags = parts.next()?;
        if !matches!(stream, b"stdout" | b"stderr") {
            return None;
        }
        let partial = tags.split(|byte| *byte == b':').any(|tag| tag == b"P");
        Some(Self { time, partial, text: parts.next().unwrap_or_default() })
    }
}

/// Turns a log's lines to what the container wrote.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    options: Options,
    /// Whether the last line is to be gone on with.
    within: bool,
    /// Whether a line was new enough: then all others are.
    begun: bool,
    written: u64,
}

impl Writer {
    /// At the log's beginning, or its tail's.
    pub fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    /// Writes a line to `out`. False: the limit of bytes is reached.
    pub fn put(&mut self, line: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(line) = Line::parse(line) else { return true };
        if !self.begun && self.options.since.is_some_and(|since| is_older(line.time, since)) {
            return true;
        }
        self.begun = true;
        let start = out.len();
        if self.options.timestamps && !self.within {
            out.extend_from_slice(line.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(line.text);
        if !line.partial {
            out.push(b'\n');
        }
        self.within = line.partial;
        let Some(limit) = self.options.limit else { return true };
        let left = limit - self.written;
        let new = (out.len() - start) as u64;
        // Below the length of what is in memory.
        out.truncate(start + new.min(left) as usize);
        self.written += new.min(left);
        self.written < limit
    }
}

fn is_older(time: &str, since: Timestamp) -> bool {
    time.parse::<Timestamp>().is_ok_and(|time| time < since)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[&str] = &[
        "2026-11-26T08:00:00.000000001Z stdout F one",
        "2026-11-26T08:00:01.000000001Z stderr P two ",
        "2026-11-26T08:00:02.000000001Z stderr F halves",
        "garbage",
        "2026-11-26T09:00:03.5+01:00 stdout F ",
    ];

    fn written(options: Options) -> String {
        let (mut writer, mut out) = (Writer::new(options), Vec::new());
        for line in LOG {
            if !writer.put(line.as_bytes(), &mut out) {
                break;
            }
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn partial_lines_are_joined() {
        assert_eq!(written(Options::default()), "one\ntwo halves\n\n");
    }

    #[test]
    fn times_come_once_a_line() {
        let text = written(Options { timestamps: true, ..Options::default() });
        assert_eq!(text.lines().nth(1), Some("2026-11-26T08:00:01.000000001Z two halves"));
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn limits_cut() {
        for (limit, text) in
            [(0, ""), (2, "on"), (4, "one\n"), (9, "one\ntwo h"), (99, "one\ntwo halves\n\n")]
        {
            assert_eq!(written(Options { limit: Some(limit), ..Options::default() }), text);
        }
    }

    #[test]
    fn old_lines_are_left_out_whatever_their_zone() {
        let since = |time: &str| Options { since: Some(time.parse().unwrap()), ..Options::default() };
        assert_eq!(written(since("2026-11-26T08:00:01Z")), "two halves\n\n");
        assert_eq!(written(since("2026-11-26T08:00:03Z")), "\n");
        assert_eq!(written(since("2026-11-26T08:00:04Z")), "");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_line_or_not(line in proptest::collection::vec(0u8.., 0..80)) {
            let mut out = Vec::new();
            Writer::new(Options { timestamps: true, limit: Some(7), ..Options::default() }).put(&line, &mut out);
            proptest::prop_assert!(out.len() <= 7);
        }
    }
}
