//! What an update takes over from the limits that a cgroup has: half of a pair of values.

use oci_spec::runtime::LinuxResources;

use super::{Cgroup, CgroupError};

impl Cgroup {
    /// `resources` with what its values need beside them and does not name: a quota stays with a new
    /// period and a period with a new quota, and memory and swap together are counted from the
    /// present memory limit. Files are read only where such a half is given.
    pub fn complete(&self, resources: &mut LinuxResources) -> Result<(), CgroupError> {
        if let Some(mut cpu) = resources.cpu().clone()
            && given(cpu.quota()).is_some() != cpu.period().is_some_and(|period| period != 0)
            && let Some(text) = self.read_if_there("cpu.max")?
        {
            let (quota, period) = quota_and_period(&text);
            match given(cpu.quota()) {
                None => cpu.set_quota(quota),
                Some(_) => cpu.set_period(period),
            };
            resources.set_cpu(Some(cpu));
        }
        if let Some(mut memory) = *resources.memory()
            && given(memory.swap()).is_some_and(|swap| swap != -1)
            && given(memory.limit()).is_none()
            && let Some(text) = self.read_if_there("memory.max")?
        {
            memory.set_limit(Some(text.trim().parse().unwrap_or(-1)));
            resources.set_memory(Some(memory));
        }
        Ok(())
    }
}

/// 0 is unset.
fn given(value: Option<i64>) -> Option<i64> {
    value.filter(|value| *value != 0)
}

/// cpu.max: `max 100000` or `20000 50000`.
fn quota_and_period(text: &str) -> (Option<i64>, Option<u64>) {
    let mut words = text.split_whitespace();
    let quota = words.next().map(|word| word.parse().unwrap_or(-1));
    (quota, words.next().and_then(|word| word.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_max_is_a_quota_and_a_period() {
        assert_eq!(quota_and_period("20000 50000\n"), (Some(20_000), Some(50_000)));
        assert_eq!(quota_and_period("max 100000\n"), (Some(-1), Some(100_000)));
        assert_eq!(quota_and_period(""), (None, None));
    }

    /// A directory with the files of a cgroup.
    fn completed(json: &str) -> LinuxResources {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("cpu.max"), "20000 50000\n").unwrap();
        std::fs::write(directory.path().join("memory.max"), "4096\n").unwrap();
        let mut resources: LinuxResources = serde_json::from_str(json).unwrap();
        Cgroup::fake(directory.path()).complete(&mut resources).unwrap();
        resources
    }

    #[test]
    fn half_of_a_pair_gets_its_other_half() {
        let pair = |json: &str| {
            let cpu = completed(json).cpu().clone().unwrap();
            (cpu.quota(), cpu.period())
        };
        assert_eq!(pair(r#"{"cpu": {"period": 10000}}"#), (Some(20_000), Some(10_000)));
        assert_eq!(pair(r#"{"cpu": {"quota": -1}}"#), (Some(-1), Some(50_000)));
        assert_eq!(pair(r#"{"cpu": {"quota": 1, "period": 2}}"#), (Some(1), Some(2)));
        assert_eq!(pair(r#"{"cpu": {"shares": 2}}"#), (None, None));
        assert_eq!(completed(r#"{"pids": {"limit": 1}}"#).cpu(), &None);
    }

    #[test]
    fn swap_alone_is_counted_from_the_present_limit() {
        let limit = |json: &str| completed(json).memory().unwrap().limit();
        assert_eq!(limit(r#"{"memory": {"swap": 8192}}"#), Some(4096));
        assert_eq!(limit(r#"{"memory": {"swap": -1}}"#), None);
        assert_eq!(limit(r#"{"memory": {"swap": 8192, "limit": 1}}"#), Some(1));
        assert_eq!(limit(r#"{"memory": {"reservation": 1}}"#), None);
    }
}
