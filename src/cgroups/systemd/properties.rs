//! Limits as systemd knows them. It writes them again whenever it is reloaded: what it is not told, it
//! would take back.

use super::Value;
use crate::cgroups::Setting;
use crate::cgroups::limits::Absent;

/// A property of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its name on the bus.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// The version of systemd that has it; an older one is not told, and the cgroup has the limit alone.
    pub since: u32,
}

impl Property {
    pub(super) fn new(name: &str, value: Value) -> Self {
        Self { name: name.into(), value, since: 0 }
    }

    fn since(self, since: u32) -> Self {
        Self { since, ..self }
    }
}

/// "No limit" in every property that is a number.
const INFINITY: u64 = u64::MAX;

/// systemd counts a quota in hundredths of a CPU.
const HUNDREDTH: u64 = 10_000;

/// The properties for these settings. What systemd has no property for is written to the cgroup alone.
pub fn properties(settings: &[Setting]) -> Vec<Property> {
    let has = |file: &str| settings.iter().any(|setting| setting.file == file);
    let idle =
        settings.iter().rfind(|setting| setting.file == "cpu.idle").map(|setting| setting.value.trim());
    let mut all: Vec<_> = settings
        .iter()
        .filter(|setting| idle != Some("1") || setting.file != "cpu.weight")
        .flat_map(of_setting)
        .collect();
    match idle {
        // The weight 0 is idle's.
        Some("1") => all.push(Property::new("CPUWeight", Value::Uint64(0)).since(252)),
        // Idle no more, as the kernel has it then.
        Some("0") if !has("cpu.weight") => all.push(Property::new("CPUWeight", Value::Uint64(100))),
        _ => {}
    }
    all
}

/// Properties that systemd takes for a new unit alone.
pub(super) fn for_new_unit(settings: &[Setting]) -> Vec<Property> {
    let policy = |setting: &Setting| match (setting.file.as_ref(), setting.value.trim()) {
        ("memory.oom.group", "0") => Some("continue"),
        ("memory.oom.group", "1") => Some("kill"),
        _ => None,
    };
    let found = settings.iter().rev().find_map(policy);
    found.map(|word| Property::new("OOMPolicy", Value::Text(word.into())).since(253)).into_iter().collect()
}

/// Rounds quotas up as systemd will, so that the cgroup has the same before and after a reload.
pub fn round_quotas(settings: &mut [Setting]) {
    for setting in settings.iter_mut().filter(|setting| setting.file == "cpu.max") {
        if let Some((Some(quota), period)) = quota_and_period(&setting.value) {
            let rounded = u128::from(per_second(quota, period)) * u128::from(period) / 1_000_000;
            setting.value = format!("{rounded} {period}");
        }
    }
}

fn of_setting(setting: &Setting) -> Vec<Property> {
    let value = setting.value.trim();
    let number = |name: &str| {
        let number = if value == "max" { Some(INFINITY) } else { value.parse().ok() };
        number.map(|number| Property::new(name, Value::Uint64(number)))
    };
    match setting.file.as_ref() {
        "cpu.weight" => number("CPUWeight").into_iter().collect(),
        "cpu.max" => cpu_max(value),
        "cpuset.cpus" => bits("AllowedCPUs", value),
        "cpuset.mems" => bits("AllowedMemoryNodes", value),
        "memory.max" => number("MemoryMax").into_iter().collect(),
        "memory.high" => number("MemoryHigh").into_iter().collect(),
        "memory.low" => number("MemoryLow").into_iter().collect(),
        "memory.min" => number("MemoryMin").into_iter().collect(),
        "memory.swap.max" => number("MemorySwapMax").into_iter().collect(),
        // systemd takes no 0: with 1 nothing can be forked either.
        "pids.max" if value == "0" => vec![Property::new("TasksMax", Value::Uint64(1))],
        "pids.max" => number("TasksMax").into_iter().collect(),
        "io.weight" => value.lines().filter_map(io_weight).collect(),
        // systemd has one weight for both files, and that is io.weight's.
        "io.bfq.weight" => match &setting.absent {
            Absent::Instead("io.weight", converted) => io_weight(converted).into_iter().collect(),
            _ => Vec::new(),
        },
        "io.max" => value.lines().flat_map(io_max).collect(),
        _ => Vec::new(),
    }
}

/// `QUOTA PERIOD` in microseconds; no quota is none.
fn quota_and_period(value: &str) -> Option<(Option<u64>, u64)> {
    const USUAL: u64 = 100_000;
    let mut words = value.split_whitespace();
    let quota = match words.next()? {
        "max" => None,
        quota => Some(quota.parse().ok()?),
    };
    let period = words.next().map_or(Some(USUAL), |word| word.parse().ok()).filter(|period| *period > 0)?;
    Some((quota, period))
}

/// Microseconds in each second, rounded up to what systemd counts.
fn per_second(quota: u64, period: u64) -> u64 {
    let exact = u128::from(quota) * 1_000_000 / u128::from(period);
    u64::try_from(exact.next_multiple_of(HUNDREDTH.into())).unwrap_or(INFINITY)
}

fn cpu_max(value: &str) -> Vec<Property> {
    let Some((quota, period)) = quota_and_period(value) else { return Vec::new() };
    let per_second = quota.map_or(INFINITY, |quota| per_second(quota, period));
    vec![
        Property::new("CPUQuotaPeriodUSec", Value::Uint64(period)).since(242),
        Property::new("CPUQuotaPerSecUSec", Value::Uint64(per_second)),
    ]
}

/// `100`, `default 100` or `8:0 100`.
fn io_weight(line: &str) -> Option<Property> {
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        [weight] | ["default", weight] => {
            Some(Property::new("IOWeight", Value::Uint64(weight.parse().ok()?)))
        }
        [device, weight] => {
            Some(Property::new("IODeviceWeight", Value::pair(device_path(device)?, weight.parse().ok()?)))
        }
        _ => None,
    }
}

/// `8:0 rbps=1000 wiops=max`
fn io_max(line: &str) -> Vec<Property> {
    let mut words = line.split_whitespace();
    let Some(path) = words.next().and_then(device_path) else { return Vec::new() };
    let limit = |word: &str| {
        let (key, rate) = word.split_once('=')?;
        let name = match key {
            "rbps" => "IOReadBandwidthMax",
            "wbps" => "IOWriteBandwidthMax",
            "riops" => "IOReadIOPSMax",
            "wiops" => "IOWriteIOPSMax",
            _ => return None,
        };
        let rate = if rate == "max" { INFINITY } else { rate.parse().ok()? };
        Some(Property::new(name, Value::pair(path.clone(), rate)))
    };
    words.filter_map(limit).collect()
}

/// The path by which systemd knows the block device `MAJOR:MINOR`, whether or not udev has made it.
fn device_path(number: &str) -> Option<String> {
    let (major, minor) = number.split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    Some(format!("/dev/block/{major}:{minor}"))
}

/// A list such as `0-3,8` as a bit mask, the lowest byte first; nothing for what is no such list, which
/// the kernel will refuse with its reason.
fn bits(name: &str, list: &str) -> Vec<Property> {
    const MOST: usize = 8192;
    let mut mask = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else {
            return Vec::new();
        };
        if last >= MOST || first > last {
            return Vec::new();
        }
        mask.resize(mask.len().max(last / 8 + 1), 0);
        for bit in first..=last {
            mask[bit / 8] |= 1_u8 << (bit % 8);
        }
    }
    if mask.is_empty() {
        return Vec::new();
    }
    vec![Property::new(name, Value::bytes(&mask)).since(244)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::Limits;

    fn settings(json: &str) -> Vec<Setting> {
        Limits::for_update(&serde_json::from_str(json).unwrap()).unwrap().settings
    }

    fn of(json: &str) -> Vec<(String, Value)> {
        let mut all: Vec<_> = properties(&settings(json)).into_iter().map(|p| (p.name, p.value)).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    fn number(name: &str, value: u64) -> (String, Value) {
        (name.to_owned(), Value::Uint64(value))
    }

    #[test]
    fn limits_have_properties() {
        let json = r#"{"cpu": {"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0-1,9", "mems": "0"},
            "memory": {"limit": 1000, "swap": 1500, "reservation": 500}, "pids": {"limit": 7},
            "unified": {"memory.high": "max", "cgroup.max.depth": "3"}}"#;
        assert_eq!(
            of(json),
            [
                ("AllowedCPUs".to_owned(), Value::bytes(&[3, 2])),
                ("AllowedMemoryNodes".to_owned(), Value::bytes(&[1])),
                number("CPUQuotaPerSecUSec", 500_000),
                number("CPUQuotaPeriodUSec", 100_000),
                number("CPUWeight", 100),
                number("MemoryHigh", u64::MAX),
                number("MemoryLow", 500),
                number("MemoryMax", 1000),
                number("MemorySwapMax", 500),
                number("TasksMax", 7),
            ]
        );
    }

    #[test]
    fn limits_of_devices_have_properties() {
        let device = |rate: u64| format!(r#"[{{"major": 8, "minor": 16, "rate": {rate}}}]"#);
        let json = format!(
            r#"{{"blockIO": {{"weight": 10, "weightDevice": [{{"major": 8, "minor": 0, "weight": 1000}}],
            "throttleReadBpsDevice": {}, "throttleWriteBpsDevice": {}, "throttleReadIOPSDevice": {},
            "throttleWriteIOPSDevice": {}}}}}"#,
            device(1),
            device(2),
            device(3),
            device(0)
        );
        let pair = |name: &str, path: &str, rate| (name.to_owned(), Value::pair(path.into(), rate));
        assert_eq!(
            of(&json),
            [
                pair("IODeviceWeight", "/dev/block/8:0", 10_000),
                pair("IOReadBandwidthMax", "/dev/block/8:16", 1),
                pair("IOReadIOPSMax", "/dev/block/8:16", 3),
                number("IOWeight", 1),
                pair("IOWriteBandwidthMax", "/dev/block/8:16", 2),
                pair("IOWriteIOPSMax", "/dev/block/8:16", u64::MAX),
            ]
        );
        let unified = r#"{"unified": {"io.weight": "default 7\n8:0 9", "io.max": "8:0 rbps=5 wiops=max\n"}}"#;
        assert_eq!(
            of(unified),
            [
                pair("IODeviceWeight", "/dev/block/8:0", 9),
                pair("IOReadBandwidthMax", "/dev/block/8:0", 5),
                number("IOWeight", 7),
                pair("IOWriteIOPSMax", "/dev/block/8:0", u64::MAX),
            ]
        );
    }

    #[test]
    fn an_idle_cgroup_has_no_weight() {
        assert_eq!(of(r#"{"cpu": {"idle": 1}}"#), [number("CPUWeight", 0)]);
        assert_eq!(of(r#"{"unified": {"cpu.idle": "1", "cpu.weight": "7"}}"#), [number("CPUWeight", 0)]);
        assert_eq!(of(r#"{"cpu": {"idle": 0}}"#), [number("CPUWeight", 100)]);
        assert_eq!(of(r#"{"cpu": {"idle": 0, "shares": 2}}"#), [number("CPUWeight", 1)]);
    }

    #[test]
    fn no_tasks_are_one() {
        assert_eq!(of(r#"{"unified": {"pids.max": "0"}}"#), [number("TasksMax", 1)]);
    }

    #[test]
    fn the_policy_on_a_lack_of_memory_is_a_new_units() {
        let policy = |value: &str| {
            let json = format!(r#"{{"unified": {{"memory.oom.group": "{value}"}}}}"#);
            assert!(of(&json).is_empty());
            for_new_unit(&settings(&json)).pop().map(|property| (property.value, property.since))
        };
        assert_eq!(policy("1"), Some((Value::Text("kill".into()), 253)));
        assert_eq!(policy("0"), Some((Value::Text("continue".into()), 253)));
        assert_eq!(policy("x"), None);
    }

    #[test]
    fn quotas_are_rounded_up_to_hundredths() {
        let quota = |cpu: &str| {
            let mut settings = settings(&format!(r#"{{"cpu": {cpu}}}"#));
            round_quotas(&mut settings);
            let property = properties(&settings).pop().unwrap().value;
            (property, settings.pop().unwrap().value)
        };
        let rounded = |number, text: &str| (Value::Uint64(number), text.to_owned());
        assert_eq!(quota(r#"{"quota": 33333, "period": 100000}"#), rounded(340_000, "34000 100000"));
        assert_eq!(quota(r#"{"quota": -1}"#).0, Value::Uint64(u64::MAX));
        assert_eq!(quota(r#"{"quota": 200000, "period": 100000}"#), rounded(2_000_000, "200000 100000"));
    }

    #[test]
    fn what_is_no_list_has_no_mask() {
        assert!(bits("AllowedCPUs", "1000000").is_empty());
        assert!(bits("AllowedCPUs", "3-1").is_empty());
        assert!(bits("AllowedCPUs", "x").is_empty());
    }
}
