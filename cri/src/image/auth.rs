//! Credentials that come with a pull: they go before those of the machine's files, and to nobody but the image's registry.

use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rcrun::image::Reference;
use rcrun::image::reference::DOCKER_IO;
use rcrun::image::registry::settings::Settings;
use rcrun::image::registry::{Certificates, Credentials, Directory, DirectoryError, Endpoint, Secret};
use tonic::Status;

use crate::api;

const SOURCE: &str = "the pull request";

/// Reads what came with a request; None where that says nothing.
pub fn credentials(auth: Option<&api::AuthConfig>) -> Result<Option<Credentials>, Status> {
    let Some(auth) = auth else { return Ok(None) };
    let password = |user: &str, password: &str| Secret::Password {
        user: user.to_owned(),
        password: password.to_owned(),
    };
    let secret = if !auth.username.is_empty() {
        password(&auth.username, &auth.password)
    } else if !auth.auth.is_empty() {
        let (user, secret) = decoded(&auth.auth)
            .ok_or_else(|| Status::invalid_argument("auth.auth is no base64 of USER:PASSWORD"))?;
        password(&user, &secret)
    } else if !auth.identity_token.is_empty() {
        Secret::IdentityToken(auth.identity_token.clone())
    } else if !auth.registry_token.is_empty() {
        Secret::RegistryToken(auth.registry_token.clone())
    } else {
        return Ok(None);
    };
    Ok(Some(Credentials { secret, source: SOURCE.to_owned() }))
}

/// Docker writes padding, others do not, and some end with NUL bytes.
fn decoded(text: &str) -> Option<(String, String)> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(&STANDARD, config).decode(text.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// The machine's settings, and these credentials for one image's registry.
pub struct Directed {
    settings: Arc<Settings>,
    credentials: Option<Credentials>,
    /// Who gets them.
    registries: Vec<String>,
}

impl Directed {
    /// `server` is what the request says that the credentials are for: empty, a host, or an address with https.
    pub fn new(
        settings: Arc<Settings>,
        reference: &Reference,
        credentials: Option<Credentials>,
        server: &str,
    ) -> Self {
        let mut registries = Vec::new();
        if server.is_empty() || host(server) == reference.registry() {
            registries.push(reference.registry().to_owned());
            // registries.conf may say that this registry is elsewhere. Mirrors are others' registries.
            let endpoints = settings.endpoints(reference).unwrap_or_default().into_iter();
            registries.extend(
                endpoints
                    .filter(|endpoint| !endpoint.mirror)
                    .map(|endpoint| endpoint.reference.registry().to_owned()),
            );
        }
        Self { settings, credentials, registries }
    }
}

/// `docker.io` of `https://index.docker.io/v1/`.
fn host(server: &str) -> String {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default().to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_IO.to_owned(),
        _ => host,
    }
}

impl Directory for Directed {
    fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, DirectoryError> {
        Ok(self.settings.endpoints(reference)?)
    }

    fn home(&self, reference: &Reference) -> Result<Endpoint, DirectoryError> {
        Ok(self.settings.home(reference)?)
    }

    fn credentials(&self, registry: &str, repository: &str) -> Result<Option<Credentials>, DirectoryError> {
        match &self.credentials {
            Some(known) if self.registries.iter().any(|own| own == registry) => Ok(Some(known.clone())),
            _ => Ok(self.settings.credentials(registry, repository)?),
        }
    }

    fn certificates(&self, registry: &str) -> Result<Certificates, DirectoryError> {
        Ok(self.settings.certificates(registry)?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn said(auth: api::AuthConfig) -> Option<Secret> {
        credentials(Some(&auth)).unwrap().map(|found| found.secret)
    }

    fn password(user: &str, password: &str) -> Option<Secret> {
        Some(Secret::Password { user: user.to_owned(), password: password.to_owned() })
    }

    #[test]
    fn each_form_of_credentials_is_read() {
        let none = api::AuthConfig::default();
        assert!(credentials(None).unwrap().is_none() && said(none.clone()).is_none());
        let user = api::AuthConfig { username: "me".into(), password: "p:w".into(), ..none.clone() };
        assert!(said(user) == password("me", "p:w"));
        for text in ["bWU6cHc=", "bWU6cHc", "bWU6cHcAAA=="] {
            assert!(
                said(api::AuthConfig { auth: text.into(), ..none.clone() }) == password("me", "pw"),
                "{text}"
            );
        }
        let token = api::AuthConfig { identity_token: "t".into(), ..none.clone() };
        assert!(said(token) == Some(Secret::IdentityToken("t".into())));
        let token = api::AuthConfig { registry_token: "t".into(), ..none.clone() };
        assert!(said(token) == Some(Secret::RegistryToken("t".into())));
        for text in ["bWU=", "&", "gIA6gA=="] {
            let status =
                credentials(Some(&api::AuthConfig { auth: text.into(), ..none.clone() })).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
        }
    }

    #[test]
    fn they_are_shown_to_the_images_registry_alone() {
        let conf = "[[registry]]\nprefix = \"r.example\"\nlocation = \"real.example\"\n[[registry.mirror]]\nlocation = \"mirror.example\"\n";
        let settings = Arc::new(Settings::parse(Path::new("/r.conf"), conf).unwrap());
        let given =
            credentials(Some(&api::AuthConfig { username: "me".into(), ..Default::default() })).unwrap();
        let shown = |name: &str, server: &str, registry: &str| {
            let directed = Directed::new(settings.clone(), &name.parse().unwrap(), given.clone(), server);
            directed.credentials(registry, "a").unwrap().is_some()
        };
        for server in ["", "r.example", "https://r.example/v2/"] {
            assert!(shown("r.example/a", server, "r.example"));
            assert!(shown("r.example/a", server, "real.example"));
            assert!(!shown("r.example/a", server, "mirror.example"));
            assert!(!shown("r.example/a", server, "other.example"));
        }
        assert!(!shown("r.example/a", "other.example", "r.example"));
        assert!(shown("busybox", "https://index.docker.io/v1/", "docker.io"));
    }
}
