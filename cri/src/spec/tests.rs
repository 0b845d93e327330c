//! Wishes and what becomes of them.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::config::RuntimeProfile;

/// A host of the test's.
#[derive(Debug, Default)]
pub(super) struct FakeHost {
    /// Path and content.
    pub files: Vec<(&'static str, &'static str)>,
    /// Where links lead.
    pub links: Vec<(&'static str, &'static str)>,
    /// Paths that are not there.
    pub missing: Vec<&'static str>,
    /// What is at a path, or below it.
    pub devices: Vec<(&'static str, Vec<(&'static str, Node)>)>,
    /// What everything is on.
    pub mounted: Mounted,
}

fn not_found() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOENT)
}

impl HostFiles for FakeHost {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.files.iter().find(|(name, _)| Path::new(name) == path);
        file.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(not_found)
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        if self.missing.iter().any(|missing| Path::new(missing) == path) {
            return Err(not_found());
        }
        let link = self.links.iter().find(|(name, _)| Path::new(name) == path);
        Ok(link.map_or(path, |(_, target)| Path::new(target)).to_owned())
    }

    fn devices(&self, path: &Path) -> io::Result<Vec<(PathBuf, Node)>> {
        let found = self.devices.iter().find(|(name, _)| Path::new(name) == path);
        let found = found.map(|(_, nodes)| nodes).ok_or_else(not_found)?;
        Ok(found.iter().map(|(name, node)| (PathBuf::from(name), node.clone())).collect())
    }

    fn mounted(&self, path: &Path) -> io::Result<Mounted> {
        match self.missing.iter().any(|missing| Path::new(missing) == path) {
            true => Err(not_found()),
            false => Ok(self.mounted.clone()),
        }
    }
}

/// All that a request is made of.
#[derive(Debug)]
pub(super) struct Wish {
    pub pod: Pod,
    pub container: api::ContainerConfig,
    pub image: ImageFacts,
    pub user: User,
    pub files: PodFiles,
    pub pid_namespace: Option<PathBuf>,
    pub profile: RuntimeProfile,
    pub config: Config,
    pub host: HostFacts,
    pub host_files: FakeHost,
}

impl Wish {
    /// A Pod with namespaces of its own, and a container in it that says `PROGRAM` alone.
    pub fn new() -> Self {
        let metadata = api::PodSandboxMetadata {
            name: "web".into(),
            namespace: "shop".into(),
            uid: "u-1".into(),
            attempt: 0,
        };
        let config = api::PodSandboxConfig {
            metadata: Some(metadata),
            hostname: "web-0".into(),
            ..Default::default()
        };
        let pod = Pod {
            schema: 1,
            id: "p0".into(),
            config,
            handler: String::new(),
            created: 0,
            state: crate::state::PodState::Ready,
            network: crate::state::PodNetwork {
                namespace: Some("/run/netns/p0".into()),
                ..Default::default()
            },
            ipc: Some("/run/p0/ipc".into()),
            uts: Some("/run/p0/uts".into()),
            init: None,
            cgroup_parent: "/kubepods/p0".into(),
        };
        let container = api::ContainerConfig {
            metadata: Some(api::ContainerMetadata { name: "server".into(), attempt: 0 }),
            image: Some(api::ImageSpec { image: "sha256:1".into(), ..Default::default() }),
            command: vec!["/bin/server".into()],
            ..Default::default()
        };
        let capabilities = u64::MAX;
        Self {
            pod,
            container,
            image: ImageFacts::default(),
            user: User::default(),
            files: PodFiles::default(),
            pid_namespace: Some("/proc/7/ns/pid".into()),
            profile: RuntimeProfile::default(),
            config: Config::default(),
            host: HostFacts {
                capabilities,
                lowest_oom_score_adj: -1000,
                hostname: "node".into(),
                ..Default::default()
            },
            host_files: FakeHost { devices: vec![("/dev", Vec::new())], ..FakeHost::default() },
        }
    }

    /// Changed by `change`.
    pub fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut wish = Self::new();
        change(&mut wish);
        wish
    }

    pub fn security(&mut self) -> &mut api::LinuxContainerSecurityContext {
        self.container.linux.get_or_insert_default().security_context.get_or_insert_default()
    }

    pub fn resources(&mut self) -> &mut api::LinuxContainerResources {
        self.container.linux.get_or_insert_default().resources.get_or_insert_default()
    }

    pub fn pods_security(&mut self) -> &mut api::LinuxSandboxSecurityContext {
        self.pod.config.linux.get_or_insert_default().security_context.get_or_insert_default()
    }

    /// Privileged in a privileged Pod.
    pub fn privileged(&mut self) {
        self.pods_security().privileged = true;
        self.security().privileged = true;
    }

    pub fn made(&self) -> Result<Made, Invalid> {
        container(&Request {
            id: "c0",
            pod: &self.pod,
            container: &self.container,
            image: &self.image,
            user: self.user.clone(),
            files: self.files.clone(),
            pid_namespace: self.pid_namespace.clone(),
            cgroup: "/kubepods/p0/c0".into(),
            root: "/images/c0/rootfs".into(),
            profile: &self.profile,
            config: &self.config,
            host: &self.host,
            host_files: &self.host_files,
        })
    }

    /// config.json, which the library takes.
    pub fn json(&self) -> Value {
        let made = self.made().unwrap();
        let bytes = serde_json::to_vec(&made.spec).unwrap();
        rcrun::spec::parse(&bytes).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    pub fn error(&self) -> String {
        self.made().unwrap_err().to_string()
    }
}

#[test]
fn a_plain_container_gets_the_defaults() {
    let config = Wish::new().json();
    assert_eq!(config["process"]["args"], json!(["/bin/server"]));
    assert_eq!(config["process"]["cwd"], "/");
    assert_eq!(config["root"], json!({"path": "/images/c0/rootfs", "readonly": false}));
    assert_eq!(config["linux"]["cgroupsPath"], "/kubepods/p0/c0");
    assert_eq!(config["linux"]["maskedPaths"], json!(defaults::MASKED));
    assert_eq!(config["linux"]["readonlyPaths"], json!(defaults::READ_ONLY));
    assert!(config["linux"].get("seccomp").is_none());
    assert!(config.get("hostname").is_none());
    assert_eq!(config["linux"]["resources"]["devices"], json!([{"allow": false, "access": "rwm"}]));
}

#[test]
fn masks_are_those_of_the_request() {
    let config = Wish::with(|wish| {
        wish.security().masked_paths = vec!["/bin/ls".into()];
        wish.security().readonly_paths = vec!["/tmp".into()];
    });
    let config = config.json();
    assert_eq!(config["linux"]["maskedPaths"], json!(["/bin/ls"]));
    assert_eq!(config["linux"]["readonlyPaths"], json!(["/tmp"]));
    // An unmasked /proc.
    let config = Wish::with(|wish| *wish.security() = Default::default()).json();
    assert_eq!(config["linux"]["maskedPaths"], json!([]));
    let mut wish = Wish::with(Wish::privileged);
    wish.security().masked_paths = vec!["/bin/ls".into()];
    assert_eq!(wish.json()["linux"]["maskedPaths"], json!([]));
}

#[test]
fn a_privileged_container_needs_a_privileged_pod() {
    let error = Wish::with(|wish| wish.security().privileged = true).error();
    assert!(
        error.starts_with("linux.security_context.privileged: its Pod sandbox was made without it"),
        "{error}"
    );
}

#[test]
fn other_tools_find_pod_and_container_by_annotations() {
    let wish = Wish::with(|wish| {
        wish.container.image.as_mut().unwrap().user_specified_image = "docker.io/server:1".into();
        wish.container.annotations.insert("org.systemd.property.User".into(), "'root'".into());
    });
    assert_eq!(
        wish.json()["annotations"],
        json!({
            "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "p0",
            "io.kubernetes.cri.sandbox-name": "web", "io.kubernetes.cri.sandbox-namespace": "shop",
            "io.kubernetes.cri.sandbox-uid": "u-1", "io.kubernetes.cri.container-name": "server",
            "io.kubernetes.cri.image-name": "docker.io/server:1",
        })
    );
}

#[test]
fn what_comes_later_is_refused() {
    let cdi = Wish::with(|wish| {
        wish.container.cdi_devices = vec![api::CdiDevice { name: "vendor.com/gpu=0".into() }];
    });
    assert_eq!(cdi.error(), "CDI_devices: \"vendor.com/gpu=0\": CDI is not supported yet");
}
