//! Zstandard frames, RFC 8878. zstd:chunked is that with skippable frames, which hold its table of contents.
//!
//! A frame's window is memory that its author chooses. Up to 8 MiB is what every decoder must offer; frames
//! that want more, up to 128 MiB (`zstd --long=27`), are decoded one at a time in the whole process.

use std::sync::{Mutex, MutexGuard, PoisonError};

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::DParameter;

use super::super::error::UnpackError;
use super::Progress;

/// What every decoder offers: RFC 8878, section 3.1.1.1.2.
const COMMON_WINDOW: u64 = 8 << 20;
/// `--long=27`.
const LARGEST_WINDOW_LOG: u32 = 27;
/// Magic number, descriptor, window, dictionary id, content size.
const LONGEST_HEADER: usize = 18;

/// Held by the one frame whose window is large.
static LARGE: Mutex<()> = Mutex::new(());

/// A stream's state.
pub struct Zstd {
    decoder: Decoder<'static>,
    /// Of the frame that begins, as long as its window is unknown.
    header: Vec<u8>,
    within: bool,
    large: Option<MutexGuard<'static, ()>>,
}

impl Zstd {
    /// Before the first frame.
    pub fn new() -> Result<Self, UnpackError> {
        let header = Vec::with_capacity(LONGEST_HEADER);
        Ok(Self { decoder: decoder()?, header, within: false, large: None })
    }

    /// See [`super::Decoder::decode`].
    pub fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, UnpackError> {
        let mut read = 0;
        while !self.within {
            let Some(&byte) = input.get(read) else { return Ok(Progress { read, written: 0 }) };
            read += 1;
            self.header.push(byte);
            let Some(window) = window_of(&self.header)? else { continue };
            self.make_room(window)?;
            self.begin()?;
        }
        let rest = input.get(read..).unwrap_or_default();
        let progress = self.run(rest, output)?;
        Ok(Progress { read: read + progress.read, written: progress.written })
    }

    /// See [`super::Decoder::finish`].
    pub fn finish(&self) -> Result<(), UnpackError> {
        match !self.within && self.header.is_empty() {
            true => Ok(()),
            false => Err(UnpackError::Truncated("zstd")),
        }
    }

    /// Waits for other large windows to be gone; gives the memory of one back that is no longer needed.
    fn make_room(&mut self, window: u64) -> Result<(), UnpackError> {
        if window > 1 << LARGEST_WINDOW_LOG {
            return Err(UnpackError::Window(window));
        }
        match (window > COMMON_WINDOW, self.large.is_some()) {
            (true, false) => self.large = Some(LARGE.lock().unwrap_or_else(PoisonError::into_inner)),
            (false, true) => {
                self.decoder = decoder()?;
                self.large = None;
            }
            _ => {}
        }
        Ok(())
    }

    /// Gives the header to the decoder.
    fn begin(&mut self) -> Result<(), UnpackError> {
        let header = std::mem::take(&mut self.header);
        self.within = true;
        let progress = self.run(&header, &mut [])?;
        match progress.read == header.len() {
            true => Ok(()),
            false => Err(corrupt("its header is invalid")),
        }
    }

    fn run(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, UnpackError> {
        let mut from = InBuffer::around(input);
        let mut to = OutBuffer::around(output);
        let hint = self.decoder.run(&mut from, &mut to).map_err(|error| corrupt(&error.to_string()))?;
        self.within = hint != 0;
        Ok(Progress { read: from.pos(), written: to.pos() })
    }
}

fn decoder() -> Result<Decoder<'static>, UnpackError> {
    let mut decoder = Decoder::new().map_err(|error| corrupt(&error.to_string()))?;
    decoder
        .set_parameter(DParameter::WindowLogMax(LARGEST_WINDOW_LOG))
        .map_err(|error| corrupt(&error.to_string()))?;
    Ok(decoder)
}

/// The window in bytes of the frame that begins with `header`: 0 for a skippable one, None if more is needed.
fn window_of(header: &[u8]) -> Result<Option<u64>, UnpackError> {
    let [a, b, c, d, rest @ ..] = header else { return Ok(None) };
    match u32::from_le_bytes([*a, *b, *c, *d]) {
        // All eight bytes, because the decoder would wait for them without a hint that it does.
        0x184d_2a50..=0x184d_2a5f => return Ok((rest.len() >= 4).then_some(0)),
        0xfd2f_b528 => {}
        _ => return Err(corrupt("a frame has no magic number")),
    }
    let Some(&descriptor) = rest.first() else { return Ok(None) };
    let single = descriptor & 0x20 != 0;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    if !single {
        let Some(&window) = rest.get(1) else { return Ok(None) };
        let base = 1_u64 << (10 + (window >> 3));
        return Ok(Some(base + base / 8 * u64::from(window & 7)));
    }
    let length = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let Some(size) = rest.get(1 + dictionary..1 + dictionary + length) else { return Ok(None) };
    let number = size.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
    Ok(Some(if length == 2 { number + 256 } else { number }))
}

fn corrupt(reason: &str) -> UnpackError {
    UnpackError::Corrupt { packing: "zstd", reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(bytes: &[u8], step: usize, room: usize) -> Result<Vec<u8>, UnpackError> {
        let (mut zstd, mut output, mut buffer) = (Zstd::new()?, Vec::new(), vec![0; room]);
        for mut piece in bytes.chunks(step).chain([&[][..]]) {
            loop {
                let progress = zstd.decode(piece, &mut buffer)?;
                piece = &piece[progress.read..];
                output.extend_from_slice(&buffer[..progress.written]);
                if progress.read + progress.written == 0 {
                    break;
                }
            }
        }
        zstd.finish().map(|()| output)
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 3).unwrap()
    }

    #[test]
    fn frames_and_skippable_frames_follow_each_other() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(|n| n.to_string().into_bytes()).collect();
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"toc"].concat();
        let empty = [0x5f, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
        let bytes = [&skippable[..], &packed(&text), &skippable, &packed(b"second"), &empty].concat();
        let expected = [&text[..], b"second"].concat();
        for (step, room) in [(1, 7), (100, 4096), (1 << 20, 1 << 20)] {
            assert_eq!(unpacked(&bytes, step, room).unwrap(), expected, "{step}");
        }
    }

    #[test]
    fn what_is_cut_short_or_damaged_is_an_error() {
        let bytes = packed(&b"some content ".repeat(100));
        for end in 1..bytes.len() {
            let error = unpacked(&bytes[..end], 1 << 10, 1 << 10).unwrap_err().to_string();
            assert!(error.contains("truncated"), "{end}: {error}");
        }
        let error = unpacked(&[&bytes[..], b"garbage"].concat(), 1 << 10, 1 << 10).unwrap_err().to_string();
        assert!(error.contains("magic"), "{error}");
    }

    #[test]
    fn a_window_is_as_its_header_says() {
        // Window descriptor: exponent 17 is 128 MiB, and one eighth more is too much.
        let header = |window: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, window];
        assert_eq!(window_of(&header(17 << 3)).unwrap(), Some(128 << 20));
        assert_eq!(window_of(&header(17 << 3)[..5]).unwrap(), None);
        let error = unpacked(&header(17 << 3 | 1), 10, 10).unwrap_err().to_string();
        assert!(error.contains("150994944"), "{error}");
        // A single segment of four bytes' size.
        let single = [0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x10];
        assert_eq!(window_of(&single).unwrap(), Some(256 << 20));
        assert_eq!(window_of(&[0x28, 0xb5, 0x2f, 0xfd, 0x60, 0, 1]).unwrap(), Some(512));
    }

    #[test]
    fn two_large_windows_are_decoded_one_after_the_other() {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.window_log(25).unwrap();
        let text = vec![7; 1 << 20];
        std::io::Write::write_all(&mut encoder, &text).unwrap();
        let bytes = [encoder.finish().unwrap(), packed(b"small")].concat();
        let expected = [&text[..], b"small"].concat();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| assert_eq!(unpacked(&bytes, 1000, 1 << 16).unwrap(), expected));
            }
        });
    }
}
