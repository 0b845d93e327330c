//! Why a registry gave nothing: what was wanted, which endpoints were asked, and what each of them answered.

use std::fmt;
use std::time::Duration;

use crate::image::{Digest, Reference};

use super::types::DirectoryError;

/// A failed operation with its object, and why at each endpoint.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RegistryError {
    #[error("cannot tell which registry has {reference}: {source}")]
    Directory { reference: Reference, source: DirectoryError },
    #[error("no registry is configured for {reference}")]
    Nowhere { reference: Reference },
    #[error("cannot get the manifest of {reference}: {failures}")]
    Manifest { reference: Reference, failures: Failures },
    #[error("cannot get blob {digest} of {}: {failures}", .reference.name())]
    Blob { reference: Reference, digest: Digest, failures: Failures },
    #[error("cannot list the tags of {}: {failures}", .reference.name())]
    Tags { reference: Reference, failures: Failures },
    #[error("cannot push blob {digest} to {}: {failures}", .reference.name())]
    PushBlob { reference: Reference, digest: Digest, failures: Failures },
    #[error("cannot push the manifest of {reference}: {failures}")]
    PushManifest { reference: Reference, failures: Failures },
    #[error("cannot log in to {registry}: {failures}")]
    Login { registry: String, failures: Failures },
}

impl RegistryError {
    /// Have all endpoints answered that they have no such thing?
    pub fn is_not_found(&self) -> bool {
        self.failures().is_some_and(|all| all.0.iter().all(|(_, why)| why.is_not_found()))
    }

    /// Did one of them want a login?
    pub fn is_unauthorized(&self) -> bool {
        let unauthorized = |(_, why): &(String, Failure)| matches!(why, Failure::Unauthorized { .. });
        self.failures().is_some_and(|all| all.0.iter().any(unauthorized))
    }

    /// In short, for who has to tell programs: what the last one asked said, the registry itself after its mirrors.
    pub fn kind(&self) -> ErrorKind {
        let last = self.failures().and_then(|all| all.0.last());
        last.map_or(ErrorKind::Other, |(_, why)| why.kind())
    }

    fn failures(&self) -> Option<&Failures> {
        match self {
            Self::Directory { .. } | Self::Nowhere { .. } => None,
            Self::Manifest { failures, .. }
            | Self::Blob { failures, .. }
            | Self::Tags { failures, .. }
            | Self::PushBlob { failures, .. }
            | Self::PushManifest { failures, .. }
            | Self::Login { failures, .. } => Some(failures),
        }
    }
}

/// Kinds of errors that programs tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no such thing.
    NotFound,
    /// It may be there, for who logs in.
    LoginNeeded,
    /// The credentials do not allow it.
    LoginRefused,
    /// Nobody answers, or it cannot do it now: it may later.
    Unavailable,
    /// [`super::Registry::stop`].
    Stopped,
    /// Everything else.
    Other,
}

/// What each endpoint answered, in the order of asking.
#[derive(Debug)]
pub struct Failures(pub(super) Vec<(String, Failure)>);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (endpoint, failure)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{endpoint}: {failure}")?;
        }
        Ok(())
    }
}

/// Why one endpoint gave nothing. Whatever a registry says is in it as printable text of one line; no credentials are.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum Failure {
    #[error("{0}")]
    Settings(DirectoryError),
    #[error("{0}")]
    Proxies(String),
    #[error("host {host} is not known: {why}")]
    Resolve { host: String, why: String },
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("the proxy {proxy} makes no connection: {why}")]
    Proxy { proxy: String, why: String },
    #[error("it speaks no TLS: if http will do, registries.conf says so with insecure = true")]
    NoTls,
    #[error("no TLS connection: {0}")]
    Tls(String),
    #[error("its certificate is not trusted ({0}): a private authority's goes into certs.d as a .crt file")]
    Certificate(String),
    #[error("over https: {https}; over http: {http}")]
    BothSchemes { https: Box<Failure>, http: Box<Failure> },
    #[error("the connection was cut: {0}")]
    Cut(String),
    #[error("no answer for {} s: RCRUN_REGISTRY_{variable}_SECONDS changes the limit", .after.as_secs_f32())]
    Silence { after: Duration, variable: &'static str },
    #[error("only {bytes} bytes in {} s: RCRUN_REGISTRY_SLOW_BYTES and _SECONDS change the limit", .during.as_secs_f32())]
    Slow { bytes: u64, during: Duration },
    #[error("{last} ({tries} tries)")]
    Again { last: Box<Failure>, tries: u32 },
    #[error("it speaks no HTTP: {0}")]
    Protocol(String),
    #[error("more than {0} redirects")]
    Redirects(usize),
    #[error("a redirect or upload location that cannot be followed: {0:?}")]
    Location(String),
    #[error("it leads from https to http at {0}, which is not followed")]
    Downgrade(String),
    #[error("it leads a request with credentials to {0}, which does not get them")]
    Elsewhere(String),
    #[error("no such {what}{words}")]
    NotFound { what: &'static str, words: Words },
    #[error("{}", unauthorized(registry, login.as_deref(), words))]
    Unauthorized { registry: String, login: Option<String>, words: Words },
    #[error("it asks for a kind of login that is not known: {0:?}")]
    Challenge(String),
    #[error("the token server {server}: {why}")]
    Token { server: String, why: Box<Failure> },
    #[error("the token server must be asked over https, but is {0}")]
    TokenInClear(String),
    #[error("too many requests{}{words}: wait, or log in", wait_text(.wait))]
    Busy { wait: Option<Duration>, words: Words },
    #[error("HTTP status {status}{words}")]
    Status { status: u16, wait: Option<Duration>, words: Words },
    #[error("the answer is no {what} but {kind}{title}: is it a registry?")]
    Nonsense { what: &'static str, kind: String, title: Words },
    #[error("its list of tags has {0:?}, which is none")]
    Tag(String),
    #[error("{what} has more than {most} bytes{}", cure.map(|cure| format!(": {cure} raises the limit")).unwrap_or_default())]
    TooLarge { what: &'static str, most: u64, cure: Option<&'static str> },
    #[error("the digest is {is}, but {wanted} was {}", if *.announced { "announced" } else { "asked for" })]
    Digest { is: Digest, wanted: Digest, announced: bool },
    #[error("{is} bytes, but the manifest says {wanted}")]
    Length { is: u64, wanted: u64 },
    #[error("more bytes than the {0} that the manifest says")]
    Longer(u64),
    #[error("it answers a request for bytes {from} and on with {is}")]
    Range { from: u64, is: String },
    #[error("the content is encoded as {0:?}, which was not asked for")]
    Encoded(String),
    #[error("cannot read what is pushed: {0}")]
    Payload(String),
    #[error("it was stopped")]
    Stopped,
}

/// What a registry said, ready to be shown: empty, or ` (...)`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Words(pub(super) String);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", self.0),
        }
    }
}

impl Failure {
    /// Would the same request perhaps succeed a little later?
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Cut(_) | Self::Silence { .. } | Self::Slow { .. } | Self::Busy { .. } => true,
            Self::Status { status, .. } => *status >= 500 && *status != 501 && *status != 505,
            Self::Token { why, .. } => why.is_transient(),
            Self::BothSchemes { https, http } => https.is_transient() || http.is_transient(),
            _ => false,
        }
    }

    /// Was there no HTTP answer at all, so that another scheme may do better? It may have another proxy, which knows other names.
    pub(super) fn is_without_answer(&self) -> bool {
        matches!(
            self,
            Self::Resolve { .. }
                | Self::Connect(_)
                | Self::Proxy { .. }
                | Self::NoTls
                | Self::Tls(_)
                | Self::Certificate(_)
                | Self::Cut(_)
                | Self::Silence { .. }
        )
    }

    /// How long the registry asks to be left alone.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Busy { wait, .. } | Self::Status { wait, .. } => *wait,
            Self::Token { why, .. } => why.wait(),
            _ => None,
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Unauthorized { login: None, .. } => ErrorKind::LoginNeeded,
            Self::Unauthorized { login: Some(_), .. } | Self::Status { status: 401 | 403, .. } => {
                ErrorKind::LoginRefused
            }
            Self::Stopped => ErrorKind::Stopped,
            Self::Again { last, .. } => last.kind(),
            Self::Token { why, .. } => match why.kind() {
                // That of the token server, not of the registry.
                ErrorKind::NotFound => ErrorKind::Other,
                kind => kind,
            },
            Self::BothSchemes { http, .. } => http.kind(),
            Self::Resolve { .. } | Self::Connect(_) | Self::Proxy { .. } => ErrorKind::Unavailable,
            _ if self.is_transient() => ErrorKind::Unavailable,
            _ => ErrorKind::Other,
        }
    }

    fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::Again { last, .. } => last.is_not_found(),
            _ => false,
        }
    }
}

fn unauthorized(registry: &str, login: Option<&str>, words: &Words) -> String {
    match login {
        Some(source) => {
            format!(
                "the credentials from {source} do not allow it{words}: another login is made with rcrun login {registry}"
            )
        }
        None => format!("it does not exist, or needs a login{words}: rcrun login {registry}"),
    }
}

fn wait_text(wait: &Option<Duration>) -> String {
    wait.map(|wait| format!(" (for another {} s)", wait.as_secs())).unwrap_or_default()
}
