//! memory.max, memory.swap.max and memory.low.

use oci_spec::runtime::LinuxMemory;

use super::{Absent, LimitError, Setting, UsageCheck, invalid, refuse};

const LIMIT: &str = "linux.resources.memory.limit";
const SWAP: &str = "linux.resources.memory.swap";
const RESERVATION: &str = "linux.resources.memory.reservation";

/// 0 means unset, -1 without limit.
pub(super) fn plan(
    memory: &LinuxMemory,
    settings: &mut Vec<Setting>,
) -> Result<Option<UsageCheck>, LimitError> {
    refuse_version_one(memory)?;
    let limit = memory.limit().unwrap_or(0);
    let both = memory.swap().unwrap_or(0);
    let reservation = memory.reservation().unwrap_or(0);
    for (field, value) in [(LIMIT, limit), (SWAP, both), (RESERVATION, reservation)] {
        if value < -1 {
            return Err(invalid(field, value, "give a number of bytes, or -1 for no limit"));
        }
    }
    // Swap before memory: lowering memory.max pushes pages out, and they need a place to go to.
    if let Some(swap) = swap_alone(both, limit)? {
        let mut setting = Setting::new("memory", "memory.swap.max", text(swap), SWAP);
        if swap <= 0 {
            // A kernel that does not account swap neither limits it nor, for this cgroup, has it.
            setting.absent = Absent::Ignored;
        }
        settings.push(setting);
    }
    if limit != 0 {
        settings.push(Setting::new("memory", "memory.max", text(limit), LIMIT));
    }
    if reservation != 0 {
        settings.push(Setting::new("memory", "memory.low", text(reservation), RESERVATION));
    }
    let check = UsageCheck { limit: Some(limit).filter(|l| *l > 0), swap: Some(both).filter(|s| *s > 0) };
    let wanted =
        memory.check_before_update() == Some(true) && (check.limit.is_some() || check.swap.is_some());
    Ok(wanted.then_some(check))
}

/// The spec's `swap` counts memory and swap together, memory.swap.max swap alone.
fn swap_alone(both: i64, limit: i64) -> Result<Option<i64>, LimitError> {
    match (both, limit) {
        // Memory without limit means, as on cgroup v1, swap without limit too.
        (0, -1) => Ok(Some(-1)),
        (0, _) => Ok(None),
        (-1, _) | (_, -1) => Ok(Some(both)),
        (_, 0) => {
            Err(invalid(SWAP, both, "it counts memory and swap together, and needs a memory.limit beside it"))
        }
        (both, limit) if both < limit => {
            Err(invalid(SWAP, both, "it counts memory and swap together, and may not be below memory.limit"))
        }
        (both, limit) => Ok(Some(both - limit)),
    }
}

fn text(bytes: i64) -> String {
    if bytes == -1 { "max".into() } else { bytes.to_string() }
}

fn refuse_version_one(memory: &LinuxMemory) -> Result<(), LimitError> {
    #[allow(deprecated)] // It is asked for only to be refused.
    let kernel = memory.kernel();
    let number = |value: Option<i64>| !matches!(value, None | Some(0 | -1));
    refuse("linux.resources.memory.kernel", number(kernel))?;
    refuse("linux.resources.memory.kernelTCP", number(memory.kernel_tcp()))?;
    refuse("linux.resources.memory.swappiness", memory.swappiness().is_some_and(|value| value != 0))?;
    refuse("linux.resources.memory.disableOOMKiller", memory.disable_oom_killer() == Some(true))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{limits, written};
    use super::*;

    #[test]
    fn swap_is_what_remains_above_memory() {
        let json = r#"{"memory": {"limit": 1000, "swap": 1500, "reservation": 500}}"#;
        assert_eq!(written(json), ["memory.swap.max = 500", "memory.max = 1000", "memory.low = 500"]);
        assert_eq!(
            written(r#"{"memory": {"limit": 1000, "swap": 1000}}"#),
            ["memory.swap.max = 0", "memory.max = 1000"]
        );
    }

    #[test]
    fn minus_one_is_no_limit_and_zero_is_unset() {
        assert_eq!(written(r#"{"memory": {"limit": -1}}"#), ["memory.swap.max = max", "memory.max = max"]);
        assert_eq!(written(r#"{"memory": {"swap": -1}}"#), ["memory.swap.max = max"]);
        assert_eq!(
            written(r#"{"memory": {"limit": -1, "swap": 300}}"#),
            ["memory.swap.max = 300", "memory.max = max"]
        );
        assert_eq!(written(r#"{"memory": {"reservation": -1}}"#), ["memory.low = max"]);
        assert!(written(r#"{"memory": {"limit": 0, "swap": 0, "swappiness": 0, "kernel": 0}}"#).is_empty());
    }

    #[test]
    fn nonsense_is_refused_with_its_path() {
        for (json, field) in [
            (r#"{"swap": 1000}"#, SWAP),
            (r#"{"limit": 1000, "swap": 999}"#, SWAP),
            (r#"{"limit": -2}"#, LIMIT),
            (r#"{"reservation": -3}"#, RESERVATION),
            (r#"{"swappiness": 60}"#, "linux.resources.memory.swappiness"),
            (r#"{"kernel": 1}"#, "linux.resources.memory.kernel"),
            (r#"{"kernelTCP": 1}"#, "linux.resources.memory.kernelTCP"),
            (r#"{"disableOOMKiller": true}"#, "linux.resources.memory.disableOOMKiller"),
        ] {
            let error = limits(&format!(r#"{{"memory": {json}}}"#)).unwrap_err();
            assert!(error.starts_with(&format!("{field} is ")), "{json}: {error}");
        }
    }

    #[test]
    fn usage_is_checked_where_it_is_asked_for() {
        let check = |json: &str| limits(json).unwrap().usage_check;
        assert_eq!(
            check(r#"{"memory": {"limit": 5, "swap": 7, "checkBeforeUpdate": true}}"#),
            Some(UsageCheck { limit: Some(5), swap: Some(7) })
        );
        assert_eq!(check(r#"{"memory": {"limit": 5}}"#), None);
        assert_eq!(check(r#"{"memory": {"limit": -1, "checkBeforeUpdate": true}}"#), None);
    }
}
