//! What commands that talk to registries have in common: their options, and what comes of them.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use rcrun::image::event::Listener;
use rcrun::image::policy::{Policy, PolicyFiles};
use rcrun::image::pull::{Between, PullOptions, pull};
use rcrun::image::registry::settings::{Settings, SettingsOptions};
use rcrun::image::registry::{Registry, Timeouts};
use rcrun::image::store::{self, Image, Store};
use rcrun::image::{Limits, Name, Platform, Reference};

use super::words;

/// Layers on their way at once, as with docker.
const JOBS: usize = 3;

/// Options of commands that talk to registries.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub struct RegistryFlags {
    /// File with credentials [default: $REGISTRY_AUTH_FILE, or as for login]
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// Verify the registry's certificate, and speak https alone [default: as registries.conf says]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = words::parsed_boolean)]
    pub tls_verify: Option<bool>,
    /// Layers to transfer at once [default: 3]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: Option<u16>,
}

impl RegistryFlags {
    /// registries.conf and all that belongs to it.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let mut options = SettingsOptions::from_environment(self.authfile.clone());
        options.tls_verify = self.tls_verify;
        Ok(Settings::load(&options)?)
    }

    /// How many transfers at once.
    pub fn jobs(&self) -> usize {
        self.jobs.map_or(JOBS, usize::from)
    }
}

/// Where images are pulled from.
pub struct Source {
    settings: Arc<Settings>,
    registry: Registry,
    policy: Policy,
    jobs: usize,
}

impl Source {
    /// Reads the settings and the policy; nothing is asked yet.
    pub fn new(flags: &RegistryFlags, signature_policy: Option<PathBuf>) -> anyhow::Result<Self> {
        let settings = Arc::new(flags.settings()?);
        let registry =
            Registry::new(settings.clone(), Timeouts::from_environment()?, Limits::from_environment()?);
        let policy = Policy::load(&PolicyFiles::from_environment(signature_policy))?;
        Ok(Self { settings, registry, policy, jobs: flags.jobs() })
    }

    /// The client.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The first of the repositories that `name` stands for.
    pub fn repository(&self, name: &Name) -> anyhow::Result<Reference> {
        let candidates = self.settings.candidates(name)?;
        candidates.into_iter().next().with_context(|| format!("{name} stands for no image"))
    }

    /// Pulls what `name` stands for: of a short name's registries the first that has it.
    pub fn pull(
        &self,
        store: &Store,
        name: &Name,
        (platform, keep_blobs): (Option<Platform>, bool),
        listener: &Listener,
    ) -> anyhow::Result<Image> {
        let options = PullOptions {
            platform,
            keep_blobs: keep_blobs || store::keep_blobs()?,
            jobs: self.jobs,
            rootless: rcrun::host::in_user_namespace(),
            limits: Limits::from_environment()?,
        };
        let between = Between { registry: &self.registry, store, policy: &self.policy, listener };
        let mut errors = Vec::new();
        for reference in self.settings.candidates(name)? {
            let reference = reference.or_latest();
            match pull(&between, &reference, &options) {
                Ok(image) => return Ok(image),
                Err(error) => errors.push(anyhow!(error).context(format!("pull {reference}"))),
            }
        }
        match errors.len() {
            0 | 1 => Err(errors.pop().unwrap_or_else(|| anyhow!("{name} stands for no image"))),
            _ => {
                let all: Vec<String> = errors.iter().map(|error| format!("{error:#}")).collect();
                Err(anyhow!("{}", all.join("; "))).with_context(|| format!("{name} could not be pulled"))
            }
        }
    }
}
