//! Giving a cgroup its limits.

use rustix::io::Errno;
use std::os::fd::AsFd;

use super::devices::Program;
use super::limits::{Absent, UsageCheck};
use super::{Cgroup, CgroupError, Limits, Setting, files};
use crate::sys::bpf;

impl Cgroup {
    /// Writes the settings in their order and attaches the device program. An error names file,
    /// value and reason; what was written before it stays.
    pub fn apply(&self, limits: &Limits) -> Result<(), CgroupError> {
        self.limit(limits)?;
        self.restrict_devices(limits)
    }

    /// The first half of [`Self::apply`]: the settings.
    pub fn limit(&self, limits: &Limits) -> Result<(), CgroupError> {
        self.check(limits)?;
        let mut again = Vec::new();
        for setting in &limits.settings {
            match self.set(setting) {
                Err(CgroupError::SetLimit { errno: Errno::INVAL, .. }) if setting.retried => {
                    again.push(setting)
                }
                result => result?,
            }
        }
        for setting in again {
            self.set(setting)?;
        }
        Ok(())
    }

    /// The second half of [`Self::apply`]: the device program. Loading one takes the kernel longer than making
    /// the cgroup.
    pub fn restrict_devices(&self, limits: &Limits) -> Result<(), CgroupError> {
        limits.devices.as_ref().map_or(Ok(()), |program| self.attach_devices(program))
    }

    /// Refuses limits below what is in use, where these limits are to be checked so.
    pub fn check(&self, limits: &Limits) -> Result<(), CgroupError> {
        limits.usage_check.map_or(Ok(()), |check| self.check_usage(check))
    }

    fn set(&self, setting: &Setting) -> Result<(), CgroupError> {
        let mut result = self.set_lines(&setting.file, &setting.value);
        let mut tried = (setting.file.as_ref(), setting.value.as_str());
        if result == Err(Errno::NOENT) {
            match &setting.absent {
                Absent::Fails => {}
                Absent::Ignored => result = Ok(()),
                Absent::Instead(file, value) => {
                    result = self.set_lines(file, value);
                    tried = (file, value);
                }
            }
        }
        result.map_err(|errno| CgroupError::SetLimit {
            file: tried.0.into(),
            value: tried.1.into(),
            cgroup: self.name(),
            field: setting.field.to_string(),
            errno,
        })
    }

    /// The kernel takes one line per write(2).
    fn set_lines(&self, file: &str, value: &str) -> Result<(), Errno> {
        if !value.contains('\n') {
            return files::write(self.directory(), file, value);
        }
        value
            .lines()
            .filter(|line| !line.is_empty())
            .try_for_each(|line| files::write(self.directory(), file, line))
    }

    fn check_usage(&self, check: UsageCheck) -> Result<(), CgroupError> {
        let Some(text) = self.read_if_there("memory.current")? else { return Ok(()) };
        let Ok(usage) = text.trim().parse::<u64>() else { return Ok(()) };
        let fields =
            [("linux.resources.memory.swap", check.swap), ("linux.resources.memory.limit", check.limit)];
        for (field, limit) in fields {
            if let Some(limit) = limit.filter(|limit| u64::try_from(*limit).is_ok_and(|limit| limit <= usage))
            {
                return Err(CgroupError::LimitBelowUsage { field, limit, usage, cgroup: self.name() });
            }
        }
        Ok(())
    }

    /// Two calls and a close: once attached, the program is the cgroup's.
    fn attach_devices(&self, program: &Program) -> Result<(), CgroupError> {
        let loaded = bpf::load_device_program(&program.instructions)
            .map_err(|errno| CgroupError::LoadDevices { cgroup: self.name(), errno })?;
        bpf::attach_device_program(self.directory(), loaded.as_fd())
            .map_err(|errno| CgroupError::AttachDevices { cgroup: self.name(), errno })
    }
}

#[cfg(test)]
mod tests {
    use super::super::cgroup::tests::{Own, Shell, hierarchy_or_skip, skip};
    use super::super::{Controllers, Hierarchy, MissingControllers};
    use super::*;

    fn limits(json: &str) -> Limits {
        Limits::for_update(&serde_json::from_str(json).unwrap()).unwrap()
    }

    /// Takes a controller away from the root's children again if the test gave it to them.
    struct RootControllers(Hierarchy, String);

    impl RootControllers {
        fn before(hierarchy: &Hierarchy) -> Self {
            let enabled = files::read(hierarchy.directory(), "cgroup.subtree_control").unwrap();
            Self(hierarchy.clone(), enabled)
        }
    }

    impl Drop for RootControllers {
        fn drop(&mut self) {
            let before = Controllers::parse(&self.1);
            let now = files::read(self.0.directory(), "cgroup.subtree_control").unwrap_or_default();
            for name in Controllers::parse(&now).names().filter(|name| !before.contains(name)) {
                let _ = files::write(self.0.directory(), "cgroup.subtree_control", &format!("-{name}"));
            }
        }
    }

    #[test]
    fn huge_pages_are_limited_and_settings_reach_their_files() {
        let Some(hierarchy) = hierarchy_or_skip("hugetlb") else { return };
        // Dropped last: the root's children must be gone by then.
        let _root = RootControllers::before(&hierarchy);
        let Some(own) = Own::or_skip("hugetlb") else { return };
        if !hierarchy.controllers().unwrap().contains("hugetlb") {
            skip("hugetlb", "no such controller");
            return;
        }
        let path = own.below("a/limited");
        let mut limits = limits(
            r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}], "cpu": {"shares": 2},
                "unified": {"cgroup.max.depth": "3"}}"#,
        );
        limits.settle(&Controllers::parse("hugetlb"), MissingControllers::Skip, &path).unwrap();
        assert_eq!(limits.skipped.len(), 1);
        let cgroup = Cgroup::create(&hierarchy, &path, &limits.controllers()).unwrap();
        cgroup.apply(&limits).unwrap();
        let read = |file: &str| cgroup.read(file).unwrap().trim().to_owned();
        assert_eq!(read("hugetlb.2MB.max"), "4194304");
        assert_eq!(read("hugetlb.2MB.rsvd.max"), "4194304");
        assert_eq!(read("cgroup.max.depth"), "3");
        let stats = cgroup.stats().unwrap();
        assert!(stats.hugetlb.contains_key("2MB"), "{stats:?}");

        let error =
            cgroup.apply(&super::tests::limits(r#"{"hugepageLimits": [{"pageSize": "3MB", "limit": 0}]}"#));
        let error = error.unwrap_err().to_string();
        for part in
            ["hugetlb.3MB.max", "no huge pages of that size", "linux.resources.hugepageLimits[0].limit"]
        {
            assert!(error.contains(part), "{error}");
        }
        cgroup.remove().unwrap();
    }

    #[test]
    fn rdma_devices_are_limited_by_a_line_each() {
        let directory = tempfile::tempdir().unwrap();
        let (cgroup, file) = (Cgroup::fake(directory.path()), directory.path().join("rdma.max"));
        let limits = limits(r#"{"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}}}"#);
        let error = cgroup.apply(&limits).unwrap_err().to_string();
        for part in ["rdma.max", "mlx5_1 hca_handle=3 hca_object=10000", "linux.resources.rdma[\"mlx5_1\"]"] {
            assert!(error.contains(part), "{error}");
        }
        std::fs::write(&file, "").unwrap();
        cgroup.apply(&limits).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mlx5_1 hca_handle=3 hca_object=10000");
    }

    #[test]
    fn an_absent_file_can_have_another_in_its_place() {
        let Some(own) = Own::or_skip("absent") else { return };
        let mut setting = limits(r#"{"unified": {"cgroup.none": "7"}}"#).settings.remove(0);
        let apply = |setting: &Setting| {
            own.open().apply(&Limits { settings: vec![setting.clone()], ..Limits::default() })
        };
        let error = apply(&setting).unwrap_err().to_string();
        assert!(error.contains("this kernel has no such limit"), "{error}");
        setting.absent = Absent::Ignored;
        apply(&setting).unwrap();
        setting.absent = Absent::Instead("cgroup.max.depth", "7".into());
        apply(&setting).unwrap();
        assert_eq!(own.open().read("cgroup.max.depth").unwrap(), "7\n");
    }

    #[test]
    fn a_setting_that_does_not_fit_yet_is_tried_again_after_the_others() {
        let Some(own) = Own::or_skip("again") else { return };
        let mut settings =
            limits(r#"{"unified": {"cgroup.max.depth": "x", "cgroup.max.descendants": "5"}}"#).settings;
        settings[0].retried = true;
        let error = own.open().apply(&Limits { settings, ..Limits::default() }).unwrap_err();
        assert!(error.to_string().contains("cgroup.max.depth"), "{error}");
        assert_eq!(own.open().read("cgroup.max.descendants").unwrap(), "5\n", "the others were written");
    }

    #[test]
    fn a_denied_device_cannot_be_opened_and_an_allowed_one_can() {
        let Some(own) = Own::or_skip("devices") else { return };
        let directory = tempfile::tempdir().unwrap();
        let node = directory.path().join("kmsg");
        let made = std::process::Command::new("mknod").arg(&node).args(["c", "1", "11"]).status();
        if !made.is_ok_and(|status| status.success()) || std::fs::File::open(&node).is_err() {
            skip("devices", "/dev/kmsg cannot be opened here at all");
            return;
        }
        let open = |rules: &str, mode: &str| {
            let resources = serde_json::from_str(rules).unwrap();
            let limits = Limits::new(Some(&resources)).unwrap();
            let below = Cgroup::create(&own.hierarchy, &own.below("inner"), &Controllers::default()).unwrap();
            below.apply(&limits).unwrap();
            let script = format!("exec 3{mode}{} && exec 4<>/dev/null && exit 7", node.display());
            let mut shell = Shell::inside(&below, &script);
            shell.go();
            let code = shell.0.wait().unwrap().code();
            below.remove().unwrap();
            code == Some(7)
        };
        assert!(!open("{}", "<"), "denied without rules");
        let deny = r#"{"allow": false, "access": "rwm"}"#;
        assert!(!open(&format!(r#"{{"devices": [{deny}]}}"#), "<"));
        let read_only = format!(
            r#"{{"devices": [{deny}, {{"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}}]}}"#
        );
        assert!(open(&read_only, "<"), "reading is allowed");
        assert!(!open(&read_only, "<>"), "writing is not");
        assert!(open(&format!(r#"{{"devices": [{deny}, {{"allow": true, "access": "rwm"}}]}}"#), "<>"));
    }

    #[test]
    fn many_rules_still_load() {
        let Some(own) = Own::or_skip("many-rules") else { return };
        let rules: Vec<String> = (0..500)
            .map(|n| {
                format!(
                    r#"{{"allow": {}, "type": "b", "major": {n}, "minor": {n}, "access": "rw"}}"#,
                    n % 3 != 0
                )
            })
            .collect();
        let resources = serde_json::from_str(&format!(r#"{{"devices": [{}]}}"#, rules.join(","))).unwrap();
        own.open().apply(&Limits::new(Some(&resources)).unwrap()).unwrap();
    }
}
