//! gzip, RFC 1952, of one or several members.
//!
//! As GNU gzip does it, what follows the last member and is no member is ignored: tapes pad with zeros. It
//! still counts for the blob's digest. zlib-rs inflates, which was the fastest that streams without C when it
//! was measured (zlib-ng 5 % slower, ISA-L 8 % faster, libdeflate 17 % faster but only on whole members in
//! memory).

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::super::error::UnpackError;
use super::Progress;

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

/// A gzip stream's state.
pub struct Gzip {
    inflate: Decompress,
    crc: Crc,
    flags: u8,
    members: u64,
    at: At,
}

/// Where in a member.
enum At {
    /// The header's ten bytes, so many of which have come.
    Header(usize),
    /// The length of the extra field, low byte first: what has come of it.
    ExtraLength(Option<u8>),
    /// So much of it is left.
    Extra(usize),
    Name,
    Comment,
    HeaderCrc(usize),
    Body,
    /// CRC and size, so much of which has come.
    Trailer([u8; 8], usize),
    /// Behind the last member.
    Ignored,
}

impl Gzip {
    /// At the first member's header.
    pub fn new() -> Self {
        let inflate = Decompress::new(false);
        Self { inflate, crc: Crc::new(), flags: 0, members: 0, at: At::Header(0) }
    }

    /// See [`super::Decoder::decode`].
    pub fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, UnpackError> {
        let mut read = 0;
        loop {
            if matches!(self.at, At::Body) {
                let progress = self.inflate(input.get(read..).unwrap_or_default(), output)?;
                return Ok(Progress { read: read + progress.read, written: progress.written });
            }
            if matches!(self.at, At::Ignored) {
                return Ok(Progress { read: input.len(), written: 0 });
            }
            let Some(&byte) = input.get(read) else { return Ok(Progress { read, written: 0 }) };
            read += 1;
            self.frame(byte)?;
        }
    }

    /// See [`super::Decoder::finish`].
    pub fn finish(&self) -> Result<(), UnpackError> {
        match self.at {
            At::Ignored => Ok(()),
            At::Header(come) if self.members > 0 && come < 2 => Ok(()),
            _ => Err(UnpackError::Truncated("gzip")),
        }
    }

    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, UnpackError> {
        let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress(input, output, FlushDecompress::None);
        let read = (self.inflate.total_in() - before_in) as usize;
        let written = (self.inflate.total_out() - before_out) as usize;
        self.crc.update(output.get(..written).unwrap_or_default());
        match status {
            Ok(Status::StreamEnd) => self.at = At::Trailer([0; 8], 0),
            Ok(Status::Ok | Status::BufError) => {}
            Err(error) => return Err(corrupt(error.message().unwrap_or("invalid deflate data"))),
        }
        Ok(Progress { read, written })
    }

    /// Takes one byte of what surrounds the deflated data.
    fn frame(&mut self, byte: u8) -> Result<(), UnpackError> {
        match &mut self.at {
            At::Header(come) => {
                let index = *come;
                *come += 1;
                return self.header(index, byte);
            }
            At::ExtraLength(low @ None) => *low = Some(byte),
            At::ExtraLength(Some(low)) => match u16::from_le_bytes([*low, byte]) {
                0 => self.after_extra(),
                length => self.at = At::Extra(length.into()),
            },
            At::Extra(1) => self.after_extra(),
            At::Extra(left) => *left -= 1,
            At::Name if byte == 0 => self.after_name(),
            At::Comment if byte == 0 => self.after_comment(),
            At::Name | At::Comment => {}
            At::HeaderCrc(0) => self.at = At::HeaderCrc(1),
            At::HeaderCrc(_) => self.begin(),
            At::Trailer(bytes, come) => {
                if let Some(place) = bytes.get_mut(*come) {
                    *place = byte;
                }
                *come += 1;
                if *come == bytes.len() {
                    let bytes = *bytes;
                    return self.end(bytes);
                }
            }
            At::Body | At::Ignored => {}
        }
        Ok(())
    }

    fn header(&mut self, index: usize, byte: u8) -> Result<(), UnpackError> {
        match index {
            0..3 if MAGIC[index] != byte => {
                // The magic number is complete: a member of a kind that nobody knows is an error.
                if self.members == 0 || index == 2 {
                    return Err(corrupt("its header is invalid"));
                }
                self.at = At::Ignored;
            }
            3 if byte & RESERVED != 0 => return Err(corrupt("its header has unknown flags")),
            3 => self.flags = byte,
            9 if self.flags & EXTRA != 0 => self.at = At::ExtraLength(None),
            9 => self.after_extra(),
            _ => {}
        }
        Ok(())
    }

    fn after_extra(&mut self) {
        if self.flags & NAME != 0 { self.at = At::Name } else { self.after_name() }
    }

    fn after_name(&mut self) {
        if self.flags & COMMENT != 0 { self.at = At::Comment } else { self.after_comment() }
    }

    fn after_comment(&mut self) {
        if self.flags & HEADER_CRC != 0 { self.at = At::HeaderCrc(0) } else { self.begin() }
    }

    fn begin(&mut self) {
        if self.members > 0 {
            self.inflate.reset(false);
            self.crc.reset();
        }
        self.members += 1;
        self.at = At::Body;
    }

    fn end(&mut self, trailer: [u8; 8]) -> Result<(), UnpackError> {
        let [a, b, c, d, e, f, g, h] = trailer;
        if u32::from_le_bytes([a, b, c, d]) != self.crc.sum() {
            return Err(corrupt("its checksum is wrong"));
        }
        // The size modulo 2^32.
        if u32::from_le_bytes([e, f, g, h]) != self.crc.amount() {
            return Err(corrupt("its size is wrong"));
        }
        self.at = At::Header(0);
        Ok(())
    }
}

fn corrupt(reason: &str) -> UnpackError {
    UnpackError::Corrupt { packing: "gzip", reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Decodes with pieces of `step` bytes into a buffer of `room`.
    fn unpacked(bytes: &[u8], step: usize, room: usize) -> Result<Vec<u8>, UnpackError> {
        let (mut gzip, mut output, mut buffer) = (Gzip::new(), Vec::new(), vec![0; room]);
        for mut piece in bytes.chunks(step).chain([&[][..]]) {
            loop {
                let progress = gzip.decode(piece, &mut buffer)?;
                piece = &piece[progress.read..];
                output.extend_from_slice(&buffer[..progress.written]);
                if progress.read + progress.written == 0 {
                    break;
                }
            }
        }
        gzip.finish().map(|()| output)
    }

    #[test]
    fn members_follow_each_other_and_padding_is_ignored() {
        let text: Vec<u8> = (0..20_000_u32).flat_map(|n| n.to_string().into_bytes()).collect();
        let two = [packed(&text), packed(b"second")].concat();
        let expected = [&text[..], b"second"].concat();
        for padding in [&b""[..], b"\0\0\0", b"\x1f", b"garbage", b"\x1fgarbage"] {
            let bytes = [&two[..], padding].concat();
            for (step, room) in [(1, 7), (100, 4096), (1 << 20, 1 << 20)] {
                assert_eq!(unpacked(&bytes, step, room).unwrap(), expected, "{padding:?} {step}");
            }
        }
    }

    #[test]
    fn all_optional_fields_of_a_header_are_skipped() {
        let plain = packed(b"content");
        let mut fancy = plain[..10].to_vec();
        fancy[3] = EXTRA | NAME | COMMENT | HEADER_CRC;
        fancy.extend_from_slice(b"\x03\0abcname\0comment\0cc");
        fancy.extend_from_slice(&plain[10..]);
        assert_eq!(unpacked(&fancy, 1, 100).unwrap(), b"content");
    }

    #[test]
    fn what_is_cut_short_or_damaged_is_an_error() {
        let bytes = packed(&b"some content ".repeat(100));
        for end in 0..bytes.len() {
            let error = unpacked(&bytes[..end], 1 << 10, 1 << 10).unwrap_err().to_string();
            assert!(error.contains("truncated"), "{end}: {error}");
        }
        for place in [0, 2, 3, 12, bytes.len() - 8, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0xff;
            let error = unpacked(&damaged, 1 << 10, 1 << 10).unwrap_err().to_string();
            assert!(error.contains("gzip stream"), "{place}: {error}");
        }
    }
}
