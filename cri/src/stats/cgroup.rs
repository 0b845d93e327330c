//! Where the cgroups of containers and Pods are.

use std::path::Path;

use rcrun::cgroups::systemd::{Manager, UnitPath};
use rcrun::cgroups::{Cgroup, CgroupError, CgroupPath, Hierarchy};
use rcrun::id::ContainerId;

use super::usage::Usage;

/// The cgroup that `linux.cgroupsPath` names: a path, or `SLICE:PREFIX:NAME` with systemd's driver.
pub(super) fn of_container(cgroups_path: &str, id: &str) -> Result<CgroupPath, CgroupError> {
    let invalid = |_| CgroupError::Path { path: id.into(), reason: "it is no container's id" };
    let path = Path::new(cgroups_path);
    if !cgroups_path.contains('/') && cgroups_path.bytes().filter(|byte| *byte == b':').count() == 2 {
        let id = ContainerId::parse(id).map_err(invalid)?;
        return UnitPath::for_container(Some(path), &id, Manager::System)?.cgroup(&CgroupPath::root());
    }
    CgroupPath::parse(path)
}

/// The cgroup that a Pod's `cgroup_parent` names: a path, or a slice.
pub(super) fn of_pod(parent: &str) -> Result<CgroupPath, CgroupError> {
    match parent.rsplit('/').next() {
        Some(slice) if slice.ends_with(".slice") => Ok(of_container(&format!("{slice}::x"), "x")?.parent()),
        _ => CgroupPath::parse(Path::new(parent)),
    }
}

/// What a cgroup has used; None where it is gone.
pub(super) fn read(hierarchy: &Hierarchy, path: &CgroupPath) -> Result<Option<Usage>, CgroupError> {
    let read = || {
        let cgroup = Cgroup::open(hierarchy, path)?;
        let stats = cgroup.stats()?;
        // Files of one that was removed meanwhile read as if its controllers were missing; this one is always there.
        cgroup.controllers()?;
        Ok(Usage::new(&stats, crate::state::now()))
    };
    match read() {
        Ok(usage) => Ok(Some(usage)),
        Err(error @ CgroupError::Path { .. }) => Err(error),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_a_path_or_a_unit_of_systemds() {
        for (path, expected) in [
            ("/kubepods/pod1/c", "/kubepods/pod1/c"),
            ("kubepods-burstable.slice:rcrun:c", "/kubepods.slice/kubepods-burstable.slice/rcrun-c.scope"),
        ] {
            assert_eq!(of_container(path, "c").unwrap().as_str(), expected);
        }
        for (parent, expected) in [
            ("/kubepods/pod1", "/kubepods/pod1"),
            ("", "/"),
            ("kubepods-pod1.slice", "/kubepods.slice/kubepods-pod1.slice"),
            ("/kubepods.slice/kubepods-pod1.slice", "/kubepods.slice/kubepods-pod1.slice"),
        ] {
            assert_eq!(of_pod(parent).unwrap().as_str(), expected, "{parent}");
        }
        assert!(of_container("/a/../b", "c").is_err());
    }

    #[test]
    fn a_cgroup_that_is_gone_is_nothing() {
        let Ok(hierarchy) = Hierarchy::find() else {
            return eprintln!("SKIP a_cgroup_that_is_gone_is_nothing: no cgroup2 is mounted");
        };
        let path = CgroupPath::parse(Path::new("/rcrun-nonesuch")).unwrap();
        assert_eq!(read(&hierarchy, &path).unwrap(), None);
        // The hierarchy's root has no limits and no peaks, and is there.
        assert!(read(&hierarchy, &CgroupPath::root()).unwrap().is_some());
    }
}
