//! Limits as systemd knows them. It writes them again whenever it is reloaded: what it is not told, it
//! would take back.

use crate::cgroups::Setting;

/// A property of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its name on the bus.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// The types that a property has here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Value {
    Bool(bool),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Text(String),
    Bytes(Vec<u8>),
    Uint32s(Vec<u32>),
}

/// "No limit" in every property that is a number.
const INFINITY: u64 = u64::MAX;

/// The properties for these settings. What systemd has no property for is written to the cgroup alone.
pub fn properties(settings: &[Setting]) -> Vec<Property> {
    settings.iter().flat_map(of_setting).collect()
}

fn of_setting(setting: &Setting) -> Vec<Property> {
    let value = setting.value.trim();
    let number = |name: &str| {
        let number = if value == "max" { Some(INFINITY) } else { value.parse().ok() };
        number.map(|number| (name.to_owned(), Value::Uint64(number)))
    };
    let pairs: Vec<(String, Value)> = match setting.file.as_ref() {
        "cpu.weight" => number("CPUWeight").into_iter().collect(),
        "cpu.max" => cpu_max(value),
        "cpuset.cpus" => bits("AllowedCPUs", value),
        "cpuset.mems" => bits("AllowedMemoryNodes", value),
        "memory.max" => number("MemoryMax").into_iter().collect(),
        "memory.high" => number("MemoryHigh").into_iter().collect(),
        "memory.low" => number("MemoryLow").into_iter().collect(),
        "memory.min" => number("MemoryMin").into_iter().collect(),
        "memory.swap.max" => number("MemorySwapMax").into_iter().collect(),
        "pids.max" => number("TasksMax").into_iter().collect(),
        _ => Vec::new(),
    };
    pairs.into_iter().map(|(name, value)| Property { name, value }).collect()
}

/// `QUOTA PERIOD` in microseconds.
fn cpu_max(value: &str) -> Vec<(String, Value)> {
    let mut words = value.split_whitespace();
    let quota = words.next().unwrap_or("max");
    let period: u64 =
        words.next().and_then(|word| word.parse().ok()).filter(|period| *period > 0).unwrap_or(100_000);
    let per_second = match quota.parse::<u64>() {
        // systemd counts in hundredths of a CPU: rounded up, as runc does.
        Ok(quota) => (u128::from(quota) * 1_000_000 / u128::from(period)).div_ceil(10_000) as u64 * 10_000,
        Err(_) => INFINITY,
    };
    vec![
        ("CPUQuotaPeriodUSec".into(), Value::Uint64(period)),
        ("CPUQuotaPerSecUSec".into(), Value::Uint64(per_second)),
    ]
}

/// A list such as `0-3,8` as a bit mask, the lowest byte first; nothing for what is no such list, which
/// the kernel will refuse with its reason.
fn bits(name: &str, list: &str) -> Vec<(String, Value)> {
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
    if mask.is_empty() { Vec::new() } else { vec![(name.into(), Value::Bytes(mask))] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroups::Limits;

    fn of(json: &str) -> Vec<(String, Value)> {
        let limits = Limits::for_update(&serde_json::from_str(json).unwrap()).unwrap();
        properties(&limits.settings).into_iter().map(|p| (p.name, p.value)).collect()
    }

    #[test]
    fn limits_have_properties() {
        let json = r#"{"cpu": {"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0-1,9", "mems": "0"},
            "memory": {"limit": 1000, "swap": 1500, "reservation": 500}, "pids": {"limit": 7},
            "unified": {"memory.high": "max", "cgroup.max.depth": "3"}}"#;
        let mut found = of(json);
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let number = |name: &str, value| (name.to_owned(), Value::Uint64(value));
        assert_eq!(
            found,
            [
                ("AllowedCPUs".to_owned(), Value::Bytes(vec![3, 2])),
                ("AllowedMemoryNodes".to_owned(), Value::Bytes(vec![1])),
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
    fn quotas_are_rounded_up_to_hundredths() {
        let quota = |json: &str| of(&format!(r#"{{"cpu": {json}}}"#)).pop().unwrap().1;
        assert_eq!(quota(r#"{"quota": 33333, "period": 100000}"#), Value::Uint64(340_000));
        assert_eq!(quota(r#"{"quota": -1}"#), Value::Uint64(u64::MAX));
        assert_eq!(quota(r#"{"quota": 200000, "period": 100000}"#), Value::Uint64(2_000_000));
    }

    #[test]
    fn what_is_no_list_has_no_mask() {
        assert!(bits("AllowedCPUs", "1000000").is_empty());
        assert!(bits("AllowedCPUs", "3-1").is_empty());
        assert!(bits("AllowedCPUs", "x").is_empty());
    }
}
