//! Handing a container's cgroup to the root of its user namespace, and finding what was handed to us.
//!
//! What is handed over is the directory and the files that let processes and subtrees be managed,
//! never a limit: cgroups(7), "Delegation", and /sys/kernel/cgroup/delegate.

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Spec};
use rustix::fs::{Access, AtFlags, Uid, accessat, chownat};
use rustix::io::Errno;

use super::{Cgroup, CgroupError, CgroupPath, Hierarchy};

/// The kernel's list of what a delegation hands over, from 4.15 on.
const LIST: &str = "/sys/kernel/cgroup/delegate";

/// What every kernel's list has.
const USUAL: &str = "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n";

/// The host's uid of the container's root where its cgroup is to be its own: it has a new user
/// namespace and a new cgroup namespace, and mounts the cgroup file system writable.
pub fn owner(spec: &Spec) -> Option<u32> {
    let linux = spec.linux().as_ref()?;
    let new = |kind| {
        let mut all = linux.namespaces().iter().flatten();
        all.any(|namespace| {
            namespace.typ() == kind
                && namespace.path().as_ref().is_none_or(|path| path.as_os_str().is_empty())
        })
    };
    if !new(LinuxNamespaceType::User) || !new(LinuxNamespaceType::Cgroup) || !mounts_writable(spec) {
        return None;
    }
    linux.uid_mappings().iter().flatten().find_map(host_root)
}

fn host_root(mapping: &LinuxIdMapping) -> Option<u32> {
    (mapping.container_id() == 0 && mapping.size() > 0).then_some(mapping.host_id())
}

fn mounts_writable(spec: &Spec) -> bool {
    spec.mounts().iter().flatten().any(|mount| {
        let is_cgroup = mount.typ().as_deref().is_some_and(|name| matches!(name, "cgroup" | "cgroup2"));
        let mut options = mount.options().iter().flatten().rev();
        let last = options.find(|option| matches!(option.as_str(), "ro" | "rro" | "rw" | "rrw"));
        is_cgroup && !last.is_some_and(|option| option.ends_with("ro"))
    })
}

impl Cgroup {
    /// Gives the cgroup's directory and the files that the kernel lists to the user `owner`.
    pub fn delegate(&self, owner: u32) -> Result<(), CgroupError> {
        let list = std::fs::read_to_string(LIST).unwrap_or_else(|_| USUAL.into());
        let files = list.lines().map(str::trim).filter(|file| !file.is_empty() && !file.contains('/'));
        for file in std::iter::once(".").chain(files) {
            match chownat(self.directory(), file, Some(Uid::from_raw(owner)), None, AtFlags::SYMLINK_NOFOLLOW)
            {
                // The list names files of controllers that this cgroup has not.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => {
                    let (file, cgroup) = (file.into(), self.name());
                    return Err(CgroupError::Delegate { file, cgroup, owner, errno });
                }
            }
        }
        Ok(())
    }
}

impl Hierarchy {
    /// Where an unprivileged user makes cgroups: beside its own cgroup, where processes do not stand in
    /// the way of controllers, else below it. None where neither is delegated.
    pub fn delegated(&self) -> Option<CgroupPath> {
        let own = self.own_path().ok()?;
        let parent = own.parent();
        [parent, own].into_iter().find(|path| {
            // The common ancestor's cgroup.procs must be writable too for a process to be born below.
            let writable = |file: &str| {
                let path = format!("{}/{file}", path.relative());
                accessat(self.directory(), path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
            };
            writable(".") && writable("cgroup.procs")
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn owner_of(edit: impl FnOnce(&mut Value)) -> Option<u32> {
        let mut config = json!({
            "ociVersion": "1.2.0",
            "mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["nosuid"]}],
            "linux": {
                "namespaces": [{"type": "user"}, {"type": "cgroup"}],
                "uidMappings": [
                    {"containerID": 1, "hostID": 200000, "size": 1000},
                    {"containerID": 0, "hostID": 100000, "size": 1},
                ],
            },
        });
        edit(&mut config);
        owner(&serde_json::from_value(config).unwrap())
    }

    #[test]
    fn a_writable_cgroup_belongs_to_the_containers_root() {
        assert_eq!(owner_of(|_| ()), Some(100000));
        assert_eq!(owner_of(|c| c["mounts"][0]["options"] = json!(["ro", "rw"])), Some(100000));
    }

    #[test]
    fn without_namespaces_of_its_own_or_a_writable_mount_it_stays_the_hosts() {
        let cases: [fn(&mut Value); 6] = [
            |c| c["mounts"][0]["options"] = json!(["ro"]),
            |c| c["mounts"][0]["type"] = json!("tmpfs"),
            |c| c["linux"]["namespaces"] = json!([{"type": "user"}]),
            |c| c["linux"]["namespaces"] = json!([{"type": "cgroup"}]),
            |c| c["linux"]["namespaces"][0]["path"] = json!("/proc/1/ns/user"),
            |c| c["linux"]["uidMappings"][1]["containerID"] = json!(5),
        ];
        for (index, case) in cases.into_iter().enumerate() {
            assert_eq!(owner_of(case), None, "case {index}");
        }
    }
}
