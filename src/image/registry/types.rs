//! What the client and the settings tell each other: where a name may be had, with which credentials and certificates.

use std::error::Error;
use std::fmt;

use crate::image::Reference;

/// One place to ask for an image, in the order of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What to ask it for: the name as this place has it.
    pub reference: Reference,
    /// Do not verify its certificate, and take http where https is not spoken.
    pub insecure: bool,
    /// Is it a mirror, and not the registry that the name says?
    pub mirror: bool,
    /// Why it is asked, for people: the file and the entry that say so.
    pub why: String,
}

/// What proves to one registry who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The proof.
    pub secret: Secret,
    /// Where it was found, for people: a file or a helper's name.
    pub source: String,
}

/// A proof of identity. Its `Debug` tells none of it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// For Basic authentication, and for the token server.
    Password {
        /// Who.
        user: String,
        /// Their password, or a token that stands for it.
        password: String,
    },
    /// An OAuth2 refresh token: `identitytoken` of an auth file, `<token>` of a credential helper.
    IdentityToken(String),
    /// A bearer token that the registry itself takes, as Kubernetes may be given one.
    RegistryToken(String),
}

/// What TLS needs beside the system's roots.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Further trusted authorities: each one file's PEM, with one certificate or several.
    pub roots: Vec<Vec<u8>>,
    /// What rcrun shows for itself.
    pub client: Option<ClientCertificate>,
}

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM: the certificate first, what it was issued by next.
    pub certificate: Vec<u8>,
    /// PEM: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: Vec<u8>,
}

/// What the client asks of the settings. Errors are one line each.
pub trait Directory: Send + Sync {
    /// Where `reference` may be had: mirrors first. Blocked is an error.
    fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, DirectoryError>;
    /// The registry that `reference` says, for what is no pull: mirrors and other locations are not for pushes and
    /// logins. Blocked is an error.
    fn home(&self, reference: &Reference) -> Result<Endpoint, DirectoryError>;
    /// What `registry` wants to see for `repository`, if anything is known.
    fn credentials(&self, registry: &str, repository: &str) -> Result<Option<Credentials>, DirectoryError>;
    /// What `registry`'s TLS needs.
    fn certificates(&self, registry: &str) -> Result<Certificates, DirectoryError>;
}

/// Why the settings have no answer.
pub type DirectoryError = Box<dyn Error + Send + Sync>;

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(..)",
            Self::IdentityToken(_) => "IdentityToken(..)",
            Self::RegistryToken(_) => "RegistryToken(..)",
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("secret", &self.secret).field("source", &self.source).finish()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (roots, client) = (self.roots.len(), self.client.is_some());
        f.debug_struct("Certificates").field("roots", &roots).field("client", &client).finish()
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(..)")
    }
}
