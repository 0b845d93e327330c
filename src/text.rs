//! Text for messages, written without allocating: the child uses it between clone3 and execve; and
//! mountinfo's text.

use std::ffi::CStr;
use std::fmt::{self, Display, Formatter, Write};

/// Longest [`FixedText`], in bytes.
pub const TEXT_SIZE: usize = 1024;

/// Text in a fixed buffer: what does not fit is cut off.
pub struct FixedText {
    bytes: [u8; TEXT_SIZE],
    length: usize,
}

impl FixedText {
    /// An empty text.
    pub fn new() -> Self {
        Self { bytes: [0; TEXT_SIZE], length: 0 }
    }

    /// What was written so far.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Default for FixedText {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for FixedText {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        let fits = s.len().min(room.len());
        for (to, from) in room.iter_mut().zip(s.bytes()) {
            *to = from;
        }
        self.length += fits;
        Ok(())
    }
}

/// An error and its causes, outermost first, on one line: `a: b: c`.
pub fn error_line(error: &dyn std::error::Error) -> String {
    let mut line = String::new();
    let causes = std::iter::successors(Some(error), |error| error.source());
    for cause in causes.map(|cause| without_numbers(&cause.to_string())) {
        // Some errors of libraries name their source in their own text; once is enough.
        if line.ends_with(&cause) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&cause);
    }
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `text` without the ` (os error 2)` that Rust adds to an errno's words.
fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        words.push_str(
            part.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit()).trim_start_matches(')'),
        );
    }
    words
}

/// Does a terminal obey it? Control characters, and those that turn the direction of what follows.
pub fn is_obeyed(c: char) -> bool {
    let turns = ['\u{200e}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
    c.is_control() || c == '\u{61c}' || turns.iter().any(|range| range.contains(&c))
}

/// `text` on one line, whatever it holds: what a terminal would obey is escaped.
pub fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match is_obeyed(c) {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line
}

/// A C string as text, control and undecodable bytes escaped: one line whatever it holds.
pub struct Text<'a>(pub &'a CStr);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for chunk in self.0.to_bytes().utf8_chunks() {
            for c in chunk.valid().chars() {
                match c.is_control() {
                    true => write!(f, "{}", c.escape_default())?,
                    false => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// A line of a mountinfo, proc_pid_mountinfo(5).
#[derive(Debug, PartialEq, Eq)]
pub struct MountLine<'a> {
    /// Its number, which another one may get once it is gone.
    pub id: u64,
    /// The number of the mount that it is on.
    pub parent: u64,
    /// Which directory of the file system is mounted.
    pub root: Vec<u8>,
    /// Where.
    pub point: Vec<u8>,
    /// Its type.
    pub fstype: &'a [u8],
}

/// The lines of a mountinfo; what is none is left out.
pub fn mounts_in(mountinfo: &[u8]) -> impl Iterator<Item = MountLine<'_>> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let mut number = || str::from_utf8(fields.next()?).ok()?.parse().ok();
        let (id, parent) = (number()?, number()?);
        let (root, point) = (fields.nth(1)?, fields.next()?);
        let fstype = fields.skip_while(|field| *field != b"-").nth(1)?;
        let (root, point) = (unescape_mountinfo(root), unescape_mountinfo(point));
        Some(MountLine { id, parent, root, point, fstype })
    })
}

/// Undoes mountinfo's `\ooo` for space, tab, line feed and backslash.
pub fn unescape_mountinfo(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..3).filter(|digits| digits.iter().all(|digit| (b'0'..b'8').contains(digit)));
        match digits {
            Some(digits) if *first == b'\\' => {
                let value = digits.iter().fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
                plain.push(value as u8);
                rest = &tail[3..];
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_c_string_stays_on_one_line() {
        assert_eq!(Text(c"a\nb\xff").to_string(), "a\\nb\\xff");
    }

    #[test]
    fn no_text_makes_a_terminal_do_anything() {
        assert_eq!(on_one_line("é\n\u{1b}[2J\u{202e}"), "é\\n\\u{1b}[2J\\u{202e}");
    }

    #[test]
    fn a_line_of_mountinfo_is_read_with_its_escapes() {
        let line = b"41 31 0:38 /null /mnt/a\\040b\\134 rw,relatime shared:9 - devtmpfs dev rw\nbroken\n";
        let (root, point) = (b"/null".to_vec(), b"/mnt/a b\\".to_vec());
        let expected = MountLine { id: 41, parent: 31, root, point, fstype: b"devtmpfs" };
        assert_eq!(mounts_in(line).collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn a_text_that_is_too_long_is_cut() {
        let mut text = FixedText::new();
        for _ in 0..TEXT_SIZE {
            text.write_str("ab").unwrap();
        }
        assert_eq!(text.as_bytes().len(), TEXT_SIZE);
    }

    #[test]
    fn an_error_and_its_causes_are_one_line_and_say_nothing_twice() {
        let root = anyhow::anyhow!("no such file\nor directory");
        let error = root.context("open config.json: no such file\nor directory").context("create web");
        assert_eq!(error_line(error.as_ref()), "create web: open config.json: no such file or directory");
    }

    #[test]
    fn an_errno_is_said_in_words() {
        let error = anyhow::Error::from(std::io::Error::from_raw_os_error(2)).context("open x");
        assert_eq!(error_line(error.as_ref()), "open x: No such file or directory");
        assert_eq!(without_numbers("a (os error 13): b (os error 2)"), "a: b");
        assert_eq!(without_numbers("a (b)"), "a (b)");
    }
}
