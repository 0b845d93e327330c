//! Registries: the OCI distribution specification's client, and what says where and with which credentials to ask.

mod types;

pub use types::{Certificates, ClientCertificate, Credentials, Directory, DirectoryError, Endpoint, Secret};
