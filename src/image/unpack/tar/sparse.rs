//! Maps of sparse files: GNU tar's manual, "Storing Sparse Files", its old format and PAX formats 0.0, 0.1
//! and 1.0.

use super::header::number;

/// What is wrong with a map.
pub const INVALID: &str = "its map of a sparse file is invalid";

/// Bytes that are stored, and where in the file they belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// From the file's beginning.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
}

/// What an archive says of a sparse file.
#[derive(Clone, Debug)]
pub struct Map {
    /// The file's size, holes included.
    pub size: u64,
    /// What is stored.
    pub segments: Vec<Segment>,
    /// The segments stand before the content: format 1.0.
    pub follows: bool,
}

impl Map {
    /// Size and segments, if they are in order, do not overlap, and are `stored` bytes in all.
    pub fn checked(self, stored: u64) -> Result<(u64, Vec<Segment>), &'static str> {
        let mut end = 0_u64;
        let mut sum = 0_u64;
        for segment in &self.segments {
            let next = segment.offset.checked_add(segment.length).ok_or(INVALID)?;
            if segment.offset < end || next > self.size {
                return Err(INVALID);
            }
            end = next;
            sum += segment.length;
        }
        if sum != stored || i64::try_from(self.size).is_err() {
            return Err(INVALID);
        }
        let segments = self.segments.into_iter().filter(|segment| segment.length > 0).collect();
        Ok((self.size, segments))
    }
}

/// Reads pairs of offset and length, twelve bytes each, up to an empty one.
pub fn read_table(map: &mut Map, table: &[u8]) -> Result<(), &'static str> {
    for pair in table.chunks_exact(24) {
        let (offset, length) = pair.split_at(12);
        if pair.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        let number = |field| u64::try_from(number(field).map_err(|_| INVALID)?).map_err(|_| INVALID);
        map.segments.push(Segment { offset: number(offset)?, length: number(length)? });
    }
    Ok(())
}

/// Reads a block that continues the old format's map: 21 pairs. Does another follow?
pub fn extend(map: &mut Map, block: &[u8; super::BLOCK]) -> Result<bool, &'static str> {
    const TABLE: usize = 21 * 24;
    read_table(map, &block[..TABLE])?;
    Ok(block[TABLE] != 0)
}

/// Numbers in pairs of offset and length: formats 0.0 and 0.1.
pub fn pairs(numbers: &[u64]) -> Result<Vec<Segment>, &'static str> {
    match numbers.len() % 2 {
        0 => Ok(numbers.chunks_exact(2).map(|pair| Segment { offset: pair[0], length: pair[1] }).collect()),
        _ => Err(INVALID),
    }
}

/// Format 1.0: decimal numbers, each on a line, first how many pairs there are; filled up to whole blocks.
#[derive(Default)]
pub struct Text {
    count: Option<u64>,
    numbers: Vec<u64>,
    digits: Option<u64>,
}

impl Text {
    /// Takes a block of it.
    pub fn read(&mut self, block: &[u8]) -> Result<(), &'static str> {
        for &byte in block {
            if self.is_complete() {
                return Ok(());
            }
            match byte {
                b'0'..=b'9' => {
                    let value = self.digits.unwrap_or(0).checked_mul(10);
                    let value = value.and_then(|value| value.checked_add(u64::from(byte - b'0')));
                    self.digits = Some(value.ok_or(INVALID)?);
                }
                b'\n' => {
                    let number = self.digits.take().ok_or(INVALID)?;
                    match self.count {
                        None => self.count = Some(number),
                        Some(_) => self.numbers.push(number),
                    }
                }
                _ => return Err(INVALID),
            }
        }
        Ok(())
    }

    /// Has all come?
    pub fn is_complete(&self) -> bool {
        self.count.is_some_and(|count| self.numbers.len() as u64 / 2 >= count)
    }

    /// What has come.
    pub fn segments(self) -> Vec<Segment> {
        pairs(&self.numbers).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(size: u64, pairs: &[(u64, u64)]) -> Map {
        let segments = pairs.iter().map(|&(offset, length)| Segment { offset, length }).collect();
        Map { size, segments, follows: false }
    }

    #[test]
    fn segments_are_in_order_and_within_the_file() {
        assert_eq!(map(10, &[(0, 2), (5, 3), (10, 0)]).checked(5).unwrap().1.len(), 2);
        for (map, stored) in [
            (map(10, &[(0, 6), (5, 3)]), 9),
            (map(10, &[(5, 3), (0, 2)]), 5),
            (map(10, &[(8, 3)]), 3),
            (map(10, &[(0, 2)]), 3),
            (map(u64::MAX, &[(u64::MAX - 1, 2)]), 2),
            (map(u64::MAX, &[]), 0),
        ] {
            assert_eq!(map.checked(stored), Err(INVALID));
        }
    }

    #[test]
    fn a_map_in_text_may_be_split_anywhere() {
        let mut text = Text::default();
        for piece in [&b"2\n0\n1"[..], b"0\n20\n5", b"\n\0\0\0"] {
            assert!(!text.is_complete());
            text.read(piece).unwrap();
        }
        assert_eq!(text.segments(), [Segment { offset: 0, length: 10 }, Segment { offset: 20, length: 5 }]);
        assert_eq!(Text::default().read(b"\n"), Err(INVALID));
        assert_eq!(Text::default().read(b"1x"), Err(INVALID));
        assert_eq!(Text::default().read(b"99999999999999999999"), Err(INVALID));
    }
}
