//! Which images may be used at all: containers-policy.json(5).
//!
//! In: the policy file, an image's name and digest, and its signatures, none of which is trusted until a key of the
//! policy has signed it. Out: nothing, or the requirement that is not met. Without any policy file every image is
//! accepted, as docker does. What rcrun cannot verify (GPG's `signedBy`; keys that fulcio or another authority
//! vouches for; rekor) it never accepts: an image for which the policy asks that is refused.
//!
//! Signatures are sigstore's, where cosign puts them: [`attached`] says how they are found. Whether
//! containers-registries.d(5) has `use-sigstore-attachments` does not matter: they are looked for when they are asked for.

mod attached;
mod error;
mod fetch;
mod identity;
mod key;
mod parse;
mod scope;
mod signature;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use attached::{Attachment, attached, signature_tag};
pub use error::PolicyError;
pub use fetch::signatures;
pub use signature::Signature;

use super::{Digest, Reference};
use parse::{Requirement, Requirements, Sigstore};

/// Why signatures could not be had.
pub type SignaturesError = Box<dyn std::error::Error + Send + Sync>;

/// The rules of one policy file, or none.
#[derive(Debug)]
pub struct Policy {
    rules: Option<Rules>,
}

#[derive(Debug)]
struct Rules {
    path: PathBuf,
    document: parse::Document,
}

/// Where the policy is.
#[derive(Clone, Debug, Default)]
pub struct PolicyFiles {
    /// `--signature-policy`: must be there.
    pub chosen: Option<PathBuf>,
    /// Of these the first that is there.
    pub usual: Vec<PathBuf>,
}

impl PolicyFiles {
    /// `chosen`, or those of the user and the machine.
    pub fn from_environment(chosen: Option<PathBuf>) -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let config = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")));
        let own = config.map(|config| config.join("containers/policy.json"));
        let usual = own.into_iter().chain(["/etc/containers/policy.json".into()]).collect();
        Self { chosen, usual }
    }
}

/// What an archive is called in a policy file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `docker save`'s.
    DockerArchive,
    /// An OCI layout in a tar archive.
    OciArchive,
    /// An OCI layout.
    OciDirectory,
}

impl Transport {
    fn name(self) -> &'static str {
        match self {
            Self::DockerArchive => "docker-archive",
            Self::OciArchive => "oci-archive",
            Self::OciDirectory => "oci",
        }
    }
}

impl Policy {
    /// The one that accepts everything.
    pub fn accept_anything() -> Self {
        Self { rules: None }
    }

    /// Reads the file.
    pub fn load(files: &PolicyFiles) -> Result<Self, PolicyError> {
        if let Some(path) = &files.chosen {
            let bytes = parse::read(path)?.ok_or_else(|| PolicyError::Missing { path: path.clone() })?;
            return Self::parse(path, &bytes);
        }
        for path in &files.usual {
            if let Some(bytes) = parse::read(path)? {
                return Self::parse(path, &bytes);
            }
        }
        Ok(Self::accept_anything())
    }

    /// The content of `path`.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, PolicyError> {
        let document = parse::document(path, bytes)?;
        Ok(Self { rules: Some(Rules { path: path.to_owned(), document }) })
    }

    /// Before a registry is asked: is the name refused, whatever the registry has for it?
    pub fn check_name(&self, reference: &Reference) -> Result<(), PolicyError> {
        let reference = reference.clone().or_latest();
        let Some(rules) = &self.rules else { return Ok(()) };
        let (scope, requirements) = rules.of_image(&reference);
        requirements.iter().try_for_each(|requirement| match requirement {
            Requirement::Accept | Requirement::Sigstore(_) => Ok(()),
            refused => Err(rules.refusal(refused, &reference.to_string(), scope)),
        })
    }

    /// May the image be used? `digests` are those of what the name led to: the manifest's, or the index' and that of
    /// the manifest which was chosen from it; a signature of either counts. `signatures` gets those of one digest, and
    /// is called only where the policy asks for signatures.
    pub fn check(
        &self,
        reference: &Reference,
        digests: &[&Digest],
        signatures: &dyn Fn(&Digest) -> Result<Vec<Signature>, SignaturesError>,
    ) -> Result<(), PolicyError> {
        self.check_name(reference)?;
        let reference = reference.clone().or_latest();
        let Some(rules) = &self.rules else { return Ok(()) };
        let (scope, requirements) = rules.of_image(&reference);
        for requirement in requirements.iter() {
            if let Requirement::Sigstore(sigstore) = requirement {
                rules.check_signed(sigstore, &reference, digests, signatures, scope)?;
            }
        }
        Ok(())
    }

    /// May an archive be loaded? They have no signatures. `path` is None for stdin.
    pub fn check_archive(&self, transport: Transport, path: Option<&Path>) -> Result<(), PolicyError> {
        let Some(rules) = &self.rules else { return Ok(()) };
        let (scope, requirements) = rules.of_archive(transport, path);
        let name = path.map_or_else(|| "stdin".to_owned(), |path| path.display().to_string());
        requirements.iter().try_for_each(|requirement| match requirement {
            Requirement::Accept => Ok(()),
            Requirement::Sigstore(_) => {
                let (path, scope) = (rules.path.clone(), scope.to_owned());
                Err(PolicyError::ArchiveUnsigned { archive: name.clone(), path, scope })
            }
            refused => Err(rules.refusal(refused, &name, scope)),
        })
    }

    /// Which rule is about a name, and what it asks for: for people.
    pub fn explain(&self, reference: &Reference) -> String {
        let Some(rules) = &self.rules else { return "no policy file: any image is accepted".to_owned() };
        let (scope, requirements) = rules.of_image(&reference.clone().or_latest());
        let asks: Vec<&str> = requirements.iter().map(Requirement::name).collect();
        format!("{} ({scope} of {})", asks.join(" and "), rules.path.display())
    }
}

impl Rules {
    fn of_image(&self, reference: &Reference) -> (&str, &Requirements) {
        self.most_specific("docker", &scope::of_image(reference))
    }

    fn of_archive(&self, transport: Transport, path: Option<&Path>) -> (&str, &Requirements) {
        let scopes = match transport {
            Transport::DockerArchive => Vec::new(),
            Transport::OciArchive | Transport::OciDirectory => path.map(scope::of_path).unwrap_or_default(),
        };
        self.most_specific(transport.name(), &scopes)
    }

    /// The requirements of the first of `scopes` that has any, and what that scope is called.
    fn most_specific(&self, transport: &str, scopes: &[String]) -> (&str, &Requirements) {
        let Some((name, rules)) = self.document.transports.0.get_key_value(transport) else {
            return ("the default", &self.document.default);
        };
        let found = scopes.iter().find_map(|scope| rules.0.get_key_value(scope));
        match (found, rules.0.get("")) {
            (Some((scope, requirements)), _) => (scope, requirements),
            (None, Some(requirements)) => (name, requirements),
            (None, None) => ("the default", &self.document.default),
        }
    }

    /// The error for a requirement that no image meets.
    fn refusal(&self, requirement: &Requirement, image: &str, scope: &str) -> PolicyError {
        let (image, path, scope) = (image.to_owned(), self.path.clone(), scope.to_owned());
        match requirement {
            Requirement::Unsupported(what) => PolicyError::Unsupported { image, path, scope, what },
            _ => PolicyError::Rejected { image, path, scope },
        }
    }

    fn check_signed(
        &self,
        sigstore: &Sigstore,
        reference: &Reference,
        digests: &[&Digest],
        signatures: &dyn Fn(&Digest) -> Result<Vec<Signature>, SignaturesError>,
        scope: &str,
    ) -> Result<(), PolicyError> {
        let image = reference.to_string();
        let keys = sigstore.keys.load()?;
        let mut reasons: Vec<String> = Vec::new();
        for digest in digests {
            let found = signatures(digest)
                .map_err(|source| PolicyError::Signatures { image: image.clone(), source })?;
            for signature in &found {
                match signature.verify(&keys, digest, &sigstore.identity, reference) {
                    Ok(()) => return Ok(()),
                    Err(reason) if reasons.contains(&reason) => {}
                    Err(reason) => reasons.push(reason),
                }
            }
        }
        let (path, scope) = (self.path.clone(), scope.to_owned());
        Err(match reasons.is_empty() {
            true => PolicyError::Unsigned { image, path, scope },
            false => PolicyError::Signature { image, path, scope, reasons: reasons.join("; ") },
        })
    }
}
