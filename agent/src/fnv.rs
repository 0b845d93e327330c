//! FNV-1a, 64 bits: numbers that stay the same in every version, which those of the standard library's hashes need not.

/// A number of the bytes that were written to it.
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// One more byte.
    fn add(self, byte: u8) -> Self {
        Self((self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// Of all bytes so far.
    pub fn finish(&self) -> u64 {
        self.0
    }
}

impl std::io::Write for Fnv {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.extend(bytes.iter().copied());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Extend<u8> for Fnv {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        *self = bytes.into_iter().fold(Self(self.0), Self::add);
    }
}

/// The number of these bytes.
pub fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let mut fnv = Fnv::default();
    fnv.extend(bytes);
    fnv.finish()
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_those_of_the_algorithm() {
        assert_eq!(super::hash([]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(super::hash(*b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(super::hash(*b"foobar"), 0x8594_4171_f739_67e8);
    }
}
