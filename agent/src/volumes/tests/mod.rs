//! Volumes with the real kernel, each test in a mount namespace of its own; and properties of what is pure.

mod atomic;
mod hostile;
mod kinds;
mod planning;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};
use rustix::mount::{MountPropagationFlags, mount_change};
use serde_json::{Value, json};

use super::{Plan, VolumeError};
use crate::objects::{Kind, Object, Objects, Typed as _};
use crate::spec::VolumeMount;

/// A machine for one test: its thread has mounts of its own, which end with it.
struct Machine {
    directory: tempfile::TempDir,
    objects: Objects,
}

impl Machine {
    /// None: it cannot be made here, which is said.
    fn new() -> Option<Self> {
        let thread = std::thread::current();
        let skip = |reason: &str| {
            use std::io::Write as _;
            let line = format!("SKIP {}: {reason}\n", thread.name().unwrap_or("?"));
            let _ = std::io::stderr().write_all(line.as_bytes());
        };
        if !rustix::process::geteuid().is_root() {
            skip("not root");
            return None;
        }
        // The thread has nothing of the file system in common with the others any more.
        #[allow(deprecated)]
        let alone = rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNS);
        if let Err(error) = alone {
            skip(&format!("no mount namespace: {error}"));
            return None;
        }
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("private");
        let directory = tempfile::tempdir().expect("a directory");
        // Some disks take seconds for what these tests make.
        let swap = super::mount::Swap::Allowed;
        super::mount::tmpfs(directory.path(), 0o755, None, swap).expect("a tmpfs");
        Some(Self { directory, objects: Objects::default() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn state(&self) -> PathBuf {
        self.path("state")
    }

    fn put(&mut self, kind: Kind, object: Value) {
        self.objects.insert(Object::from_value(kind, object).expect("an object"));
    }

    fn plan(&self, pod: &Pod) -> Result<Plan, VolumeError> {
        super::plan(pod, &self.objects)
    }

    fn directory(&self, pod: &Pod) -> PathBuf {
        super::directory(&self.state(), pod.uid())
    }

    /// Plans and prepares; where the volume `v` is.
    fn prepare(&self, pod: &Pod) -> Result<PathBuf, VolumeError> {
        let plan = self.plan(pod)?;
        super::prepare(&plan, &self.directory(pod))?;
        Ok(super::prepare::place(plan.volume("v").expect("the volume v"), &self.directory(pod))
            .expect("a place"))
    }

    fn mounts(&self, pod: &Pod) -> Result<Vec<VolumeMount>, VolumeError> {
        let container: &Container = &pod.spec.as_ref().expect("a spec").containers[0];
        let environment: BTreeMap<String, String> = [("NAME".to_owned(), "part".to_owned())].into();
        super::mounts(container, &self.plan(pod)?, &self.directory(pod), &environment, true)
    }

    fn tear_down(&self, pod: &Pod) {
        super::tear_down(&self.directory(pod)).expect("torn down");
        assert!(!self.directory(pod).exists());
        assert!(!self.state().join("secrets").join(pod.uid()).exists());
        let of_pod = self.directory(pod);
        let left: Vec<_> =
            mount_table().into_iter().filter(|path| Path::new(path).starts_with(&of_pod)).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for path in
            mount_table().iter().rev().filter(|path| Path::new(path).starts_with(self.directory.path()))
        {
            let _ = rustix::mount::unmount(path.as_str(), rustix::mount::UnmountFlags::DETACH);
        }
    }
}

fn mount_table() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
    table.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned).collect()
}

/// A Pod with one volume `v`, mounted with these fields.
fn pod(uid: &str, volume: &Value, mount: &Value, security: &Value) -> Pod {
    let mut volume = volume.clone();
    volume["name"] = "v".into();
    let mut mount = mount.clone();
    mount["name"] = "v".into();
    mount["mountPath"] = "/v".into();
    let pod = json!({
        "metadata": { "name": format!("pod-{uid}"), "namespace": "web", "uid": uid, "labels": { "app": "x" } },
        "spec": {
            "volumes": [volume],
            "securityContext": security,
            "containers": [{ "name": "c", "image": "i", "volumeMounts": [mount] }],
        },
    });
    serde_json::from_value(pod).expect("a Pod")
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::symlink_metadata(path).expect("metadata").mode() & 0o7777
}

fn group(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::symlink_metadata(path).expect("metadata").gid()
}
