//! `rcrun registry explain`: everything that is decided about a name before its registry is asked, and why.
//!
//! Nothing is asked of any registry; credential helpers are. No secret is in the answer.

use std::path::PathBuf;

use serde::Serialize;
use ureq::http::Uri;

use super::super::proxy::Proxies;
use super::{Settings, SettingsError};
use crate::image::Name;
use crate::image::reference::DOCKER_IO;
use crate::image::registry::{Endpoint, Secret};

/// All about one name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// As it was asked about.
    pub name: String,
    /// What it may stand for, in the order of trying.
    pub candidates: Vec<Meant>,
    /// The files of registries.conf that were read, in their order.
    pub files: Vec<PathBuf>,
    /// What of them was ignored.
    pub ignored: Vec<String>,
}

/// A whole name that the name may stand for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Meant {
    /// The whole name.
    pub reference: String,
    /// Who says so.
    pub why: String,
    /// Where it is asked for, in order.
    pub endpoints: Vec<Asked>,
    /// Why nobody is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One endpoint.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// The name as it has it.
    pub reference: String,
    /// The server.
    pub host: String,
    /// A mirror, and not the registry itself?
    pub mirror: bool,
    /// Without verification, and over http where https is not spoken?
    pub insecure: bool,
    /// Why it is asked.
    pub why: String,
    /// What it is shown once it wants to know.
    pub credentials: Known,
    /// What its TLS has beside the system's authorities.
    pub certificates: Certified,
    /// Through which proxy; None: directly.
    pub proxy: Option<String>,
}

/// What is known to a registry.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Known {
    /// Nothing: anonymous.
    Nobody,
    /// A user's password.
    User {
        /// Who.
        user: String,
        /// A file or a helper.
        source: String,
    },
    /// An identity token.
    IdentityToken {
        /// A file or a helper.
        source: String,
    },
    /// They cannot be had.
    Error(String),
}

/// What certs.d has for a registry.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Certified {
    /// Nothing.
    SystemOnly,
    /// A directory.
    Directory {
        /// Where.
        path: PathBuf,
        /// Files with authorities.
        authorities: usize,
        /// Is there a certificate to show?
        client: bool,
    },
    /// It cannot be read.
    Error(String),
}

impl Settings {
    /// All about `name`. It is an error only where the name stands for nothing.
    pub fn explain(&self, name: &Name) -> Result<Explanation, SettingsError> {
        let candidates = self.explained_candidates(name)?.into_iter().map(|candidate| {
            let reference = candidate.reference.or_latest();
            let (endpoints, error) = match self.endpoints(&reference) {
                Ok(endpoints) => (endpoints.iter().map(|endpoint| self.asked(endpoint)).collect(), None),
                Err(error) => (Vec::new(), Some(error.to_string())),
            };
            Meant { reference: reference.to_string(), why: candidate.why, endpoints, error }
        });
        Ok(Explanation {
            name: name.to_string(),
            candidates: candidates.collect(),
            files: self.files().map(Into::into).collect(),
            ignored: self.notes().to_vec(),
        })
    }

    fn asked(&self, endpoint: &Endpoint) -> Asked {
        let reference = &endpoint.reference;
        let host = match reference.registry() {
            DOCKER_IO => "registry-1.docker.io",
            host => host,
        };
        Asked {
            reference: reference.to_string(),
            host: host.to_owned(),
            mirror: endpoint.mirror,
            insecure: endpoint.insecure,
            why: endpoint.why.clone(),
            credentials: self.known(reference.registry(), reference.repository()),
            certificates: self.certified(reference.registry()),
            proxy: proxy_of(host),
        }
    }

    fn known(&self, registry: &str, repository: &str) -> Known {
        match self.credentials(registry, repository) {
            Ok(None) => Known::Nobody,
            Ok(Some(credentials)) => match credentials.secret {
                Secret::Password { user, .. } => Known::User { user, source: credentials.source },
                Secret::IdentityToken(_) | Secret::RegistryToken(_) => {
                    Known::IdentityToken { source: credentials.source }
                }
            },
            Err(error) => Known::Error(error.to_string()),
        }
    }

    fn certified(&self, registry: &str) -> Certified {
        let Some(path) = self.certificates_directory(registry) else { return Certified::SystemOnly };
        match self.certificates(registry) {
            Ok(found) => {
                let (authorities, client) = (found.roots.len(), found.client.is_some());
                Certified::Directory { path, authorities, client }
            }
            Err(error) => Certified::Error(error.to_string()),
        }
    }
}

/// The proxy to a host over https, without its password.
fn proxy_of(host: &str) -> Option<String> {
    let uri: Uri = format!("https://{host}/").parse().ok()?;
    match Proxies::from_environment() {
        Ok(proxies) => proxies.of(&uri).map(|proxy| format!("{}:{}", proxy.host(), proxy.port())),
        Err(error) => Some(error.to_string()),
    }
}
