//! Limits that the host has no controller for, left out of what another runtime is told (`missing_controllers = "skip"`).
//!
//! Our own library does so itself, at each container's start.

use oci_spec::runtime::{LinuxCpu, LinuxResources};

use crate::check;
use crate::config::{Config, RuntimeProfile};

/// What of `resources` can be said to who makes containers of this profile.
pub fn without(config: &Config, profile: &RuntimeProfile, resources: LinuxResources) -> LinuxResources {
    if profile.program.is_none() {
        return resources;
    }
    strip(resources, &check::skipped(config))
}

/// Devices need no controller. A key of `unified` whose controller nobody knows is a typing error, for the runtime to refuse.
fn strip(mut resources: LinuxResources, lacking: &[&str]) -> LinuxResources {
    let lacks = |name: &str| lacking.contains(&name);
    if lacks("memory") {
        resources.set_memory(None);
    }
    if lacks("pids") {
        resources.set_pids(None);
    }
    if lacks("hugetlb") {
        resources.set_hugepage_limits(None);
    }
    if lacks("io") {
        resources.set_block_io(None);
    }
    let cpu = resources.cpu().clone().map(|mut cpu| {
        if lacks("cpu") {
            let sets = (cpu.cpus().clone(), cpu.mems().clone());
            cpu = LinuxCpu::default();
            cpu.set_cpus(sets.0).set_mems(sets.1);
        }
        if lacks("cpuset") {
            cpu.set_cpus(None).set_mems(None);
        }
        cpu
    });
    resources.set_cpu(cpu.filter(|cpu| *cpu != LinuxCpu::default()));
    let unified = resources.unified().clone().map(|mut unified| {
        unified.retain(|key, _| key.split_once('.').is_none_or(|(controller, _)| !lacks(controller)));
        unified
    });
    resources.set_unified(unified.filter(|unified| !unified.is_empty()));
    resources
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_needs_a_controller_that_is_not_there_is_left_out() {
        let all = json!({
            "devices": [{"allow": false}],
            "cpu": {"shares": 2, "quota": 5, "period": 10, "cpus": "0", "mems": "0"},
            "memory": {"limit": 1},
            "pids": {"limit": 1},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
            "unified": {"memory.high": "1", "cgroup.freeze": "0", "nothing.known": "1"},
        });
        let stripped = |lacking: &[&str]| {
            let resources = serde_json::from_value(all.clone()).unwrap();
            serde_json::to_value(strip(resources, lacking)).unwrap()
        };
        let whole: LinuxResources = serde_json::from_value(all.clone()).unwrap();
        assert_eq!(stripped(&[]), serde_json::to_value(whole).unwrap());
        assert_eq!(stripped(&["cpu"])["cpu"], json!({"cpus": "0", "mems": "0"}));
        assert_eq!(stripped(&["cpuset"])["cpu"], json!({"shares": 2, "quota": 5, "period": 10}));
        let least = stripped(&["cpu", "cpuset", "memory", "pids", "hugetlb", "io"]);
        let unified = json!({"cgroup.freeze": "0", "nothing.known": "1"});
        assert_eq!(least["unified"], unified);
        assert_eq!(least.as_object().unwrap().keys().collect::<Vec<_>>(), ["devices", "unified"]);
    }
}
