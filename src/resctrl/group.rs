//! A group's life: made before the clone, given the container's processes, removed at the end.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::plan::{GroupPlan, Wanted};
use super::{DEFAULT_GROUP, Resctrl, ResctrlError};

/// A container's group, as state.json has it. It is recorded before it is made, so that whatever is
/// left of it can be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its directory below the mount point; [`DEFAULT_GROUP`] for the mount point itself.
    pub clos: String,
    /// Does it go when the container is deleted? Not one that somebody else has made or named.
    pub own: bool,
    /// The monitoring group in it, which always is the container's.
    pub monitoring: Option<String>,
}

impl Group {
    pub(super) fn of(wanted: &Wanted) -> Self {
        Self { clos: wanted.clos.clone(), own: false, monitoring: wanted.monitoring.clone() }
    }

    /// Its directory relative to the mount point.
    pub(super) fn directory(&self) -> &str {
        if self.clos == DEFAULT_GROUP { "." } else { &self.clos }
    }

    /// One of its files.
    pub(super) fn file(&self, name: &str) -> String {
        if self.clos == DEFAULT_GROUP { name.into() } else { format!("{}/{name}", self.clos) }
    }

    /// The directory of the monitoring group.
    pub(super) fn monitoring_directory(&self) -> Option<String> {
        self.monitoring.as_ref().map(|name| self.file(&format!("mon_groups/{name}")))
    }

    /// Moves a process into it; what that forks is born there.
    pub fn assign(&self, resctrl: &Resctrl, pid: i32) -> Result<(), ResctrlError> {
        let pid = pid.to_string();
        resctrl.write(&self.file("tasks"), &pid)?;
        // The kernel takes only processes of the group that the monitoring group is in.
        let directory = self.monitoring_directory();
        directory.map_or(Ok(()), |directory| resctrl.write(&format!("{directory}/tasks"), &pid))
    }

    /// Writes lines of its `schemata`: the kernel takes all or none of them.
    pub fn set_schemata(&self, resctrl: &Resctrl, lines: &[String]) -> Result<(), ResctrlError> {
        if lines.is_empty() {
            return Ok(());
        }
        // A line without an end is none to the kernel.
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        resctrl.write(&self.file("schemata"), &text)
    }

    /// Gives it other shares. Lines that are not named stay as they are, whatever the configuration says.
    pub fn update(&self, resctrl: &Resctrl, shares: &Shares) -> Result<(), ResctrlError> {
        let flags = [
            ("--l3-cache-schema", "info/L3", &shares.l3_cache),
            ("--mem-bw-schema", "info/MB", &shares.memory_bandwidth),
        ];
        let missing = flags.iter().find(|(_, file, share)| share.is_some() && !resctrl.has(file));
        if let Some((field, file, _)) = missing {
            return Err(ResctrlError::NoResource { field, path: resctrl.path(file) });
        }
        let lines: Vec<String> = flags.into_iter().filter_map(|(_, _, share)| share.clone()).collect();
        self.set_schemata(resctrl, &lines)
    }

    /// Removes what of it goes with the container and is there. Goes on past a failure and tells the
    /// first.
    pub fn remove(&self, resctrl: &Resctrl) -> Result<(), ResctrlError> {
        let monitoring = self.monitoring_directory().map_or(Ok(()), |directory| resctrl.remove(&directory));
        let own = if self.own { resctrl.remove(self.directory()) } else { Ok(()) };
        monitoring.and(own)
    }
}

/// What `update` is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// `--l3-cache-schema`.
    pub l3_cache: Option<String>,
    /// `--mem-bw-schema`.
    pub memory_bandwidth: Option<String>,
}

/// A group that was made for a container in the making; on drop it is taken back.
#[derive(Debug)]
pub struct MadeGroup<'a> {
    resctrl: &'a Resctrl,
    group: &'a Group,
    made: bool,
    monitoring_made: bool,
}

impl<'a> MadeGroup<'a> {
    /// Does what `plan` says.
    pub fn make(resctrl: &'a Resctrl, plan: &'a GroupPlan) -> Result<Self, ResctrlError> {
        let group = &plan.group;
        let mut made = Self { resctrl, group, made: false, monitoring_made: false };
        if plan.makes {
            match resctrl.make(group.directory()) {
                // Made meanwhile for another container of the class: it is to have the same there.
                Err(ResctrlError::Make { errno: Errno::EXIST, .. }) if !group.own => {}
                result => {
                    result?;
                    made.made = true;
                }
            }
        }
        group.set_schemata(resctrl, &plan.schemata)?;
        if let Some(directory) = group.monitoring_directory() {
            resctrl.make(&directory)?;
            made.monitoring_made = true;
        }
        Ok(made)
    }

    /// Moves the new process into it.
    pub fn assign(&self, pid: i32) -> Result<(), ResctrlError> {
        self.group.assign(self.resctrl, pid)
    }

    /// The container exists: the group stays.
    pub fn keep(mut self) {
        (self.made, self.monitoring_made) = (false, false);
    }

    /// By now another container may be in a group that has a name of its own.
    fn is_unused(&self) -> bool {
        self.group.own || self.resctrl.read(&self.group.file("tasks")).is_ok_and(|tasks| tasks.is_empty())
    }
}

impl Drop for MadeGroup<'_> {
    fn drop(&mut self) {
        if let Some(directory) = self.group.monitoring_directory().filter(|_| self.monitoring_made) {
            let _ = self.resctrl.remove(&directory);
        }
        if self.made && self.is_unused() {
            let _ = self.resctrl.remove(self.group.directory());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;
    use crate::id::ContainerId;

    fn plan(fake: &Fake, json: &str) -> GroupPlan {
        let id = ContainerId::parse("c1").unwrap();
        let wanted = Wanted::of(&serde_json::from_str(json).unwrap(), &id).unwrap();
        GroupPlan::new(&wanted, &fake.resctrl().look(&wanted).unwrap()).unwrap()
    }

    const WHOLE: &str = r#"{"l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20", "schemata": ["L2:0=3"],
        "enableMonitoring": true}"#;

    #[test]
    fn a_container_gets_a_group_of_its_own_and_takes_it_along() {
        let fake = Fake::new();
        let before = fake.tree();
        let (resctrl, plan) = (fake.resctrl(), plan(&fake, WHOLE));
        let made = MadeGroup::make(&resctrl, &plan).unwrap();
        assert_eq!(fake.read("c1/schemata"), "L3:0=f\nMB:0=20\nL2:0=3\n");
        made.assign(4711).unwrap();
        made.keep();
        assert_eq!(fake.read("c1/tasks"), "4711");
        assert_eq!(fake.read("c1/mon_groups/c1/tasks"), "4711");
        plan.group.remove(&resctrl).unwrap();
        assert_eq!(fake.tree(), before);
        plan.group.remove(&resctrl).unwrap();
    }

    #[test]
    fn a_failed_create_takes_everything_back() {
        let fake = Fake::new();
        let before = fake.tree();
        let resctrl = fake.resctrl();
        for json in [WHOLE, r#"{"closID": "gold", "schemata": ["L3:0=f"], "enableMonitoring": true}"#] {
            let plan = plan(&fake, json);
            drop(MadeGroup::make(&resctrl, &plan).unwrap());
            assert_eq!(fake.tree(), before, "{json}");
        }
    }

    #[test]
    fn a_group_that_appears_meanwhile_is_used_if_it_has_a_name() {
        let fake = Fake::new();
        let resctrl = fake.resctrl();
        let named = plan(&fake, r#"{"closID": "gold", "schemata": ["L3:0=f"]}"#);
        let own = plan(&fake, "{}");
        fake.group("gold", "");
        fake.group("c1", "");
        drop(MadeGroup::make(&resctrl, &named).unwrap());
        assert_eq!(fake.read("gold/schemata"), "L3:0=f\n", "written, and not removed");
        let error = MadeGroup::make(&resctrl, &own).unwrap_err().to_string();
        assert!(error.contains("make the group") && error.contains("c1"), "{error}");
        assert!(fake.path("c1").exists());
    }

    #[test]
    fn a_named_group_stays_where_another_container_is_in_it_by_now() {
        let fake = Fake::new();
        let resctrl = fake.resctrl();
        let plan = plan(&fake, r#"{"closID": "gold", "schemata": ["L3:0=f"], "enableMonitoring": true}"#);
        let made = MadeGroup::make(&resctrl, &plan).unwrap();
        fake.write("gold/tasks", "99\n");
        drop(made);
        assert_eq!(fake.read("gold/tasks"), "99\n");
        assert!(!fake.path("gold/mon_groups/c1").exists());
    }

    #[test]
    fn a_group_of_somebody_elses_stays_and_the_monitoring_group_goes() {
        for (name, json) in [
            ("gold", r#"{"closID": "gold", "enableMonitoring": true}"#),
            ("c1", r#"{"enableMonitoring": true}"#),
            ("", r#"{"closID": "/", "enableMonitoring": true}"#),
        ] {
            let fake = Fake::new();
            fake.group(name, "L3:0=ff\n");
            let before = fake.tree();
            let (resctrl, plan) = (fake.resctrl(), plan(&fake, json));
            let made = MadeGroup::make(&resctrl, &plan).unwrap();
            made.assign(7).unwrap();
            made.keep();
            let group = std::path::Path::new(name);
            assert_eq!(fake.read(group.join("tasks").to_str().unwrap()), "7");
            assert_eq!(fake.read(group.join("schemata").to_str().unwrap()), "L3:0=ff\n", "not written");
            plan.group.remove(&resctrl).unwrap();
            assert_eq!(fake.tree(), before, "{name}");
        }
    }

    #[test]
    fn what_a_killed_create_leaves_is_found_by_what_it_has_recorded() {
        // Killed before the first directory, between the two, and after them.
        for steps in 0..3 {
            let fake = Fake::new();
            let before = fake.tree();
            let (resctrl, plan) = (fake.resctrl(), plan(&fake, WHOLE));
            let recorded = serde_json::to_string(&plan.group).unwrap();
            for directory in ["c1", "c1/mon_groups/c1"].iter().take(steps) {
                resctrl.make(directory).unwrap();
            }
            let group: Group = serde_json::from_str(&recorded).unwrap();
            group.remove(&resctrl).unwrap();
            assert_eq!(fake.tree(), before, "after {steps} steps");
        }
    }

    #[test]
    fn schemata_that_are_refused_leave_no_group() {
        let fake = Fake::new();
        let before = fake.tree();
        fake.group("gold", "L3:0=f\n");
        std::fs::remove_file(fake.path("gold/schemata")).unwrap();
        std::fs::create_dir(fake.path("gold/schemata")).unwrap();
        fake.write("info/last_cmd_status", "Mask 800 out of range\n");
        let group = Group { clos: "gold".into(), own: false, monitoring: Some("c1".into()) };
        let plan = GroupPlan { group, makes: false, schemata: vec!["L3:0=800".into()] };
        let resctrl = fake.resctrl();
        let error = MadeGroup::make(&resctrl, &plan).unwrap_err().to_string();
        for part in ["gold/schemata", "L3:0=800", "last_cmd_status: Mask 800 out of range"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!fake.path("gold/mon_groups/c1").exists());
        std::fs::remove_dir(fake.path("gold/schemata")).unwrap();
        resctrl.remove("gold").unwrap();
        assert_eq!(fake.tree(), before);
    }

    #[test]
    fn an_update_writes_only_the_lines_that_it_is_given() {
        let fake = Fake::new();
        fake.group("c1", "");
        let resctrl = fake.resctrl();
        let group = Group { clos: "c1".into(), own: true, monitoring: None };
        let mut shares = Shares { memory_bandwidth: Some("MB:0=30".into()), ..Shares::default() };
        group.update(&resctrl, &Shares::default()).unwrap();
        assert_eq!(fake.read("c1/schemata"), "");
        group.update(&resctrl, &shares).unwrap();
        assert_eq!(fake.read("c1/schemata"), "MB:0=30\n");
        shares.l3_cache = Some("L3:0=f".into());
        group.update(&resctrl, &shares).unwrap();
        assert_eq!(fake.read("c1/schemata"), "L3:0=f\nMB:0=30\n");
        std::fs::remove_dir_all(fake.path("info/MB")).unwrap();
        let error = group.update(&resctrl, &shares).unwrap_err().to_string();
        assert!(error.starts_with("--mem-bw-schema: ") && error.contains("info/MB"), "{error}");
    }
}
