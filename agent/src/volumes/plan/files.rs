//! Volumes of files: ConfigMaps, Secrets, facts of the Pod, and several of them in one.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, DownwardAPIVolumeFile, DownwardAPIVolumeSource, KeyToPath, Pod,
    ProjectedVolumeSource, Secret, SecretVolumeSource,
};

use super::{Content, File, downward};
use crate::objects::{Key, Kind, Object, Objects, Typed as _};

/// Of files whose mode nobody says.
const MODE: u32 = 0o644;

/// The files of a volume.
#[derive(Default)]
pub(super) struct Files {
    pub files: BTreeMap<String, File>,
    /// Whether it has to be on a tmpfs.
    pub secret: bool,
}

/// Which object's keys go where.
struct Selection<'a> {
    kind: Kind,
    name: &'a str,
    items: Option<&'a [KeyToPath]>,
    optional: bool,
    mode: u32,
}

pub(super) fn of_config_map(
    pod: &Pod,
    source: &ConfigMapVolumeSource,
    objects: &Objects,
) -> Result<Files, String> {
    let mut files = Files::default();
    files.add_keys(
        pod,
        objects,
        &Selection {
            kind: Kind::ConfigMap,
            name: &source.name,
            items: source.items.as_deref(),
            optional: source.optional == Some(true),
            mode: mode(source.default_mode, MODE)?,
        },
    )?;
    Ok(files)
}

pub(super) fn of_secret(pod: &Pod, source: &SecretVolumeSource, objects: &Objects) -> Result<Files, String> {
    let mut files = Files::default();
    files.add_keys(
        pod,
        objects,
        &Selection {
            kind: Kind::Secret,
            name: source.secret_name.as_deref().unwrap_or_default(),
            items: source.items.as_deref(),
            optional: source.optional == Some(true),
            mode: mode(source.default_mode, MODE)?,
        },
    )?;
    Ok(files)
}

pub(super) fn of_downward_api(pod: &Pod, source: &DownwardAPIVolumeSource) -> Result<Files, String> {
    let mut files = Files::default();
    files.add_facts(pod, source.items.as_deref().unwrap_or_default(), mode(source.default_mode, MODE)?)?;
    Ok(files)
}

pub(super) fn of_projected(
    pod: &Pod,
    source: &ProjectedVolumeSource,
    objects: &Objects,
) -> Result<Files, String> {
    let mut files = Files::default();
    let mode = mode(source.default_mode, MODE)?;
    for (index, source) in source.sources.iter().flatten().enumerate() {
        if let Some(map) = &source.config_map {
            files.add_keys(
                pod,
                objects,
                &Selection {
                    kind: Kind::ConfigMap,
                    name: &map.name,
                    items: map.items.as_deref(),
                    optional: map.optional == Some(true),
                    mode,
                },
            )?;
        } else if let Some(secret) = &source.secret {
            files.add_keys(
                pod,
                objects,
                &Selection {
                    kind: Kind::Secret,
                    name: &secret.name,
                    items: secret.items.as_deref(),
                    optional: secret.optional == Some(true),
                    mode,
                },
            )?;
        } else if let Some(downward) = &source.downward_api {
            files.add_facts(pod, downward.items.as_deref().unwrap_or_default(), mode)?;
        } else {
            return Err(format!("projected.sources[{index}]: not supported by this agent"));
        }
    }
    Ok(files)
}

impl Files {
    fn add_keys(&mut self, pod: &Pod, objects: &Objects, wanted: &Selection<'_>) -> Result<(), String> {
        self.secret |= wanted.kind == Kind::Secret;
        let key = Key::new(wanted.kind, pod.namespace(), wanted.name);
        let kind = wanted.kind.name().to_ascii_lowercase();
        let Some(object) = objects.get(&key) else {
            return match wanted.optional {
                true => Ok(()),
                false => Err(format!("{kind} {:?} not found", wanted.name)),
            };
        };
        let content = |key: &str| Content::Key { object: object.clone(), key: key.into() };
        let Some(items) = wanted.items.filter(|items| !items.is_empty()) else {
            for key in keys(object) {
                self.put(key, wanted.mode, content(key))?;
            }
            return Ok(());
        };
        for item in items {
            if keys(object).any(|key| key == item.key) {
                self.put(&item.path, mode(item.mode, wanted.mode)?, content(&item.key))?;
            } else if !wanted.optional {
                return Err(format!("{kind} {:?} has no key {:?}", wanted.name, item.key));
            }
        }
        Ok(())
    }

    fn add_facts(
        &mut self,
        pod: &Pod,
        items: &[DownwardAPIVolumeFile],
        default_mode: u32,
    ) -> Result<(), String> {
        for item in items {
            let text = downward::text(pod, item)?;
            self.put(&item.path, mode(item.mode, default_mode)?, Content::Text(text))?;
        }
        Ok(())
    }

    /// The last one of a path wins, as in Kubernetes.
    fn put(&mut self, path: &str, mode: u32, content: Content) -> Result<(), String> {
        let parts: Option<Vec<&str>> = Path::new(path)
            .components()
            .map(|part| match part {
                Component::Normal(part) => part.to_str(),
                _ => None,
            })
            .collect();
        let parts = parts.filter(|parts| !parts.is_empty() && !parts[0].starts_with(".."));
        let Some(parts) = parts else {
            return Err(format!("path {path:?}: a relative path that does not begin with .. is needed"));
        };
        let path = parts.join("/");
        let below =
            |path: &str, other: &str| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        if let Some(other) = self.files.keys().find(|other| below(&path, other) || below(other, &path)) {
            return Err(format!("path {path:?}: one of {path:?} and {other:?} would be file and directory"));
        }
        self.files.insert(path, File { mode, content });
        Ok(())
    }
}

fn keys(object: &Object) -> impl Iterator<Item = &str> {
    let map = ConfigMap::of(object);
    let text = map.and_then(|map| map.data.as_ref()).into_iter().flat_map(BTreeMap::keys);
    let binary = map.and_then(|map| map.binary_data.as_ref()).into_iter().flat_map(BTreeMap::keys);
    let secret = Secret::of(object).and_then(|secret| secret.data.as_ref());
    text.chain(binary).chain(secret.into_iter().flat_map(BTreeMap::keys)).map(String::as_str)
}

fn mode(mode: Option<i32>, default: u32) -> Result<u32, String> {
    match mode.map(u32::try_from) {
        None => Ok(default),
        Some(Ok(mode)) if mode <= 0o777 => Ok(mode),
        Some(_) => Err(format!("mode {}: 0 to 0777 is needed", mode.unwrap_or_default())),
    }
}
