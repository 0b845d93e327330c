//! Header blocks: names and values, compressed over the whole connection (zlib with a dictionary).

use flate2::{Decompress, FlushDecompress, Status};

use super::dictionary::dictionary;
use super::frame::FrameError;

/// Bytes of a header block once it is inflated. What clients send has some 60.
const LIMIT: usize = 16 * 1024;
/// Headers in a block.
const COUNT_LIMIT: u32 = 256;

/// Names (in lower case) and values.
pub type Headers = Vec<(String, String)>;

/// The value of a header; its name in lower case.
pub fn value<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Reads the header blocks of one direction, in their order: each one's compression goes on from the one before.
#[derive(Debug)]
pub struct Inflater(Decompress);

impl Default for Inflater {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Inflater {
    /// One frame's block.
    pub fn read(&mut self, compressed: &[u8]) -> Result<Headers, FrameError> {
        parse(&self.inflate(compressed)?)
    }

    fn inflate(&mut self, mut input: &[u8]) -> Result<Vec<u8>, FrameError> {
        let mut output = Vec::with_capacity(1024);
        // Each turn takes input, gives output or ends.
        loop {
            let before = (self.0.total_in(), output.len());
            let result = self.0.decompress_vec(input, &mut output, FlushDecompress::Sync);
            let taken = usize::try_from(self.0.total_in() - before.0).unwrap_or(usize::MAX);
            input = input.get(taken..).unwrap_or_default();
            match result {
                Ok(Status::StreamEnd) => return Err(FrameError::Headers("the compression has ended")),
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    let set = self.0.set_dictionary(&dictionary());
                    set.map_err(|_| FrameError::Headers("another dictionary than SPDY/3's"))?;
                    continue;
                }
                Err(_) => return Err(FrameError::Headers("no zlib stream")),
            }
            if output.len() > LIMIT {
                return Err(FrameError::Headers("larger than 16 KiB"));
            }
            let full = output.len() == output.capacity();
            if full {
                output.reserve(output.len().max(1024));
            } else if input.is_empty() {
                return Ok(output);
            } else if taken == 0 && output.len() == before.1 {
                return Err(FrameError::Headers("no zlib stream"));
            }
        }
    }
}

fn parse(mut block: &[u8]) -> Result<Headers, FrameError> {
    let count = number(&mut block)?;
    if count > COUNT_LIMIT {
        return Err(FrameError::Headers("more than 256 of them"));
    }
    let mut headers = Headers::new();
    for _ in 0..count {
        let name = text(&mut block)?.to_ascii_lowercase();
        headers.push((name, text(&mut block)?));
    }
    match block {
        [] => Ok(headers),
        _ => Err(FrameError::Headers("bytes after the last one")),
    }
}

fn number(block: &mut &[u8]) -> Result<u32, FrameError> {
    let (bytes, rest) = block.split_first_chunk::<4>().ok_or(FrameError::Headers("cut short"))?;
    *block = rest;
    Ok(u32::from_be_bytes(*bytes))
}

fn text(block: &mut &[u8]) -> Result<String, FrameError> {
    let length = usize::try_from(number(block)?).unwrap_or(usize::MAX);
    let (bytes, rest) = block.split_at_checked(length).ok_or(FrameError::Headers("cut short"))?;
    *block = rest;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// Writes blocks without headers, all that a server says here. Deflate's stored blocks need no compressor, whose state
/// would be most of an idle connection's memory, and every zlib reads them.
#[derive(Debug, Default)]
pub struct EmptyBlocks {
    begun: bool,
}

impl EmptyBlocks {
    /// The next one.
    pub fn next(&mut self) -> &'static [u8] {
        // RFC 1950: deflate, a window of 32 KiB, no dictionary. RFC 1951: a stored block that is not the last; its
        // length, and that inverted. Then the header block: no headers. An empty stored block after it, as every flush
        // writes one: Go's reader holds back what comes before until it sees that.
        const FIRST: &[u8] = &[0x78, 0x01, 0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        let blocks = if self.begun { &FIRST[2..] } else { FIRST };
        self.begun = true;
        blocks
    }
}

#[cfg(test)]
pub mod tests {
    use flate2::{Compress, Compression, FlushCompress};

    use super::*;

    /// What a client has: a compressor with the dictionary.
    pub struct Deflater(Compress);

    impl Default for Deflater {
        fn default() -> Self {
            let mut compress = Compress::new(Compression::best(), true);
            compress.set_dictionary(&dictionary()).unwrap();
            Self(compress)
        }
    }

    impl Deflater {
        pub fn write(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
            let mut block = (headers.len() as u32).to_be_bytes().to_vec();
            for text in headers.iter().flat_map(|(name, value)| [name, value]) {
                block.extend((text.len() as u32).to_be_bytes());
                block.extend(text.as_bytes());
            }
            self.compress(&block)
        }

        pub fn compress(&mut self, block: &[u8]) -> Vec<u8> {
            let mut output = Vec::with_capacity(block.len() + 1024);
            self.0.compress_vec(block, &mut output, FlushCompress::Sync).unwrap();
            assert!(output.len() < output.capacity());
            output
        }
    }

    #[test]
    fn blocks_are_read_one_after_the_other() {
        let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
        for kind in ["error", "stdin", "stdout", "resize"] {
            let block = deflater.write(&[("Streamtype", kind), ("port", "80")]);
            let headers = inflater.read(&block).unwrap();
            assert_eq!(value(&headers, "streamtype"), Some(kind));
            assert_eq!(value(&headers, "port"), Some("80"));
            assert_eq!(value(&headers, "requestid"), None);
        }
    }

    #[test]
    fn a_block_that_inflates_to_much_is_refused() {
        let bomb = Deflater::default().compress(&vec![0; 1 << 20]);
        assert!(bomb.len() < 8192);
        let error = Inflater::default().read(&bomb).unwrap_err();
        assert_eq!(error.to_string(), "header block: larger than 16 KiB");
    }

    #[test]
    fn blocks_with_lengths_that_lie_are_refused() {
        for block in
            [&[][..], &[0, 0, 0], &[0, 0, 0, 1], &[0, 0, 0, 1, 0, 0, 0, 9, b'a'], &[0, 0, 0, 0, 7], &[255; 4]]
        {
            let compressed = Deflater::default().compress(block);
            assert!(Inflater::default().read(&compressed).is_err(), "{block:?}");
        }
        assert!(Inflater::default().read(&[1, 2, 3, 4, 5]).is_err());
        assert!(Inflater::default().read(&[]).is_err());
    }

    #[test]
    fn empty_blocks_are_what_zlib_reads() {
        let (mut writer, mut inflater) = (EmptyBlocks::default(), Inflater::default());
        for _ in 0..3 {
            assert_eq!(inflater.read(writer.next()).unwrap(), Headers::new());
        }
    }
}
