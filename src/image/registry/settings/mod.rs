//! What the machine and its user say about registries: where a name may be had, with which credentials and
//! certificates, and why.
//!
//! In: registries.conf and its drop-ins ([`conf`] one file, [`registries`] all of them), certs.d, authentication
//! files and credential helpers ([`auth`]); [`SettingsOptions`] says where they are. Out: answers for one name.
//! registries.conf is read once; certificates and credentials are read when they are asked for.

pub mod auth;
mod certificates;
mod conf;
mod endpoints;
mod error;
mod explain;
mod files;
mod options;
mod place;
mod registries;
mod short;

use std::path::{Path, PathBuf};

pub use error::{HelperProblem, SettingsError};
pub use explain::{Asked, Certified, Explanation, Known, Meant};
pub use options::{AuthFiles, RegistriesFiles, SettingsOptions};
pub use place::{Place, PlaceError};
pub use short::Candidate;

use super::{Certificates, Credentials, Directory, DirectoryError, Endpoint};
use crate::image::{Name, Reference};
use registries::Registries;

/// The settings of one command.
#[derive(Debug)]
pub struct Settings {
    options: SettingsOptions,
    registries: Registries,
}

impl Settings {
    /// Reads registries.conf.
    pub fn load(options: &SettingsOptions) -> Result<Self, SettingsError> {
        let registries = Registries::load(&options.registries)?;
        Ok(Self { options: options.clone(), registries })
    }

    /// What `text`, the content of `path`, says alone; there are neither credentials nor certificates then.
    pub fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let registries = Registries::parse(path, text)?;
        let mut options = SettingsOptions::from_variables(0, None, |_| None);
        options.auth = AuthFiles { primary: None, chosen_by: None, others: Vec::new() };
        options.certificates = Vec::new();
        Ok(Self { options, registries })
    }

    /// The whole names that `name` may stand for, in the order of trying. Only a short name can have several.
    pub fn candidates(&self, name: &Name) -> Result<Vec<Reference>, SettingsError> {
        let candidates = self.explained_candidates(name)?;
        Ok(candidates.into_iter().map(|candidate| candidate.reference).collect())
    }

    /// The same with the reason of each.
    pub fn explained_candidates(&self, name: &Name) -> Result<Vec<Candidate>, SettingsError> {
        self.registries.candidates(name)
    }

    /// Where to ask for `reference`, in order: mirrors, then the registry itself.
    pub fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, SettingsError> {
        let mut endpoints = self.registries.endpoints(reference)?;
        endpoints.iter_mut().for_each(|endpoint| self.override_verification(endpoint));
        Ok(endpoints)
    }

    /// What `reference` itself says, to push and to log in to: mirrors and other locations are for pulls.
    pub fn home(&self, reference: &Reference) -> Result<Endpoint, SettingsError> {
        let mut endpoint = self.registries.home(reference)?;
        self.override_verification(&mut endpoint);
        Ok(endpoint)
    }

    fn override_verification(&self, endpoint: &mut Endpoint) {
        endpoint.insecure = self.options.tls_verify.map_or(endpoint.insecure, |verify| !verify);
    }

    /// What is known to `registry` for its `repository`. Of the sources that are set up the first that has
    /// anything counts; a broken one is an error only where no other has an answer.
    pub fn credentials(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credentials>, SettingsError> {
        auth::find(&self.options, &self.registries, registry, repository)
    }

    /// What `registry`'s TLS needs beside the system's roots.
    pub fn certificates(&self, registry: &str) -> Result<Certificates, SettingsError> {
        self.certificates_directory(registry)
            .map_or_else(|| Ok(Certificates::default()), |directory| certificates::read(&directory))
    }

    /// The directory that those certificates are from.
    pub fn certificates_directory(&self, registry: &str) -> Option<PathBuf> {
        certificates::directory(&self.options.certificates, registry)
    }

    /// What of the files was ignored, a line each.
    pub fn notes(&self) -> &[String] {
        &self.registries.notes
    }

    /// The files of registries.conf that were read, in their order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.registries.read.iter().map(PathBuf::as_path)
    }
}

impl Directory for Settings {
    fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, DirectoryError> {
        Ok(self.endpoints(reference)?)
    }

    fn home(&self, reference: &Reference) -> Result<Endpoint, DirectoryError> {
        Ok(self.home(reference)?)
    }

    fn credentials(&self, registry: &str, repository: &str) -> Result<Option<Credentials>, DirectoryError> {
        Ok(self.credentials(registry, repository)?)
    }

    fn certificates(&self, registry: &str) -> Result<Certificates, DirectoryError> {
        Ok(self.certificates(registry)?)
    }
}
