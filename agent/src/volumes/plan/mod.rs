//! What a Pod's volumes are to be: plain data, decided from the objects as they are. No effects.

mod claim;
mod downward;
mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, HostPathVolumeSource, NFSVolumeSource, Pod, Volume as PodVolume,
};

use super::VolumeError;
use crate::objects::{Object, Objects, quantity};

/// What has to be there for a Pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Changes when anything of the plan does.
    pub revision: u64,
    pub(super) volumes: Vec<Volume>,
    pub(super) group: Option<Group>,
}

impl Plan {
    /// The first volume that is on a server, for which whoever looks at it may have to wait.
    pub fn served(&self) -> Option<String> {
        self.volumes.iter().find_map(|volume| match &volume.source {
            Source::Nfs { server, path, .. } => Some(format!("volume {}: nfs {server}:{path}", volume.name)),
            _ => None,
        })
    }

    /// Image volumes: their names, references and pull policies. Their images have to be there before a container is created.
    pub fn images(&self) -> impl Iterator<Item = (&str, &str, Option<&str>)> {
        self.volumes.iter().filter_map(|volume| match &volume.source {
            Source::Image { reference, pull_policy } => {
                Some((volume.name.as_str(), reference.as_str(), pull_policy.as_deref()))
            }
            _ => None,
        })
    }

    pub(super) fn volume(&self, name: &str) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.name == name)
    }
}

/// The Pod's fsGroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub id: u32,
    /// fsGroupChangePolicy: OnRootMismatch.
    pub only_on_mismatch: bool,
}

#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Volume {
    pub name: String,
    pub source: Source,
    /// No container may write, whatever its mount says.
    pub read_only: bool,
}

#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) enum Source {
    /// A directory on disk; bytes.
    Disk { limit: Option<u64> },
    /// A tmpfs; bytes.
    Memory { limit: Option<u64> },
    /// Files by their paths.
    Files { files: BTreeMap<String, File>, secret: bool },
    /// What is on the machine.
    HostPath { path: PathBuf, kind: HostPathKind },
    /// A PersistentVolume on the machine.
    Local { path: PathBuf },
    /// A file system of a server.
    Nfs { server: String, path: String, options: Vec<String> },
    /// An image.
    Image { reference: String, pull_policy: Option<String> },
}

/// What a hostPath has to be, or is made to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum HostPathKind {
    Any,
    DirectoryOrCreate,
    Directory,
    FileOrCreate,
    File,
    Socket,
    CharDevice,
    BlockDevice,
}

/// A file of a volume.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct File {
    pub mode: u32,
    pub content: Content,
}

/// What is in a file. Objects are shared, not copied.
#[derive(Clone, PartialEq)]
pub(super) enum Content {
    Text(String),
    /// The value of a key of a ConfigMap or a Secret.
    Key {
        object: Object,
        key: String,
    },
}

impl Content {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Key { object: Object::ConfigMap(map), key } => {
                let text = map.data.as_ref().and_then(|data| data.get(key)).map(String::as_bytes);
                let binary = || map.binary_data.as_ref()?.get(key).map(|bytes| bytes.0.as_slice());
                text.or_else(binary).unwrap_or_default()
            }
            Self::Key { object: Object::Secret(secret), key } => {
                let bytes = secret.data.as_ref().and_then(|data| data.get(key));
                bytes.map(|bytes| bytes.0.as_slice()).unwrap_or_default()
            }
            Self::Key { .. } => &[],
        }
    }
}

/// Without what it is: that may be a secret.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text"),
            Self::Key { object, key } => write!(f, "{} {key}", object.key()),
        }
    }
}

/// An object's content is what it is by its uid and its revision.
impl Hash for Content {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Text(text) => text.hash(state),
            Self::Key { object, key } => {
                object.uid().hash(state);
                object.metadata().resource_version.hash(state);
                key.hash(state);
            }
        }
    }
}

/// See [`super::plan`].
pub(super) fn of(pod: &Pod, objects: &Objects) -> Result<Plan, VolumeError> {
    let Some(spec) = &pod.spec else { return Ok(Plan { revision: 0, volumes: Vec::new(), group: None }) };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mounts = containers.flat_map(|container| container.volume_mounts.iter().flatten());
    let mounted: BTreeSet<&str> = mounts.map(|mount| mount.name.as_str()).collect();
    let mut volumes = Vec::new();
    // One that nobody mounts is not asked for, as kubelet has it.
    for volume in spec.volumes.iter().flatten().filter(|volume| mounted.contains(volume.name.as_str())) {
        let failed = |message| VolumeError { volume: volume.name.clone(), message };
        if !is_name(&volume.name) {
            return Err(failed("its name is not one".into()));
        }
        volumes.push(of_volume(pod, volume, objects).map_err(failed)?);
    }
    let security = spec.security_context.as_ref();
    let group = security.and_then(|security| u32::try_from(security.fs_group?).ok()).map(|id| Group {
        id,
        only_on_mismatch: security.and_then(|security| security.fs_group_change_policy.as_deref())
            == Some("OnRootMismatch"),
    });
    let mut hasher = DefaultHasher::new();
    (&volumes, &group).hash(&mut hasher);
    Ok(Plan { revision: hasher.finish(), volumes, group })
}

/// See [`super::empty_directories`].
pub(super) fn empty_directories(pod: &Pod) -> Plan {
    let all = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let volumes = all.filter(|volume| is_name(&volume.name)).filter_map(|volume| {
        let source = of_empty_dir(pod, volume.empty_dir.as_ref()?).ok()?;
        Some(Volume { name: volume.name.clone(), source, read_only: false })
    });
    Plan { revision: 0, volumes: volumes.collect(), group: None }
}

/// Whether it can be a directory's.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && !name.starts_with('.')
}

fn of_volume(pod: &Pod, volume: &PodVolume, objects: &Objects) -> Result<Volume, String> {
    let name = volume.name.clone();
    let plain = |source| Ok(Volume { name: name.clone(), source, read_only: false });
    let files = |files: files::Files| {
        let source = Source::Files { files: files.files, secret: files.secret };
        Ok(Volume { name: name.clone(), source, read_only: true })
    };
    if let Some(empty) = &volume.empty_dir {
        plain(of_empty_dir(pod, empty)?)
    } else if let Some(host) = &volume.host_path {
        plain(of_host_path(host)?)
    } else if let Some(source) = &volume.config_map {
        files(files::of_config_map(pod, source, objects)?)
    } else if let Some(source) = &volume.secret {
        files(files::of_secret(pod, source, objects)?)
    } else if let Some(source) = &volume.downward_api {
        files(files::of_downward_api(pod, source)?)
    } else if let Some(source) = &volume.projected {
        files(files::of_projected(pod, source, objects)?)
    } else if let Some(source) = &volume.nfs {
        Ok(Volume { name, source: of_nfs(source, &[]), read_only: source.read_only == Some(true) })
    } else if let Some(source) = &volume.persistent_volume_claim {
        claim::of(pod, name, source, objects)
    } else if let Some(image) = &volume.image {
        let reference = image.reference.clone().unwrap_or_default();
        let source = Source::Image { reference, pull_policy: image.pull_policy.clone() };
        Ok(Volume { name, source, read_only: true })
    } else {
        Err("its source is not supported by this agent".into())
    }
}

fn of_empty_dir(pod: &Pod, source: &EmptyDirVolumeSource) -> Result<Source, String> {
    let limit = match &source.size_limit {
        None => None,
        Some(quantity) => Some(
            quantity::whole(quantity)
                .and_then(|bytes| u64::try_from(bytes).ok())
                .ok_or_else(|| format!("emptyDir.sizeLimit: {}: not an amount of bytes", quantity.0))?,
        ),
    }
    // Kubernetes' zero is no limit.
    .filter(|limit| *limit > 0);
    match source.medium.as_deref().unwrap_or_default() {
        "" => Ok(Source::Disk { limit }),
        "Memory" => {
            let of_pod = memory_limit(pod);
            let limit = limit.map_or(of_pod, |limit| Some(of_pod.map_or(limit, |pod| pod.min(limit))));
            Ok(Source::Memory { limit })
        }
        other => Err(format!("emptyDir.medium: {other}: not supported by this agent")),
    }
}

/// What all containers together may have, if each has a limit.
fn memory_limit(pod: &Pod) -> Option<u64> {
    let spec = pod.spec.as_ref()?;
    let limits = spec.containers.iter().map(|container| {
        let quantity = container.resources.as_ref()?.limits.as_ref()?.get("memory")?;
        u64::try_from(quantity::whole(quantity)?).ok()
    });
    limits.sum::<Option<u64>>().filter(|sum| *sum > 0)
}

fn of_host_path(source: &HostPathVolumeSource) -> Result<Source, String> {
    let path = PathBuf::from(&source.path);
    let up = path.components().any(|part| part == std::path::Component::ParentDir);
    if !path.is_absolute() || up {
        return Err(format!("hostPath {}: an absolute path without .. is needed", source.path));
    }
    let kind = match source.type_.as_deref().unwrap_or_default() {
        "" => HostPathKind::Any,
        "DirectoryOrCreate" => HostPathKind::DirectoryOrCreate,
        "Directory" => HostPathKind::Directory,
        "FileOrCreate" => HostPathKind::FileOrCreate,
        "File" => HostPathKind::File,
        "Socket" => HostPathKind::Socket,
        "CharDevice" => HostPathKind::CharDevice,
        "BlockDevice" => HostPathKind::BlockDevice,
        other => return Err(format!("hostPath.type: {other}: no such type")),
    };
    Ok(Source::HostPath { path, kind })
}

fn of_nfs(source: &NFSVolumeSource, options: &[String]) -> Source {
    Source::Nfs { server: source.server.clone(), path: source.path.clone(), options: options.to_vec() }
}
