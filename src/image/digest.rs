//! Content digests, `sha256:HEX`: OCI image specification, descriptor.md, "Digests".

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// The digest algorithms that the image specification registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256: nearly all there is.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Its name in a digest, and of its directory below `blobs/`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// A digest that is well-formed: a known algorithm, lower-case hexadecimal digits of its length. As a file
/// name its hexadecimal part is harmless.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

/// Why a text is no digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is no digest: expected sha256: and 64 hexadecimal digits, or sha512: and 128")]
pub struct DigestError {
    text: String,
}

impl Digest {
    /// The SHA-256 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_with(Algorithm::Sha256, bytes)
    }

    /// The digest of `bytes` by `algorithm`.
    pub fn of_with(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Which function it is the result of.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The result in hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve digits: what tables show.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let known = [Algorithm::Sha256, Algorithm::Sha512];
        let parsed = text.split_once(':').and_then(|(name, hex)| {
            let algorithm = known.into_iter().find(|algorithm| algorithm.name() == name)?;
            let digits = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            (digits && hex.len() == algorithm.hex_length()).then(|| Self { algorithm, hex: hex.into() })
        });
        parsed.ok_or_else(|| DigestError { text: text.chars().take(200).collect() })
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Computes a digest of bytes that come in pieces.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// SHA-256.
    Sha256(sha2::Sha256),
    /// SHA-512.
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// One that has seen nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all bytes so far.
    pub fn finish(self) -> Digest {
        let (algorithm, bytes) = match self {
            Self::Sha256(hasher) => (Algorithm::Sha256, hasher.finalize().to_vec()),
            Self::Sha512(hasher) => (Algorithm::Sha512, hasher.finalize().to_vec()),
        };
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
        let hex: String = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        Digest { algorithm, hex: hex.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_is_computed_written_and_read() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), Digest::of(b""));
        let long = Digest::of_with(Algorithm::Sha512, b"abc");
        assert_eq!(long.to_string().parse::<Digest>().unwrap(), long);
        assert!(long.hex().starts_with("ddaf35a193617aba") && long.short() == "ddaf35a19361");
    }

    #[test]
    fn what_could_be_a_path_or_another_spelling_is_refused() {
        let upper = EMPTY.to_uppercase();
        let long = format!("{EMPTY}0");
        for text in ["", "sha256:", "sha256:../../etc", "md5:d41d8cd98f00b204e9800998ecf8427e", &upper, &long]
        {
            let error = text.parse::<Digest>().unwrap_err().to_string();
            assert!(error.contains("is no digest"), "{error}");
        }
    }
}
