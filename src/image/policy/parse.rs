//! policy.json: strictly, as its manual asks. A field that is unknown, doubled or of another kind refuses the file.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::identity::{Identity, is_bare};
use super::key::{self, PublicKey};
use super::{PolicyError, Reference};
use crate::image::reference::lower_host;
use crate::text::on_one_line;

/// The longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// A whole file.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// For whatever no transport has a scope for.
    pub default: Requirements,
    /// By transport, by scope; the scope "" is a transport's default.
    #[serde(default)]
    pub transports: Unique<Unique<Requirements>>,
}

/// What must hold together: one requirement at least.
#[derive(Debug, serde::Deserialize)]
#[serde(try_from = "Vec<Raw>")]
pub struct Requirements(Vec<Requirement>);

impl Requirements {
    /// In the file's order.
    pub fn iter(&self) -> impl Iterator<Item = &Requirement> {
        self.0.iter()
    }
}

/// What must hold.
#[derive(Debug)]
pub enum Requirement {
    /// `insecureAcceptAnything`.
    Accept,
    /// `reject`.
    Reject,
    /// `sigstoreSigned` with keys of this machine.
    Sigstore(Sigstore),
    /// What cannot be verified, and is not accepted therefore.
    Unsupported(&'static str),
}

impl Requirement {
    /// Its type in the file, or what it asks for.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accept => "insecureAcceptAnything",
            Self::Reject => "reject",
            Self::Sigstore(_) => "sigstoreSigned",
            Self::Unsupported(what) => what,
        }
    }
}

/// A signature by one of the keys, for a name that fits.
#[derive(Debug)]
pub struct Sigstore {
    /// Whose.
    pub keys: Keys,
    /// For which name.
    pub identity: Identity,
}

/// Where public keys are; files are read when they are needed.
#[derive(Debug)]
pub enum Keys {
    /// `keyPath`, `keyPaths`.
    Files(Vec<PathBuf>),
    /// `keyData`, `keyDatas`: PEM.
    Data(Vec<Vec<u8>>),
}

impl Keys {
    /// All of them.
    pub fn load(&self) -> Result<Vec<PublicKey>, PolicyError> {
        let mut keys = Vec::new();
        let mut add = |name: String, pem: &[u8]| -> Result<(), PolicyError> {
            keys.extend(key::parse(pem).map_err(|reason| PolicyError::Key { key: name, reason })?);
            Ok(())
        };
        match self {
            Self::Files(paths) => {
                for path in paths {
                    let name = format!("{path:?}");
                    let missing =
                        || PolicyError::Key { key: name.clone(), reason: "it does not exist".into() };
                    add(name.clone(), &read(path)?.ok_or_else(missing)?)?;
                }
            }
            Self::Data(pems) => pems.iter().try_for_each(|pem| add("in keyData".to_owned(), pem))?,
        }
        Ok(keys)
    }
}

/// The content of a file; None where there is none.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, PolicyError> {
    let failed = |error| PolicyError::Read { path: path.to_owned(), error };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > LONGEST {
        true => Err(failed(std::io::Error::other(format!("more than {LONGEST} bytes")))),
        false => Ok(Some(bytes)),
    }
}

/// The content of `path`.
pub fn document(path: &Path, bytes: &[u8]) -> Result<Document, PolicyError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let wrong = |reason: String| PolicyError::Parse { path: path.to_owned(), reason: on_one_line(&reason) };
    let mut document: Document =
        serde_path_to_error::deserialize(&mut json).map_err(|error| wrong(error.to_string()))?;
    json.end().map_err(|error| wrong(error.to_string()))?;
    if let Some(scopes) = document.transports.0.get_mut("docker") {
        scopes.lower_hosts().map_err(wrong)?;
    }
    Ok(document)
}

impl<T> Unique<T> {
    /// The scopes of names of images are compared with names, whose hosts are in lower case.
    fn lower_hosts(&mut self) -> Result<(), String> {
        for (scope, value) in std::mem::take(&mut self.0) {
            if self.0.insert(lower_host(&scope), value).is_some() {
                return Err(format!("transports.docker: {scope:?} stands in it twice but for its case"));
            }
        }
        Ok(())
    }
}

/// A JSON object each of whose keys stands in it once.
#[derive(Debug)]
pub struct Unique<T>(pub BTreeMap<String, T>);

impl<T> Default for Unique<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Unique<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = Unique<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, T>()? {
                    if all.contains_key(&key) {
                        return Err(A::Error::custom(format!("the key {key:?} stands in it twice")));
                    }
                    all.insert(key, value);
                }
                Ok(Unique(all))
            }
        }
        deserializer.deserialize_map(Object(PhantomData))
    }
}

/// The fields of all requirements at once.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    r#type: String,
    key_type: Option<String>,
    key_path: Option<PathBuf>,
    key_paths: Option<Vec<PathBuf>>,
    key_data: Option<String>,
    key_datas: Option<Vec<String>>,
    signed_identity: Option<RawIdentity>,
    base_layer_identity: Option<IgnoredAny>,
    fulcio: Option<IgnoredAny>,
    pki: Option<IgnoredAny>,
    rekor_public_key_path: Option<IgnoredAny>,
    rekor_public_key_paths: Option<IgnoredAny>,
    rekor_public_key_data: Option<IgnoredAny>,
    rekor_public_key_datas: Option<IgnoredAny>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawIdentity {
    r#type: String,
    docker_reference: Option<String>,
    docker_repository: Option<String>,
    prefix: Option<String>,
    signed_prefix: Option<String>,
}

impl TryFrom<Vec<Raw>> for Requirements {
    type Error = String;

    fn try_from(raw: Vec<Raw>) -> Result<Self, String> {
        match raw.is_empty() {
            true => Err("an empty list of requirements: say insecureAcceptAnything or reject".to_owned()),
            false => raw.into_iter().map(Requirement::try_from).collect::<Result<_, _>>().map(Self),
        }
    }
}

impl TryFrom<Raw> for Requirement {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let has_keys = raw.key_path.is_some()
            || raw.key_paths.is_some()
            || raw.key_data.is_some()
            || raw.key_datas.is_some();
        let has_rekor = raw.rekor_public_key_path.is_some()
            || raw.rekor_public_key_paths.is_some()
            || raw.rekor_public_key_data.is_some()
            || raw.rekor_public_key_datas.is_some();
        let is_bare = !has_keys
            && !has_rekor
            && raw.key_type.is_none()
            && raw.signed_identity.is_none()
            && raw.fulcio.is_none()
            && raw.pki.is_none()
            && raw.base_layer_identity.is_none();
        match raw.r#type.as_str() {
            "insecureAcceptAnything" if is_bare => Ok(Self::Accept),
            "reject" if is_bare => Ok(Self::Reject),
            name @ ("insecureAcceptAnything" | "reject") => Err(format!("{name} has no fields but its type")),
            "signedBy" => Ok(Self::Unsupported("GPG signatures (signedBy)")),
            "signedBaseLayer" => Ok(Self::Unsupported("a signed base layer (signedBaseLayer)")),
            "sigstoreSigned" if raw.fulcio.is_some() => {
                Ok(Self::Unsupported("sigstore signatures by fulcio's certificates"))
            }
            "sigstoreSigned" if raw.pki.is_some() => {
                Ok(Self::Unsupported("sigstore signatures by an authority's certificates (pki)"))
            }
            "sigstoreSigned" if has_rekor => Ok(Self::Unsupported("sigstore signatures in rekor's log")),
            "sigstoreSigned" if raw.key_type.is_some() || raw.base_layer_identity.is_some() => {
                Err("sigstoreSigned has neither keyType nor baseLayerIdentity".to_owned())
            }
            "sigstoreSigned" => raw.sigstore().map(Self::Sigstore),
            other => Err(format!("the requirement {other:?} is unknown")),
        }
    }
}

impl Raw {
    fn sigstore(self) -> Result<Sigstore, String> {
        let decode = |data: &String| STANDARD.decode(data).map_err(|_| "keyData is no base64".to_owned());
        let keys = match (self.key_path, self.key_paths, self.key_data, self.key_datas) {
            (Some(path), None, None, None) => Keys::Files(vec![path]),
            (None, Some(paths), None, None) if !paths.is_empty() => Keys::Files(paths),
            (None, None, Some(data), None) => Keys::Data(vec![decode(&data)?]),
            (None, None, None, Some(datas)) if !datas.is_empty() => {
                Keys::Data(datas.iter().map(decode).collect::<Result<_, _>>()?)
            }
            _ => return Err("sigstoreSigned needs one of keyPath, keyPaths, keyData and keyDatas".to_owned()),
        };
        let identity =
            self.signed_identity.map_or(Ok(Identity::MatchRepoDigestOrExact), Identity::try_from)?;
        Ok(Sigstore { keys, identity })
    }
}

impl TryFrom<RawIdentity> for Identity {
    type Error = String;

    fn try_from(raw: RawIdentity) -> Result<Self, String> {
        let name = raw.r#type.as_str();
        let fields = (raw.docker_reference, raw.docker_repository, raw.prefix, raw.signed_prefix);
        let parse =
            |text: &str| text.parse::<Reference>().map_err(|error| format!("signedIdentity: {error}"));
        match (name, fields) {
            ("matchExact", (None, None, None, None)) => Ok(Self::MatchExact),
            ("matchRepoDigestOrExact", (None, None, None, None)) => Ok(Self::MatchRepoDigestOrExact),
            ("matchRepository", (None, None, None, None)) => Ok(Self::MatchRepository),
            ("exactReference", (Some(text), None, None, None)) => match parse(&text)? {
                bare if is_bare(&bare) => Err(format!("dockerReference {text:?} needs a tag or a digest")),
                reference => Ok(Self::ExactReference(reference)),
            },
            ("exactRepository", (None, Some(text), None, None)) => match parse(&text)? {
                bare if is_bare(&bare) => Ok(Self::ExactRepository(bare.name())),
                _ => Err(format!("dockerRepository {text:?} must have neither tag nor digest")),
            },
            ("remapIdentity", (None, None, Some(prefix), Some(signed_prefix))) => {
                let is_place = |text: &str| {
                    let name: Result<Reference, _> = format!("{text}/name").parse();
                    name.is_ok_and(|name| name.name() == format!("{}/name", lower_host(text)))
                };
                if let Some(text) = [&prefix, &signed_prefix].into_iter().find(|text| !is_place(text)) {
                    return Err(format!("remapIdentity: {text:?} is no HOST[:PORT][/PATH]"));
                }
                Ok(Self::Remap { prefix: lower_host(&prefix), signed_prefix: lower_host(&signed_prefix) })
            }
            _ => Err(format!(
                "the signedIdentity {name:?} is unknown, or has fields of another or lacks its own"
            )),
        }
    }
}
