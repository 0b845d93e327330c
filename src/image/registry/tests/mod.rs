//! The client against a server that misbehaves. Nothing here leaves the loopback interface.

mod blobs;
mod logins;
mod manifests;
mod pushes;
mod redirects;
mod secured;
mod server;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use server::{Reply, Seen, Server};

use super::proxy::Proxies;
use super::*;
use crate::image::{Descriptor, Digest};

const MANIFEST: &[u8] = br#"{"schemaVersion":2,"config":{}}"#;

/// Settings that are given.
#[derive(Clone, Default)]
struct Given {
    endpoints: Vec<Endpoint>,
    credentials: Option<Credentials>,
    certificates: Certificates,
}

impl Directory for Given {
    /// Each endpoint with what is asked for.
    fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, DirectoryError> {
        let rewritten = |endpoint: &Endpoint| {
            let name = reference.to_string();
            let rest = name.split_once('/').map_or("", |(_, rest)| rest);
            let reference = format!("{}/{rest}", endpoint.reference.registry()).parse().unwrap();
            Endpoint { reference, ..endpoint.clone() }
        };
        Ok(self.endpoints.iter().map(rewritten).collect())
    }

    fn home(&self, reference: &Reference) -> Result<Endpoint, DirectoryError> {
        let last = self.endpoints(reference)?.pop();
        last.ok_or_else(|| "nowhere".into())
    }

    fn credentials(&self, _: &str, _: &str) -> Result<Option<Credentials>, DirectoryError> {
        Ok(self.credentials.clone())
    }

    fn certificates(&self, _: &str) -> Result<Certificates, DirectoryError> {
        Ok(self.certificates.clone())
    }
}

impl Given {
    /// Insecure places, all but the last of them mirrors.
    fn insecure(registries: &[impl AsRef<str>]) -> Self {
        let endpoint = |(at, registry): (usize, &str)| Endpoint {
            reference: format!("{registry}/a").parse().unwrap(),
            insecure: true,
            mirror: at + 1 < registries.len(),
            why: "a test".to_owned(),
        };
        Self {
            endpoints: registries.iter().map(AsRef::as_ref).enumerate().map(endpoint).collect(),
            ..Self::default()
        }
    }

    fn password(mut self) -> Self {
        let secret = Secret::Password { user: "me".to_owned(), password: "hunter2".to_owned() };
        self.credentials = Some(Credentials { secret, source: "auth.json".to_owned() });
        self
    }

    fn token(mut self) -> Self {
        let secret = Secret::IdentityToken("hunter2".to_owned());
        self.credentials = Some(Credentials { secret, source: "auth.json".to_owned() });
        self
    }

    fn registry(self) -> Registry {
        self.registry_with(quick())
    }

    fn registry_with(self, timeouts: Timeouts) -> Registry {
        Registry::with_proxies(Arc::new(self), timeouts, Limits::default(), Ok(Proxies::default()))
    }
}

fn quick() -> Timeouts {
    Timeouts { tries: 3, pause: Duration::from_millis(1), ..Timeouts::default() }
}

/// The only registry.
fn at(server: &Server) -> Registry {
    Given::insecure(&[server.address.to_string()]).registry()
}

fn reference(server: &Server, rest: &str) -> Reference {
    format!("{}/{rest}", server.address).parse().unwrap()
}

/// Bytes that are not alike.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..size).map(|_| next()).collect()
}

fn layer(bytes: &[u8]) -> Descriptor {
    Descriptor::of("application/vnd.oci.image.layer.v1.tar", bytes)
}

/// Everything of a blob, or the error's line.
fn read(blob: Result<Blob, RegistryError>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut blob = blob.map_err(|error| error.to_string())?;
    match std::io::Read::read_to_end(&mut blob, &mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

/// An error is one line, and tells no secret.
fn line<T: std::fmt::Debug>(result: Result<T, RegistryError>) -> String {
    let error = result.unwrap_err();
    let text = error.to_string();
    assert!(!text.contains('\n') && !text.contains("hunter2"), "{text}");
    assert!(!format!("{error:?}").contains("hunter2"));
    text
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::of(bytes)
}
