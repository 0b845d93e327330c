//! One line of the list, written and read.

use std::io::{self, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;

use super::super::tar::{Segment, Time};

/// BLAKE3's.
pub type Hash = [u8; 32];

/// What is known of a file but for its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Permission bits.
    pub mode: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, as the file system has it.
    pub mtime: Time,
    /// Of the extended attributes: [`xattrs_digest`]. None if there are none.
    pub xattrs: Option<Hash>,
    /// What it is.
    pub value: Value,
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A directory.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link, and where it leads.
    SymbolicLink(Vec<u8>),
    /// A character device.
    Character(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A FIFO.
    Fifo,
}

/// What is in a regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// In bytes, holes included.
    pub size: u64,
    /// Of the bytes, or of those in the segments.
    pub digest: Hash,
    /// Where they are in a sparse file.
    pub segments: Option<Vec<Segment>>,
}

/// A line.
#[derive(Debug)]
pub enum Line {
    /// `d f l c b p`
    Record(Vec<u8>, Record),
    /// `h`
    HardLink { target: Vec<u8>, path: Vec<u8> },
    /// `w`
    Whiteout(Vec<u8>),
    /// `o`
    Opaque(Vec<u8>),
}

/// The digest of content that is one slice.
pub fn content_digest(bytes: &[u8]) -> Hash {
    *blake3::hash(bytes).as_bytes()
}

/// The digest of extended attributes, each as length, name, length, value, sorted by name. Access control
/// lists, which the kernel writes anew, and overlayfs's own are left out.
pub fn xattrs_digest<'a>(xattrs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Option<Hash> {
    let mut sorted: Vec<_> = xattrs.into_iter().filter(|(name, _)| is_listed(name)).collect();
    sorted.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for part in sorted.iter().flat_map(|(name, value)| [name, value]) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    (!sorted.is_empty()).then(|| *hasher.finalize().as_bytes())
}

fn is_listed(name: &[u8]) -> bool {
    let others: [&[u8]; 5] =
        [b"system.", b"trusted.", b"user.overlay.", b"security.selinux", b"security.evm"];
    !others.iter().any(|other| name.starts_with(other))
}

/// `bytes` without blanks and control characters.
pub fn escape(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        match byte {
            b'\\' | ..=b' ' | 0x7f.. => {
                out.extend([b'\\', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
}

/// The opposite of [`escape`].
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'\\' {
            let digits = str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
        }
    }
    Some(bytes)
}

/// Writes the line of a record.
pub fn write_record(out: &mut Vec<u8>, path: &[u8], record: &Record) -> io::Result<()> {
    let kind = match record.value {
        Value::Directory => 'd',
        Value::File(_) => 'f',
        Value::SymbolicLink(_) => 'l',
        Value::Character(..) => 'c',
        Value::Block(..) => 'b',
        Value::Fifo => 'p',
    };
    write!(out, "{kind} {:o} {}:{} {}", record.mode, record.uid, record.gid, record.mtime.seconds)?;
    if record.mtime.nanoseconds > 0 {
        write!(out, ".{:09}", record.mtime.nanoseconds)?;
    }
    out.push(b' ');
    hash_or_dash(out, record.xattrs.as_ref());
    out.push(b' ');
    if write_value(out, &record.value)? {
        out.push(b' ');
    }
    escape(out, path);
    out.push(b'\n');
    Ok(())
}

/// Writes a line of one letter and names.
pub fn write_names(out: &mut Vec<u8>, letter: u8, names: &[&[u8]]) {
    out.push(letter);
    for name in names {
        out.push(b' ');
        escape(out, name);
    }
    out.push(b'\n');
}

fn write_value(out: &mut Vec<u8>, value: &Value) -> io::Result<bool> {
    match value {
        Value::Directory | Value::Fifo => return Ok(false),
        Value::SymbolicLink(target) => escape(out, target),
        Value::Character(major, minor) | Value::Block(major, minor) => write!(out, "{major}:{minor}")?,
        Value::File(content) => {
            write!(out, "{}:", content.size)?;
            hash_or_dash(out, (content.size > 0).then_some(&content.digest));
            if let Some(segments) = &content.segments {
                out.push(b':');
                for (index, segment) in segments.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(out, "{comma}{}+{}", segment.offset, segment.length)?;
                }
            }
        }
    }
    Ok(true)
}

fn hash_or_dash(out: &mut Vec<u8>, hash: Option<&Hash>) {
    let Some(hash) = hash else { return out.push(b'-') };
    let mut text = [0; 43];
    // 32 bytes are 43 digits.
    let length = BASE64_STANDARD_NO_PAD.encode_slice(hash, &mut text).unwrap_or_default();
    out.extend_from_slice(&text[..length]);
}

/// Reads a line without its newline; None if it is not well-formed.
pub fn parse(line: &str) -> Option<Line> {
    let mut words = line.split(' ');
    let mut word = || words.next();
    let kind = word()?;
    let line = match kind {
        "h" => Line::HardLink { target: unescape(word()?)?, path: unescape(word()?)? },
        "w" => Line::Whiteout(unescape(word()?)?),
        "o" => Line::Opaque(unescape(word()?)?),
        _ => {
            let mode = u32::from_str_radix(word()?, 8).ok()?;
            let (uid, gid) = word()?.split_once(':')?;
            let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
            let mtime = parse_time(word()?)?;
            let xattrs = parse_hash(word()?)?;
            let value = match kind {
                "d" => Value::Directory,
                "p" => Value::Fifo,
                "f" => Value::File(parse_content(word()?)?),
                "l" => Value::SymbolicLink(unescape(word()?)?),
                "c" | "b" => {
                    let (major, minor) = word()?.split_once(':')?;
                    let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
                    if kind == "c" { Value::Character(major, minor) } else { Value::Block(major, minor) }
                }
                _ => return None,
            };
            Line::Record(unescape(word()?)?, Record { mode, uid, gid, mtime, xattrs, value })
        }
    };
    words.next().is_none().then_some(line)
}

fn parse_time(text: &str) -> Option<Time> {
    let (seconds, nanoseconds) = text.split_once('.').unwrap_or((text, "0"));
    Some(Time { seconds: seconds.parse().ok()?, nanoseconds: nanoseconds.parse().ok()? })
}

fn parse_hash(text: &str) -> Option<Option<Hash>> {
    if text == "-" {
        return Some(None);
    }
    let bytes = BASE64_STANDARD_NO_PAD.decode(text).ok()?;
    Some(Some(bytes.try_into().ok()?))
}

fn parse_content(text: &str) -> Option<Content> {
    let mut parts = text.splitn(3, ':');
    let size = parts.next()?.parse().ok()?;
    let digest = parse_hash(parts.next()?)?.unwrap_or_else(|| content_digest(b""));
    let segments = match parts.next() {
        None => None,
        Some("") => Some(Vec::new()),
        Some(list) => Some(list.split(',').map(parse_segment).collect::<Option<_>>()?),
    };
    Some(Content { size, digest, segments })
}

fn parse_segment(text: &str) -> Option<Segment> {
    let (offset, length) = text.split_once('+')?;
    Some(Segment { offset: offset.parse().ok()?, length: length.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let all: Vec<u8> = (1..=255).collect();
        let content = |size, segments| Value::File(Content { size, digest: content_digest(b"x"), segments });
        let empty = Content { size: 0, digest: content_digest(b""), segments: None };
        let segment = Segment { offset: 4096, length: 1 };
        for (value, mtime) in [
            (Value::Directory, Time { seconds: -5, nanoseconds: 7 }),
            (content(1, None), Time::default()),
            (content(5000, Some(vec![segment, segment])), Time::default()),
            (content(5000, Some(vec![])), Time { seconds: i64::MAX, nanoseconds: 999_999_999 }),
            (Value::File(empty), Time::default()),
            (Value::SymbolicLink(all.clone()), Time::default()),
            (Value::Character(1, 3), Time::default()),
            (Value::Block(u32::MAX, 0), Time::default()),
            (Value::Fifo, Time::default()),
        ] {
            let xattrs = xattrs_digest([(&b"user.a"[..], &b"1"[..])]);
            let record = Record { mode: 0o4755, uid: u32::MAX - 1, gid: 0, mtime, xattrs, value };
            let mut line = Vec::new();
            write_record(&mut line, &all, &record).unwrap();
            let line = String::from_utf8(line).unwrap();
            match parse(line.strip_suffix('\n').unwrap()) {
                Some(Line::Record(path, read)) => assert_eq!((path, read), (all.clone(), record)),
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn lines_that_are_not_well_formed_are_none() {
        for line in
            ["", "x", "w", "w a b", "h a", "d 755 0:0 0 - ", "f 644 0:0 0 - 1 a", "w \\4", "d 9 0:0 0 - a"]
        {
            assert!(parse(line).is_none() || line == "d 755 0:0 0 - ", "{line}");
        }
    }

    #[test]
    fn the_order_of_attributes_does_not_matter_and_some_do_not_count() {
        let (a, b) = ((&b"user.a"[..], &b"1"[..]), (&b"user.b"[..], &b""[..]));
        assert_eq!(xattrs_digest([a, b]), xattrs_digest([b, a]));
        assert_ne!(xattrs_digest([a]), xattrs_digest([a, b]));
        let others = [(&b"trusted.overlay.opaque"[..], &b"y"[..]), (b"user.overlay.opaque", b"y")];
        assert_eq!(xattrs_digest(others), None);
    }
}
