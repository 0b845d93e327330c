//! What every container gets.

use std::path::Path;

// As docker has them; masks and read-only paths where the CRI says nothing of security.
pub(super) use rcrun::image::container::{MASKED, PATH, READ_ONLY};
use serde_json::{Value, json};

const CGROUP: &str = "/sys/fs/cgroup";

/// The mounts below all others, parents first. A privileged container may write sysfs, and has the host's cgroups.
pub(super) fn mounts(hosts_cgroups: Option<&Path>) -> Vec<Value> {
    let mount = |target: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": target, "type": kind, "source": source, "options": options});
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let plain = ["nosuid", "noexec", "nodev"];
    let sys: &[&str] = if hosts_cgroups.is_some() { &plain } else { &["nosuid", "noexec", "nodev", "ro"] };
    let cgroup = match hosts_cgroups {
        // Not a new mount: without a cgroup namespace that would change the options of the host's own (nsdelegate).
        Some(place) if !place.as_os_str().is_empty() => {
            let options = ["bind", "rprivate", "nosuid", "noexec", "nodev", "relatime"];
            json!({"destination": CGROUP, "type": "bind", "source": place, "options": options})
        }
        Some(_) => mount(CGROUP, "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime"]),
        None => mount(CGROUP, "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    };
    vec![
        mount("/proc", "proc", "proc", &plain),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &pts),
        mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &plain),
        mount("/sys", "sysfs", "sysfs", sys),
        cgroup,
    ]
}
