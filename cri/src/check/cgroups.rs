//! The cgroup2 tree: its controllers, and who makes cgroups.

use std::path::Path;

use rcrun::cgroups::{Hierarchy, MissingControllers};

use crate::config::{CgroupDriver, Config};

use super::Fact;

/// Controllers of what the CRI can ask for, and what that is.
const CONTROLLERS: [(&str, &str); 6] = [
    ("cpu", "cpu shares, quota and period"),
    ("cpuset", "cpusets"),
    ("memory", "memory limits, out-of-memory kills by container, memory statistics"),
    ("pids", "limits and counts of processes"),
    ("hugetlb", "limits of huge pages"),
    ("io", "statistics and limits of block devices"),
];

pub fn facts(config: &Config) -> Vec<Fact> {
    let hierarchy = match Hierarchy::find() {
        Ok(hierarchy) => hierarchy,
        Err(error) => return vec![Fact::fatal("cgroup2", error.to_string())],
    };
    let mut facts = vec![Fact::ok("cgroup2", hierarchy.mount_point().display().to_string())];
    let present = hierarchy.controllers().cloned().unwrap_or_default();
    for (name, limits) in CONTROLLERS {
        let title = format!("{name} controller");
        facts.push(if present.contains(name) {
            Fact::ok(title, "")
        } else {
            Fact::limited(title, format!("{limits}: {}", consequence(name, config)))
        });
    }
    if config.cgroup_driver == CgroupDriver::Systemd {
        // sd_booted(3)
        let there = Path::new("/run/systemd/system").is_dir();
        facts.push(Fact::or_fatal(
            "systemd",
            there,
            "cgroup_driver = \"systemd\", but systemd is not this machine's init",
        ));
    }
    facts
}

fn consequence(controller: &str, config: &Config) -> &'static str {
    match (config.missing_controllers, controller) {
        (MissingControllers::Skip, _) => "left out (missing_controllers = \"skip\")",
        // It always asks for shares, and for memory.* keys.
        (MissingControllers::Refuse, "cpu" | "memory") => {
            "containers that ask for it are refused, which is each of a kubelet's; missing_controllers = \"skip\" leaves it out"
        }
        (MissingControllers::Refuse, _) => "containers that ask for it are refused",
    }
}

/// Each controller, and whether its limits are left out.
pub fn skipped(config: &Config) -> Vec<(&'static str, bool)> {
    let skips = config.missing_controllers == MissingControllers::Skip;
    let present =
        Hierarchy::find().and_then(|hierarchy| hierarchy.controllers().cloned()).unwrap_or_default();
    CONTROLLERS.into_iter().map(|(name, _)| (name, skips && !present.contains(name))).collect()
}
