//! The header block of an entry: pax(1), "ustar Interchange Format", and GNU tar's manual, "Basic Tar Format".

use std::ops::Range;

use super::sparse::{self, Map};
use super::{BLOCK, Kind, Time};

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const KIND: usize = 156;
const LINK: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..263;
const MAJOR: Range<usize> = 329..337;
const MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;
/// Where star(1) has its mark, and times behind a shorter prefix.
const STAR: Range<usize> = 508..512;
const STAR_PREFIX: Range<usize> = 345..476;
const OLD_SPARSE: Range<usize> = 386..482;
const OLD_SPARSE_GOES_ON: usize = 482;
const OLD_SPARSE_SIZE: Range<usize> = 483..495;

/// A block whose checksum is right.
pub struct Header([u8; BLOCK]);

impl Header {
    /// Checks the sum, which old programs made of signed bytes.
    pub fn new(block: [u8; BLOCK]) -> Result<Self, &'static str> {
        let header = Self(block);
        let said = number(header.field(CHECKSUM))?;
        let others = |index: &usize| !CHECKSUM.contains(index);
        let blanks = CHECKSUM.len() as i64 * i64::from(b' ');
        let bytes = || block.iter().enumerate().filter(|(index, _)| others(index)).map(|(_, &byte)| byte);
        let unsigned = bytes().map(i64::from).sum::<i64>() + blanks;
        let signed = || bytes().map(|byte| i64::from(byte as i8)).sum::<i64>() + blanks;
        match said == unsigned || said == signed() {
            true => Ok(header),
            false => Err("the checksum of a header is wrong"),
        }
    }

    /// The letter that says what the entry is.
    pub fn kind(&self) -> u8 {
        self.0[KIND]
    }

    /// The stored size in bytes.
    pub fn size(&self) -> Result<u64, &'static str> {
        u64::try_from(number(self.field(SIZE))?).map_err(|_| "a size is negative")
    }

    /// Permission bits.
    pub fn mode(&self) -> Result<u32, &'static str> {
        Ok((number(self.field(MODE))? & 0o7777) as u32)
    }

    /// User.
    pub fn uid(&self) -> Result<i64, &'static str> {
        number(self.field(UID))
    }

    /// Group.
    pub fn gid(&self) -> Result<i64, &'static str> {
        number(self.field(GID))
    }

    /// Whole seconds.
    pub fn mtime(&self) -> Result<Time, &'static str> {
        Ok(Time { seconds: number(self.field(MTIME))?, nanoseconds: 0 })
    }

    /// Its name, with the prefix of a ustar header.
    pub fn path(&self) -> Vec<u8> {
        let name = text(self.field(NAME));
        let prefix = match self.field(MAGIC) == b"ustar\0" {
            false => &[],
            true if self.field(STAR) == b"tar\0" => text(self.field(STAR_PREFIX)),
            true => text(self.field(PREFIX)),
        };
        match prefix.is_empty() {
            true => name.to_vec(),
            false => [prefix, b"/", name].concat(),
        }
    }

    /// A link's target.
    pub fn link(&self) -> Vec<u8> {
        text(self.field(LINK)).to_vec()
    }

    /// What an entry of the name `path` makes; None if that is unknown.
    pub fn makes(&self, path: &[u8]) -> Result<Option<Kind>, &'static str> {
        Ok(Some(match self.kind() {
            // Before ustar a directory was a file whose name ends so.
            0 | b'0' if path.ends_with(b"/") => Kind::Directory,
            // 7: contiguous, which nobody can make.
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::SymbolicLink,
            b'3' => Kind::Character { major: self.device(MAJOR)?, minor: self.device(MINOR)? },
            b'4' => Kind::Block { major: self.device(MAJOR)?, minor: self.device(MINOR)? },
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => return Ok(None),
        }))
    }

    /// Does content follow, as long as the size says?
    pub fn has_content(&self) -> bool {
        !matches!(self.kind(), b'1'..=b'6')
    }

    /// What of a sparse file's map GNU's old format has in the header.
    pub fn sparse_map(&self) -> Result<Map, &'static str> {
        let size = u64::try_from(number(self.field(OLD_SPARSE_SIZE))?).map_err(|_| sparse::INVALID)?;
        let mut map = Map { size, segments: Vec::new(), follows: false };
        sparse::read_table(&mut map, self.field(OLD_SPARSE))?;
        Ok(map)
    }

    /// Is there more of it in the next block?
    pub fn sparse_goes_on(&self) -> bool {
        self.0[OLD_SPARSE_GOES_ON] != 0
    }

    fn device(&self, place: Range<usize>) -> Result<u32, &'static str> {
        u32::try_from(number(self.field(place))?).map_err(|_| "the number of a device is out of range")
    }

    fn field(&self, place: Range<usize>) -> &[u8] {
        self.0.get(place).unwrap_or_default()
    }
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A number in octal digits, or in GNU's base 256: two's complement after the first bit.
pub fn number(field: &[u8]) -> Result<i64, &'static str> {
    const INVALID: &str = "a number of a header is invalid";
    match field.first() {
        Some(first) if first & 0x80 != 0 => {
            let start = if first & 0x40 != 0 { -1 } else { 0 };
            let first = i128::from(first & 0x7f) - if start == 0 { 0 } else { 0x80 };
            let rest = field.get(1..).unwrap_or_default();
            let value = rest.iter().try_fold(first, |value: i128, &byte| {
                value.checked_mul(256).map(|value| value + i128::from(byte))
            });
            value.and_then(|value| i64::try_from(value).ok()).ok_or(INVALID)
        }
        _ => {
            let trimmed = field.trim_ascii_start();
            let end = trimmed.iter().position(|&byte| byte == 0 || byte == b' ').unwrap_or(trimmed.len());
            let digits = trimmed.get(..end).unwrap_or_default();
            digits.iter().try_fold(0_i64, |value, &byte| match byte {
                b'0'..=b'7' => {
                    value.checked_mul(8).map(|value| value + i64::from(byte - b'0')).ok_or(INVALID)
                }
                _ => Err(INVALID),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_of_base_256() {
        for (field, expected) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"77777777777", 0o77_777_777_777),
            (b"\0\0\0\0", 0),
            (b"", 0),
            (b"\x80\0\0\0\0\0\x01\0", 256),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", -2),
            (b"\x80\0\0\0\x02\0\0\0\0", 1 << 33),
        ] {
            assert_eq!(number(field), Ok(expected), "{field:?}");
        }
        for field in [
            &b"9"[..],
            b"-1",
            b"0x1f",
            b"\x81\0\0\0\0\0\0\0\0\0\0\0",
            b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert!(number(field).is_err(), "{field:?}");
        }
    }
}
