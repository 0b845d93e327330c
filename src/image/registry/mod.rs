//! Registries: the OCI distribution specification's client, and what says where and with which credentials to ask.

mod error;
mod proxy;
mod resolver;
pub mod settings;
mod timeouts;
mod tls;
mod transport;
mod types;

pub use error::{Failure, Failures, RegistryError, Words};
pub use timeouts::{TimeoutError, Timeouts};
pub use types::{Certificates, ClientCertificate, Credentials, Directory, DirectoryError, Endpoint, Secret};
