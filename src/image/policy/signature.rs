//! One signature of sigstore's: a payload of "simple signing"
//! (<https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md>) and what was signed of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::identity::{Identity, is_bare};
use super::key::PublicKey;
use crate::image::{Digest, Reference};
use crate::text::on_one_line;

/// What a payload is called that says "this image is signed".
const KIND: &str = "cosign container image signature";

/// What somebody claims to have signed. Nothing of it is true before a key has verified it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The signed bytes, JSON.
    pub payload: Vec<u8>,
    /// The signature of them, base64.
    pub base64: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    critical: Critical,
    #[serde(rename = "optional")]
    _optional: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    r#type: String,
    image: Image,
    identity: Named,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    #[serde(rename = "docker-reference")]
    reference: String,
}

impl Signature {
    /// Does one of `keys` sign, with this, that `image` is the manifest `digest`? If not, why.
    pub fn verify(
        &self,
        keys: &[PublicKey],
        digest: &Digest,
        identity: &Identity,
        image: &Reference,
    ) -> Result<(), String> {
        let signature =
            STANDARD.decode(self.base64.trim()).map_err(|_| "a signature is no base64".to_owned())?;
        if !keys.iter().any(|key| key.verifies(&self.payload, &signature)) {
            return Err("a signature is by none of the policy's keys, or of another text".to_owned());
        }
        // From here on it is a signer's word, but perhaps about another image.
        let payload: Payload = serde_json::from_slice(&self.payload)
            .map_err(|error| on_one_line(&format!("a signed text is not what sigstore signs: {error}")))?;
        let Critical { r#type, image: signed_image, identity: named } = payload.critical;
        if r#type != KIND {
            return Err(format!("a signed text is about {} and no image", shown(&r#type)));
        }
        if signed_image.digest != digest.to_string() {
            return Err(format!(
                "a signature is of {}, another image than {digest}",
                shown(&signed_image.digest)
            ));
        }
        let signed: Reference = match named.reference.parse() {
            Ok(signed) => signed,
            Err(error) => return Err(format!("a signature's docker-reference: {error}")),
        };
        match identity.accepts(image, &signed) {
            true => Ok(()),
            false if is_bare(&signed) && signed.name() == image.name() => Err(format!(
                "a signature is of {signed} without a tag, which signedIdentity matchRepository accepts alone"
            )),
            false => Err(format!("a signature is of {signed}, not of {image}")),
        }
    }
}

/// As much of a text of unknown length as an error has room for.
fn shown(text: &str) -> String {
    on_one_line(&text.chars().take(100).collect::<String>())
}
