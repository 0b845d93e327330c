//! What the host has of each kind of thing that a container runtime could leave behind.

use std::collections::BTreeMap;
use std::fs;

use crate::support::cgroup_mount;

/// Numbers by kind.
pub struct Census(BTreeMap<&'static str, u64>);

/// How many more there may be of a kind: the rest of the machine lives too, and the kernel frees
/// some things late. Each is far below one a container.
const TOLERANCE: &[(&str, u64)] = &[
    ("mounts", 20),
    ("cgroups", 20),
    ("dying cgroups", 50),
    ("mount namespaces and files open anywhere", 200),
    ("files", 20),
    ("network namespaces", 40),
    ("processes", 40),
    ("KiB of kernel memory", 20_000),
];

impl Census {
    /// Counts.
    pub fn take() -> Self {
        let mut numbers = BTreeMap::new();
        numbers.insert("mounts", lines("/proc/self/mountinfo"));
        let cgroup =
            fs::read_to_string(cgroup_mount().expect("cgroup2").join("cgroup.stat")).expect("cgroup.stat");
        numbers.insert("cgroups", field(&cgroup, "nr_descendants"));
        numbers.insert("dying cgroups", field(&cgroup, "nr_dying_descendants"));
        let open = fs::read_to_string("/proc/sys/fs/file-nr").expect("file-nr");
        let open = open.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number");
        numbers.insert("mount namespaces and files open anywhere", open);
        let slabs = fs::read_to_string("/proc/slabinfo").unwrap_or_default();
        numbers.insert("network namespaces", field(&slabs, "net_namespace"));
        let processes = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
        let is_process =
            |entry: &fs::DirEntry| entry.file_name().to_str().is_some_and(|n| n.parse::<u32>().is_ok());
        numbers.insert("processes", processes.filter(is_process).count() as u64);
        let directories = ["/run", "/tmp", "/var/tmp", "/dev/shm"];
        numbers.insert(
            "files",
            directories.iter().map(|d| fs::read_dir(d).map_or(0, |d| d.count() as u64)).sum(),
        );
        let memory = fs::read_to_string("/proc/meminfo").expect("meminfo");
        let kernel = ["SUnreclaim:", "KernelStack:", "PageTables:", "Percpu:"];
        numbers.insert("KiB of kernel memory", kernel.iter().map(|name| field(&memory, name)).sum());
        Self(numbers)
    }

    /// What there is more of than `before`, beyond the tolerance.
    pub fn beyond(&self, before: &Self) -> Vec<String> {
        let tolerance =
            |kind: &str| TOLERANCE.iter().find(|(of, _)| *of == kind).map_or(0, |(_, most)| *most);
        let grown = self.0.iter().filter(|(kind, now)| **now > before.0[*kind] + tolerance(kind));
        grown.map(|(kind, now)| format!("{kind}: {} before, {now} now", before.0[kind])).collect()
    }
}

fn lines(path: &str) -> u64 {
    fs::read_to_string(path).expect(path).lines().count() as u64
}

/// The number behind `name` in lines of `name number ...`; 0 where there is none.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}
