//! A directory that looks like resctrl: no machine that tests run on has the processor for it.

use std::fs;
use std::path::{Path, PathBuf};

use super::Resctrl;

/// A host with two sockets.
pub(super) struct Fake(tempfile::TempDir);

impl Fake {
    pub fn new() -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        for (file, text) in [
            ("info/last_cmd_status", "ok\n"),
            ("info/L3/cbm_mask", "7ff\n"),
            ("info/L3/min_cbm_bits", "1\n"),
            ("info/L3/num_closids", "16\n"),
            ("info/MB/bandwidth_gran", "10\n"),
            ("info/MB/delay_linear", "1\n"),
            ("info/MB/min_bandwidth", "10\n"),
            ("info/MB/num_closids", "8\n"),
            ("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n"),
        ] {
            fake.write(file, text);
        }
        fake.group("", "    L3:0=7ff;1=7ff\n    MB:0= 100;1= 100\n");
        fake
    }

    pub fn resctrl(&self) -> Resctrl {
        Resctrl::open(self.0.path().into()).unwrap()
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    pub fn write(&self, file: &str, text: &str) {
        write(&self.path(file), text);
    }

    /// A group that somebody else has made.
    pub fn group(&self, name: &str, schemata: &str) {
        fill(&self.path(name));
        write(&self.path(name).join("schemata"), schemata);
    }

    pub fn monitoring_group(&self, path: &str) {
        fill(&self.path(path));
    }

    /// All paths in it, sorted.
    pub fn tree(&self) -> Vec<PathBuf> {
        let mut found = vec![self.0.path().to_owned()];
        let mut next = 0;
        while let Some(path) = found.get(next).cloned() {
            next += 1;
            if path.is_dir() {
                found.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        found.sort();
        found
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// What the kernel puts into a new group.
pub(super) fn fill(group: &Path) {
    write(&group.join("tasks"), "");
    if group.parent().is_none_or(|parent| !parent.ends_with("mon_groups")) {
        write(&group.join("schemata"), "");
        fs::create_dir_all(group.join("mon_groups")).unwrap();
    }
    for domain in ["mon_L3_00", "mon_L3_01"] {
        for (file, text) in [("llc_occupancy", "3\n"), ("mbm_total_bytes", "2\n"), ("mbm_local_bytes", "1\n")]
        {
            write(&group.join("mon_data").join(domain).join(file), text);
        }
    }
}

/// What the kernel takes along with a group: all that is in it.
pub(super) fn empty(group: &Path) {
    if group.is_dir() {
        fs::remove_dir_all(group).unwrap();
        fs::create_dir(group).unwrap();
    }
}
