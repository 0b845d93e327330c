//! The Pod's cgroup. The kubelet makes it and sets its limits; one that is not there yet, and that limits are asked for, is made here.

use std::fs;
use std::path::Path;

use oci_spec::runtime::LinuxResources;
use rcrun::cgroups::{Cgroup, CgroupError, CgroupPath, Hierarchy, Limits};

use crate::api;
use crate::config::{CgroupDriver, Config};
use crate::runtime::Runtime;
use crate::spec::Invalid;
use crate::state::Pod;

/// In the Pod's state directory: the cgroup was made here, and goes with the Pod.
const MADE: &str = "cgroup-made";

const FIELD: &str = "linux.cgroup_parent";

/// A `cgroup_parent` as [`Pod::cgroup_parent`] has it: below the hierarchy's root, from a slash on; empty where none is asked for.
/// With systemd it ends with a slice, which alone says where it is.
pub fn parent(asked: &str, driver: CgroupDriver) -> Result<String, Invalid> {
    let invalid = |reason: String| Invalid { field: FIELD.into(), reason };
    if asked.is_empty() {
        return Ok(String::new());
    }
    let path = CgroupPath::parse(Path::new(asked)).map_err(|error| invalid(error.to_string()))?;
    if path.is_root() {
        return Ok(String::new());
    }
    let last = path.as_str().rsplit('/').next().unwrap_or_default();
    match (driver, last.strip_suffix(".slice")) {
        (CgroupDriver::Cgroupfs, None) => Ok(path.as_str().into()),
        (CgroupDriver::Systemd, Some(slice)) => slice_path(slice)
            .ok_or_else(|| invalid(format!("{last:?} is no slice's name: parts with - between, none empty"))),
        (CgroupDriver::Cgroupfs, Some(_)) => Err(invalid(format!(
            "{asked:?} is a systemd slice, and cgroup_driver is cgroupfs: the kubelet's cgroupDriver and this must agree"
        ))),
        (CgroupDriver::Systemd, None) => Err(invalid(format!(
            "{asked:?} is no systemd slice, and cgroup_driver is systemd: the kubelet's cgroupDriver and this must agree"
        ))),
    }
}

/// Where systemd has a slice, systemd.slice(5): `a-b.slice` is in `a.slice`.
fn slice_path(name: &str) -> Option<String> {
    let (mut path, mut slice) = (String::new(), String::new());
    for part in name.split('-') {
        if part.is_empty() {
            return None;
        }
        slice += if slice.is_empty() { "" } else { "-" };
        slice += part;
        path += &format!("/{slice}.slice");
    }
    Some(path)
}

/// `linux.cgroupsPath` of a container in a Pod with this [`Pod::cgroup_parent`].
pub fn of_container(driver: CgroupDriver, parent: &str, id: &str) -> String {
    match driver {
        CgroupDriver::Cgroupfs => format!("{parent}/{id}"),
        CgroupDriver::Systemd => {
            let slice = parent.rsplit('/').next().filter(|slice| !slice.is_empty());
            format!("{}:rcrun:{id}", slice.unwrap_or("system.slice"))
        }
    }
}

/// Makes the Pod's cgroup with its limits, if limits are asked for and it is not there. systemd makes its slices itself.
pub fn make(runtime: &Runtime, config: &Config, pod: &Pod) -> Result<(), CgroupError> {
    let Some(limits) = wanted(config, pod)? else { return Ok(()) };
    let hierarchy = Hierarchy::find()?;
    let path = CgroupPath::parse(Path::new(&pod.cgroup_parent))?;
    if !matches!(Cgroup::open(&hierarchy, &path), Err(error) if error.is_missing()) {
        return Ok(());
    }
    // Said before it is true: the other way round, one that was made could stay.
    let _ = fs::write(runtime.paths.pod_state(&pod.id).join(MADE), "");
    apply(&hierarchy, config, &path, limits)
}

/// Gives the Pod's cgroup the limits that its record has now, if it was made here.
pub fn update(runtime: &Runtime, config: &Config, pod: &Pod) -> Result<(), CgroupError> {
    if !runtime.paths.pod_state(&pod.id).join(MADE).exists() {
        return Ok(());
    }
    let Some(limits) = wanted(config, pod)? else { return Ok(()) };
    let path = CgroupPath::parse(Path::new(&pod.cgroup_parent))?;
    apply(&Hierarchy::find()?, config, &path, limits)
}

/// Removes it, if it was made here and is empty. False where it is not, and it stays known as made here: a container's cgroup in it may
/// go a moment after the container's end is known, or with the container's removal.
pub fn remove(runtime: &Runtime, pod: &Pod) -> Result<bool, CgroupError> {
    let made = runtime.paths.pod_state(&pod.id).join(MADE);
    if !made.exists() {
        return Ok(true);
    }
    let path = CgroupPath::parse(Path::new(&pod.cgroup_parent))?;
    match Cgroup::open(&Hierarchy::find()?, &path) {
        Ok(cgroup) if !cgroup.remove_unused()? => return Ok(false),
        Ok(_) => {}
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(error),
    }
    let _ = fs::remove_file(made);
    Ok(true)
}

/// The limits that a cgroup of ours would get; None where there is nothing to do.
fn wanted(config: &Config, pod: &Pod) -> Result<Option<Limits>, CgroupError> {
    let Some(linux) = &pod.config.linux else { return Ok(None) };
    if pod.cgroup_parent.is_empty() || config.cgroup_driver == CgroupDriver::Systemd {
        return Ok(None);
    }
    // They were checked when the Pod was made, or updated.
    let Ok(Some(resources)) = resources(linux) else { return Ok(None) };
    let limits = Limits::for_update(&resources)?;
    Ok((!limits.settings.is_empty()).then_some(limits))
}

fn apply(
    hierarchy: &Hierarchy,
    config: &Config,
    path: &CgroupPath,
    mut limits: Limits,
) -> Result<(), CgroupError> {
    limits.settle_on(hierarchy, config.missing_controllers, path)?;
    match Cgroup::open(hierarchy, path) {
        Err(error) if error.is_missing() => {
            Cgroup::create(hierarchy, path, &limits.controllers())?.apply(&limits)
        }
        cgroup => cgroup?.update(hierarchy, &limits),
    }
}

/// What containers may use, and what the Pod itself costs, together; None where neither is said.
pub fn resources(linux: &api::LinuxPodSandboxConfig) -> Result<Option<LinuxResources>, Invalid> {
    let (own, overhead) = (linux.resources.as_ref(), linux.overhead.as_ref());
    let Some(mut sum) = own.or(overhead).cloned() else { return Ok(None) };
    if let (Some(own), Some(overhead)) = (own, overhead) {
        // 0 is "not said", and what is negative unlimited.
        let add = |own: i64, more: i64| if own > 0 && more > 0 { own.saturating_add(more) } else { own };
        sum.cpu_shares = add(own.cpu_shares, overhead.cpu_shares);
        sum.cpu_quota = add(own.cpu_quota, overhead.cpu_quota);
        sum.memory_limit_in_bytes = add(own.memory_limit_in_bytes, overhead.memory_limit_in_bytes);
        sum.memory_swap_limit_in_bytes =
            add(own.memory_swap_limit_in_bytes, overhead.memory_swap_limit_in_bytes);
    }
    crate::spec::resources(&sum, "linux.resources").map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_paths_below_the_root() {
        let cgroupfs = |asked| parent(asked, CgroupDriver::Cgroupfs).map_err(|error| error.to_string());
        assert_eq!(cgroupfs("").unwrap(), "");
        assert_eq!(cgroupfs("/").unwrap(), "");
        assert_eq!(cgroupfs("/kubepods/burstable/pod1").unwrap(), "/kubepods/burstable/pod1");
        assert_eq!(cgroupfs("pods//a/").unwrap(), "/pods/a");
        assert!(cgroupfs("/a/../b").unwrap_err().starts_with("linux.cgroup_parent: "));
        assert!(cgroupfs("/kubepods.slice").unwrap_err().contains("is a systemd slice"));
    }

    #[test]
    fn a_slice_says_where_it_is() {
        let systemd = |asked| parent(asked, CgroupDriver::Systemd).map_err(|error| error.to_string());
        let path = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice";
        assert_eq!(systemd(path).unwrap(), path);
        assert_eq!(systemd("kubepods-burstable-pod1.slice").unwrap(), path);
        assert!(systemd("/kubepods").unwrap_err().contains("is no systemd slice"));
        assert!(systemd("a--b.slice").unwrap_err().contains("no slice's name"));
    }

    #[test]
    fn containers_are_below_it() {
        assert_eq!(of_container(CgroupDriver::Cgroupfs, "/pods/a", "id"), "/pods/a/id");
        assert_eq!(of_container(CgroupDriver::Cgroupfs, "", "id"), "/id");
        assert_eq!(of_container(CgroupDriver::Systemd, "/a.slice/a-b.slice", "id"), "a-b.slice:rcrun:id");
        assert_eq!(of_container(CgroupDriver::Systemd, "", "id"), "system.slice:rcrun:id");
    }

    #[test]
    fn resources_and_overhead_are_added() {
        let own = api::LinuxContainerResources {
            cpu_shares: 512,
            cpu_quota: 50_000,
            cpu_period: 100_000,
            memory_limit_in_bytes: 1 << 20,
            ..Default::default()
        };
        let overhead = api::LinuxContainerResources {
            cpu_shares: 10,
            memory_limit_in_bytes: 1 << 10,
            ..Default::default()
        };
        let linux = api::LinuxPodSandboxConfig {
            resources: Some(own),
            overhead: Some(overhead),
            ..Default::default()
        };
        let sum = resources(&linux).unwrap().unwrap();
        let cpu = sum.cpu().as_ref().unwrap();
        assert_eq!((cpu.shares(), cpu.quota(), cpu.period()), (Some(522), Some(50_000), Some(100_000)));
        assert_eq!(sum.memory().unwrap().limit(), Some((1 << 20) + (1 << 10)));
    }

    #[test]
    fn without_a_word_nothing_is_limited() {
        assert!(resources(&api::LinuxPodSandboxConfig::default()).unwrap().is_none());
        let empty = api::LinuxPodSandboxConfig { resources: Some(Default::default()), ..Default::default() };
        let empty = resources(&empty).unwrap().unwrap();
        assert!(Limits::for_update(&empty).unwrap().settings.is_empty());
    }
}
