//! Public keys of signers: PEM with a SubjectPublicKeyInfo (RFC 5280, 4.1), and signatures by them.

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

/// ecPublicKey, prime256v1 (RFC 5480).
const P256: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];
/// ecPublicKey, secp384r1.
const P384: &[u8] =
    &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
/// id-Ed25519 (RFC 8410).
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
/// rsaEncryption with NULL (RFC 3279).
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// DER's tags.
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// Ways to sign with one kind of key.
type Algorithms = &'static [&'static dyn VerificationAlgorithm];

/// A key whose signatures can be verified.
#[derive(Debug)]
pub struct PublicKey {
    /// What sigstore's tools sign with; of two either.
    algorithms: Algorithms,
    bytes: Vec<u8>,
}

impl PublicKey {
    /// Is `signature` this key's of `message`?
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let verifies = |algorithm: &&'static dyn VerificationAlgorithm| {
            UnparsedPublicKey::new(*algorithm, &self.bytes).verify(message, signature).is_ok()
        };
        self.algorithms.iter().any(verifies)
    }
}

/// All keys of a PEM file: one at least, each of a known kind.
pub fn parse(pem: &[u8]) -> Result<Vec<PublicKey>, String> {
    let mut keys = Vec::new();
    for der in SubjectPublicKeyInfoDer::pem_slice_iter(pem) {
        let der = der.map_err(|error| format!("no PEM: {error}"))?;
        keys.push(public_key(&der)?);
    }
    match keys.is_empty() {
        true => Err("it has no `-----BEGIN PUBLIC KEY-----`".to_owned()),
        false => Ok(keys),
    }
}

fn public_key(der: &[u8]) -> Result<PublicKey, String> {
    let broken = || "its PUBLIC KEY is broken".to_owned();
    let (info, rest) = element(der, SEQUENCE).ok_or_else(broken)?;
    let (algorithm, bits) = element(info, SEQUENCE).ok_or_else(broken)?;
    let (bits, trailing) = element(bits, BIT_STRING).ok_or_else(broken)?;
    // The first byte of a bit string counts the bits of its last that are none.
    let [0, bytes @ ..] = bits else { return Err(broken()) };
    if !rest.is_empty() || !trailing.is_empty() {
        return Err(broken());
    }
    let algorithms: Algorithms = match algorithm {
        P256 => const { &[&signature::ECDSA_P256_SHA256_ASN1] },
        P384 => const { &[&signature::ECDSA_P384_SHA256_ASN1, &signature::ECDSA_P384_SHA384_ASN1] },
        ED25519 => const { &[&signature::ED25519] },
        RSA => const { &[&signature::RSA_PKCS1_2048_8192_SHA256] },
        _ => return Err("its kind is not supported: ECDSA P-256 and P-384, Ed25519 and RSA are".to_owned()),
    };
    Ok(PublicKey { algorithms, bytes: bytes.to_vec() })
}

/// The content of one DER element with this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = bytes else { return None };
    if *first != tag {
        return None;
    }
    let (length, rest) = match *length {
        short @ 0..=0x7f => (usize::from(short), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), &rest[2..]),
        _ => return None,
    };
    rest.split_at_checked(length)
}
