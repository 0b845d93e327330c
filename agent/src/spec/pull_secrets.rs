//! Logins for images, of Secrets as `docker login` writes them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{Pod, Secret};
use serde::Deserialize;

use crate::cri::api::AuthConfig;
use crate::objects::{Objects, Typed as _};

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Login>,
}

#[derive(Deserialize)]
struct Login {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
    #[serde(default, rename = "registrytoken")]
    registry_token: String,
}

/// The logins for an image of a Pod: of its imagePullSecrets, those that are there. The more of the image's name a login names, the
/// earlier it comes; of equal ones those of the Secret that is named first.
pub fn pull_secrets(pod: &Pod, image: &str, objects: &Objects) -> Vec<AuthConfig> {
    let names = pod.spec.as_ref().and_then(|spec| spec.image_pull_secrets.as_deref()).unwrap_or_default();
    let found = names.iter().filter_map(|name| objects.find::<Secret>(pod.namespace(), &name.name));
    let target = Place::of_image(image);
    let mut logins: Vec<(Place, AuthConfig)> = Vec::new();
    for (registry, login) in found.flat_map(logins_of) {
        let place = Place::of_registry(&registry);
        if place.covers(&target) {
            logins.extend(auth(login, &registry).map(|auth| (place, auth)));
        }
    }
    logins.sort_by_key(|(place, _)| (std::cmp::Reverse(place.path.len()), place.host.contains('*')));
    logins.into_iter().map(|(_, auth)| auth).collect()
}

/// Those of a Pod's imagePullSecrets that are not there.
pub fn missing_pull_secrets<'a>(pod: &'a Pod, objects: &Objects) -> Vec<&'a str> {
    let names = pod.spec.as_ref().and_then(|spec| spec.image_pull_secrets.as_deref()).unwrap_or_default();
    let names = names.iter().map(|name| name.name.as_str()).filter(|name| !name.is_empty());
    names.filter(|name| objects.find::<Secret>(pod.namespace(), name).is_none()).collect()
}

fn logins_of(secret: &Secret) -> BTreeMap<String, Login> {
    let data =
        |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    // What is not right was said at apply, and says nothing here: it is secret.
    if let Some(json) = data(".dockerconfigjson") {
        return serde_json::from_slice::<Config>(json).map(|config| config.auths).unwrap_or_default();
    }
    data(".dockercfg").and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default()
}

fn auth(login: Login, registry: &str) -> Option<AuthConfig> {
    let (mut username, mut password) = (login.username, login.password);
    if username.is_empty() && !login.auth.is_empty() {
        // Padding is left out by some.
        let bytes = STANDARD.decode(login.auth.trim().as_bytes()).ok().or_else(|| {
            base64::engine::general_purpose::STANDARD_NO_PAD.decode(login.auth.trim().as_bytes()).ok()
        })?;
        let text = String::from_utf8(bytes).ok()?;
        let (name, word) = text.split_once(':')?;
        (username, password) = (name.to_owned(), word.trim_end_matches('\0').to_owned());
    }
    Some(AuthConfig {
        username,
        password,
        auth: String::new(),
        server_address: registry.to_owned(),
        identity_token: login.identity_token,
        registry_token: login.registry_token,
    })
}

/// A registry and a path in it.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// With its port.
    host: String,
    /// Without slashes at its ends.
    path: String,
}

impl Place {
    /// As in a login: `https://index.docker.io/v1/`, `*.example.org:5000/team`.
    fn of_registry(registry: &str) -> Self {
        let plain = registry.strip_prefix("https://").or_else(|| registry.strip_prefix("http://"));
        let (host, path) =
            plain.unwrap_or(registry).split_once('/').unwrap_or((plain.unwrap_or(registry), ""));
        let path = format!("/{path}/");
        let path = path.strip_prefix("/v1/").or_else(|| path.strip_prefix("/v2/")).unwrap_or(&path);
        Self { host: canonical(host), path: path.trim_matches('/').to_owned() }
    }

    /// As in a Pod: `nginx:1`, `example.org:5000/team/web@sha256:…`.
    fn of_image(image: &str) -> Self {
        let name = image.split('@').next().unwrap_or_default();
        let (host, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path.to_owned()),
            Some(_) => ("docker.io", name.to_owned()),
            None => ("docker.io", format!("library/{name}")),
        };
        let path = path.split(':').next().unwrap_or_default().to_owned();
        Self { host: canonical(host), path }
    }

    /// Each part of a host may have wildcards; a path is of whole parts.
    fn covers(&self, image: &Self) -> bool {
        let port = |host: &str| host.rsplit_once(':').map(|(_, port)| port.to_owned());
        let parts = |host: &str| {
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
            name.split('.').map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        let (globs, names) = (parts(&self.host), parts(&image.host));
        let hosts = port(&self.host) == port(&image.host)
            && globs.len() == names.len()
            && globs.iter().zip(&names).all(|(glob, name)| matches(glob.as_bytes(), name.as_bytes()));
        let path = match image.path.strip_prefix(&self.path) {
            Some(rest) => self.path.is_empty() || rest.is_empty() || rest.starts_with('/'),
            None => false,
        };
        hosts && path
    }
}

/// Docker's registry has more than one name.
fn canonical(host: &str) -> String {
    match host.to_ascii_lowercase().as_str() {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => "docker.io".into(),
        host => host.into(),
    }
}

/// `*` is any number of characters, `?` one.
fn matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut glob_at, mut name_at) = (0, 0);
    // The last star, and where what it took ends: only that one has to be tried again.
    let mut star = None;
    while name_at < name.len() {
        match glob.get(glob_at) {
            Some(b'*') => {
                star = Some((glob_at, name_at));
                glob_at += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == name[name_at] => {
                glob_at += 1;
                name_at += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                (glob_at, name_at) = (star_at + 1, taken + 1);
            }
        }
    }
    glob[glob_at..].iter().all(|byte| *byte == b'*')
}
