//! Registries: the client of the OCI distribution specification 1.1.
//!
//! In: names, and a [`Directory`] (the settings) that says where and with which credentials to ask. Out: manifests whose
//! digest is verified, blobs of the right length that are not, and one line for each failure. [`Registry`] is shared by
//! the threads of a pull or a push; it starts none itself and prints nothing.
//!
//! From the outside to the inside: `manifest.rs`, `blob.rs`, `push.rs` (what is asked) -> `client.rs` (schemes, redirects,
//! tries, endpoints) with `login.rs` (challenges, tokens) -> `transport.rs` (connections; `tls.rs`, `proxy.rs`,
//! `resolver.rs`) -> ureq.

mod answer;
mod ask;
mod blob;
mod challenge;
mod client;
mod error;
mod login;
mod manifest;
mod pace;
mod proxy;
mod push;
mod resolver;
pub mod settings;
#[cfg(test)]
mod tests;
mod timeouts;
mod tls;
mod transport;
mod types;
mod url;

use std::sync::Arc;

use ureq::http::Method;

pub use ask::Open;
pub use blob::Blob;
pub use error::{ErrorKind, Failure, Failures, RegistryError, Words};
pub use manifest::Fetched;
pub use push::Pushed;
pub use timeouts::{TimeoutError, Timeouts};
pub use types::{Certificates, ClientCertificate, Credentials, Directory, DirectoryError, Endpoint, Secret};

use super::limits::Limits;
use super::reference::Reference;
use answer::successful;
use ask::{Ask, Target};
use client::{Client, any_reference};
use proxy::{Proxies, ProxyError};
use transport::Transport;

/// All registries that the settings lead to. Clones share connections, tokens and what was learned.
#[derive(Clone)]
pub struct Registry {
    client: Arc<Client>,
}

impl Registry {
    /// Asks as `directory` says, over the proxies of the environment. Nothing is asked yet.
    pub fn new(directory: Arc<dyn Directory>, timeouts: Timeouts, limits: Limits) -> Self {
        Self::with_proxies(directory, timeouts, limits, Proxies::from_environment())
    }

    fn with_proxies(
        directory: Arc<dyn Directory>,
        timeouts: Timeouts,
        limits: Limits,
        proxies: Result<Proxies, ProxyError>,
    ) -> Self {
        let transport = Transport::new(Arc::clone(&directory), timeouts, proxies);
        Self { client: Arc::new(Client::new(directory, transport, limits)) }
    }

    /// Ends what is under way in all threads, soon: their calls and readers fail.
    pub fn stop(&self) {
        self.client.transport.stop();
    }

    /// Shows `credentials` to `registry` (`HOST[:PORT]`), and succeeds if they are good. A registry that wants none
    /// takes any.
    pub fn login(&self, registry: &str, credentials: Credentials) -> Result<(), RegistryError> {
        let failed = |failures| RegistryError::Login { registry: registry.to_owned(), failures };
        let reference = any_reference(registry).map_err(|error| {
            let why = Failure::Settings(error.into());
            failed(Failures(vec![(registry.to_owned(), why)]))
        })?;
        let client = &*self.client;
        let endpoint = client.home(&reference)?;
        let directory = Arc::new(Only { directory: Arc::clone(&client.directory), credentials });
        let proxies = client.transport.proxies.clone();
        let other =
            Self::with_proxies(directory, client.transport.timeouts.clone(), client.limits.clone(), proxies);
        let greet = |endpoint: &Endpoint| {
            let mut ask = Ask::get(&reference, "").by(Method::GET);
            ask.target = Target::Path("/v2/".to_owned());
            ask.scopes.clear();
            successful(other.client.send(endpoint, &ask)?, "registry").map(drop)
        };
        other.client.first(&[endpoint], greet).map_err(failed)
    }
}

/// A directory with these credentials and no others.
struct Only {
    directory: Arc<dyn Directory>,
    credentials: Credentials,
}

impl Directory for Only {
    fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, DirectoryError> {
        self.directory.endpoints(reference)
    }

    fn home(&self, reference: &Reference) -> Result<Endpoint, DirectoryError> {
        self.directory.home(reference)
    }

    fn credentials(&self, _: &str, _: &str) -> Result<Option<Credentials>, DirectoryError> {
        Ok(Some(self.credentials.clone()))
    }

    fn certificates(&self, registry: &str) -> Result<Certificates, DirectoryError> {
        self.directory.certificates(registry)
    }
}
