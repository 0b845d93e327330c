//! cpu.weight, cpu.max, cpu.max.burst, cpu.idle and the cpuset.

use oci_spec::runtime::LinuxCpu;

use super::{LimitError, Setting, invalid, refuse};

/// The kernel's period where none is given, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

pub(super) fn plan(cpu: &LinuxCpu, settings: &mut Vec<Setting>) -> Result<(), LimitError> {
    refuse("linux.resources.cpu.realtimeRuntime", cpu.realtime_runtime().is_some_and(|value| value != 0))?;
    refuse("linux.resources.cpu.realtimePeriod", cpu.realtime_period().is_some_and(|value| value != 0))?;
    let idle = cpu.idle().map(|idle| Setting::new("cpu", "cpu.idle", idle, "linux.resources.cpu.idle"));
    // An idle group has no weight: it stops being idle before, and begins after.
    let (before, after) = if cpu.idle() == Some(0) { (idle, None) } else { (None, idle) };
    settings.extend(before);
    let weight = weight(cpu.shares().unwrap_or(0));
    if weight != 0 {
        settings.push(Setting::new("cpu", "cpu.weight", weight, "linux.resources.cpu.shares"));
    }
    settings.extend(after);
    bandwidth(cpu, settings)?;
    for (file, list, field) in [
        ("cpuset.cpus", cpu.cpus(), "linux.resources.cpu.cpus"),
        ("cpuset.mems", cpu.mems(), "linux.resources.cpu.mems"),
    ] {
        if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
            settings.push(Setting::new("cpuset", file, list, field));
        }
    }
    Ok(())
}

fn bandwidth(cpu: &LinuxCpu, settings: &mut Vec<Setting>) -> Result<(), LimitError> {
    let (quota, period) = (cpu.quota().unwrap_or(0), cpu.period().unwrap_or(0));
    let limited = quota != 0 || period != 0;
    if quota < -1 {
        return Err(invalid("linux.resources.cpu.quota", quota, "give microseconds, or -1 for no limit"));
    }
    if let Some(burst) = cpu.burst() {
        // Never above the quota: a smaller burst goes before a smaller quota, a larger one after a larger.
        let mut setting = Setting::new("cpu", "cpu.max.burst", burst, "linux.resources.cpu.burst");
        setting.retried = limited;
        settings.push(setting);
    }
    if limited {
        let period = if period == 0 { DEFAULT_PERIOD } else { period };
        let (value, field) = match quota {
            0 => (format!("max {period}"), "linux.resources.cpu.period"),
            -1 => (format!("max {period}"), "linux.resources.cpu.quota"),
            _ => (format!("{quota} {period}"), "linux.resources.cpu.quota"),
        };
        settings.push(Setting::new("cpu", "cpu.max", value, field));
    }
    Ok(())
}

/// Shares of cgroup v1 (2 to 262144, usually 1024) as a weight of v2 (1 to 10000, usually 100).
///
/// runc's formula since 1.4: a parabola on logarithmic scales that meets both ends and the usual values.
fn weight(shares: u64) -> u64 {
    match shares {
        0 => 0,
        1 | 2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10_f64.powf(exponent).ceil() as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{limits, written};
    use super::*;

    #[test]
    fn shares_become_the_weight_that_runc_computes() {
        let pairs = [(0, 0), (1, 1), (2, 1), (3, 2), (1024, 100), (262_143, 10_000), (262_144, 10_000)];
        for (shares, expected) in pairs {
            assert_eq!(weight(shares), expected, "{shares}");
        }
        assert_eq!(weight(u64::MAX), 10_000);
        let all: Vec<u64> = (2..262_144).map(weight).collect();
        assert!(all.is_sorted() && all.iter().all(|weight| (1..=10_000).contains(weight)));
    }

    #[test]
    fn quota_and_period_are_one_file() {
        let max = |json: &str| written(&format!(r#"{{"cpu": {json}}}"#));
        assert_eq!(max(r#"{"quota": 5000}"#), ["cpu.max = 5000 100000"]);
        assert_eq!(max(r#"{"quota": 5000, "period": 50000}"#), ["cpu.max = 5000 50000"]);
        assert_eq!(max(r#"{"quota": -1}"#), ["cpu.max = max 100000"]);
        assert_eq!(max(r#"{"period": 50000}"#), ["cpu.max = max 50000"]);
        assert!(max(r#"{"quota": 0, "period": 0, "shares": 0, "cpus": "", "realtimePeriod": 0}"#).is_empty());
        assert_eq!(max(r#"{"quota": 5000, "burst": 100}"#), ["cpu.max.burst = 100", "cpu.max = 5000 100000"]);
    }

    #[test]
    fn an_idle_group_gets_its_weight_while_it_is_not_idle() {
        let cpu = |json: &str| written(&format!(r#"{{"cpu": {json}}}"#));
        assert_eq!(cpu(r#"{"idle": 0, "shares": 2}"#), ["cpu.idle = 0", "cpu.weight = 1"]);
        assert_eq!(cpu(r#"{"idle": 1, "shares": 2}"#), ["cpu.weight = 1", "cpu.idle = 1"]);
    }

    #[test]
    fn a_cpuset_needs_its_own_controller() {
        let json = r#"{"cpu": {"cpus": "0-1", "mems": "0"}}"#;
        assert_eq!(written(json), ["cpuset.cpus = 0-1", "cpuset.mems = 0"]);
        assert_eq!(limits(json).unwrap().controllers().to_string(), "cpuset");
    }

    #[test]
    fn what_version_two_lacks_is_refused() {
        for (json, field) in [
            (r#"{"realtimeRuntime": 1}"#, "linux.resources.cpu.realtimeRuntime"),
            (r#"{"realtimePeriod": 1}"#, "linux.resources.cpu.realtimePeriod"),
            (r#"{"quota": -7}"#, "linux.resources.cpu.quota"),
        ] {
            let error = limits(&format!(r#"{{"cpu": {json}}}"#)).unwrap_err();
            assert!(error.starts_with(field), "{error}");
        }
    }
}
