//! Limits: linux.resources. 0 and empty mean that nothing is said.

use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value, json};

use super::Invalid;
use crate::api::LinuxContainerResources;

/// Limits as OCI has them; `field` is what errors begin with (`linux.resources`).
pub fn resources(wishes: &LinuxContainerResources, field: &str) -> Result<LinuxResources, Invalid> {
    serde_json::from_value(json(wishes, field)?).map_err(|error| Invalid::new(field, error.to_string()))
}

pub(super) fn json(wishes: &LinuxContainerResources, field: &str) -> Result<Value, Invalid> {
    let mut all = Map::new();
    let parts = [("cpu", cpu(wishes, field)?), ("memory", memory(wishes, field)?)];
    for (name, fields) in parts {
        if !fields.is_empty() {
            all.insert(name.into(), fields.into());
        }
    }
    if !wishes.hugepage_limits.is_empty() {
        all.insert("hugepageLimits".into(), huge_pages(wishes, field)?.into());
    }
    if !wishes.unified.is_empty() {
        let unified: Map<String, Value> =
            wishes.unified.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
        all.insert("unified".into(), unified.into());
    }
    Ok(all.into())
}

fn cpu(wishes: &LinuxContainerResources, field: &str) -> Result<Map<String, Value>, Invalid> {
    let at_least = |name: &str, value: i64, least: i64| match value < least {
        true => Err(Invalid::new(format!("{field}.{name}"), format!("{value} is below {least}"))),
        false => Ok(value),
    };
    let numbers = [
        ("period", at_least("cpu_period", wishes.cpu_period, 0)?),
        ("quota", at_least("cpu_quota", wishes.cpu_quota, -1)?),
        ("shares", at_least("cpu_shares", wishes.cpu_shares, 0)?),
    ];
    let sets = [("cpus", &wishes.cpuset_cpus), ("mems", &wishes.cpuset_mems)];
    let mut fields = Map::new();
    fields.extend(
        numbers.into_iter().filter(|(_, value)| *value != 0).map(|(name, value)| (name.into(), value.into())),
    );
    fields.extend(
        sets.into_iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| (name.into(), text.as_str().into())),
    );
    Ok(fields)
}

/// OCI's swap counts memory and swap together, and so does the CRI's. Without a word of it a container with a limit does not
/// swap, as with other runtimes.
fn memory(wishes: &LinuxContainerResources, field: &str) -> Result<Map<String, Value>, Invalid> {
    let (limit, swap) = (wishes.memory_limit_in_bytes, wishes.memory_swap_limit_in_bytes);
    let refuse = |name: &str, reason: String| Err(Invalid::new(format!("{field}.{name}"), reason));
    if limit < -1 {
        return refuse(
            "memory_limit_in_bytes",
            format!("{limit}: give a number of bytes, or -1 for no limit"),
        );
    }
    let mut fields = Map::new();
    let swap = match swap {
        i64::MIN..=-2 => {
            let reason = format!("{swap}: give a number of bytes, or -1 for no limit");
            return refuse("memory_swap_limit_in_bytes", reason);
        }
        0 => limit,
        1.. if limit <= 0 => {
            return refuse("memory_swap_limit_in_bytes", "needs memory_limit_in_bytes beside it".into());
        }
        1.. if swap < limit => {
            let reason =
                format!("{swap} is memory and swap together: not below memory_limit_in_bytes, {limit}");
            return refuse("memory_swap_limit_in_bytes", reason);
        }
        swap => swap,
    };
    for (name, value) in [("limit", limit), ("swap", swap)] {
        if value != 0 {
            fields.insert(name.into(), value.into());
        }
    }
    Ok(fields)
}

fn huge_pages(wishes: &LinuxContainerResources, field: &str) -> Result<Vec<Value>, Invalid> {
    let one = |(index, limit): (usize, &crate::api::HugepageLimit)| {
        let size = limit.page_size.as_str();
        let number = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
        match number.is_some_and(|number| number.parse::<u64>().is_ok_and(|number| number > 0)) {
            true => Ok(json!({"pageSize": size, "limit": limit.limit})),
            false => {
                let field = format!("{field}.hugepage_limits[{index}].page_size");
                Err(Invalid::new(field, format!("{size:?} is no size such as 2MB or 1GB")))
            }
        }
    };
    wishes.hugepage_limits.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::Wish;
    use super::*;

    #[test]
    fn limits_become_ocis() {
        let wish = Wish::with(|wish| {
            *wish.resources() = LinuxContainerResources {
                cpu_period: 100_000,
                cpu_quota: -1,
                cpu_shares: 2,
                memory_limit_in_bytes: 4096,
                cpuset_cpus: "0-1".into(),
                cpuset_mems: "0".into(),
                hugepage_limits: vec![crate::api::HugepageLimit { page_size: "2MB".into(), limit: 0 }],
                unified: [("memory.high".to_owned(), "1".to_owned()), ("cpu.idle".into(), "1".into())].into(),
                ..Default::default()
            };
        });
        let resources = &wish.json()["linux"]["resources"];
        assert_eq!(
            resources["cpu"],
            json!({"period": 100_000, "quota": -1, "shares": 2, "cpus": "0-1", "mems": "0"})
        );
        assert_eq!(resources["memory"], json!({"limit": 4096, "swap": 4096}));
        assert_eq!(resources["hugepageLimits"], json!([{"pageSize": "2MB", "limit": 0}]));
        assert_eq!(resources["unified"], json!({"memory.high": "1", "cpu.idle": "1"}));
        let swap = LinuxContainerResources {
            memory_limit_in_bytes: 10,
            memory_swap_limit_in_bytes: 30,
            ..Default::default()
        };
        assert_eq!(json(&swap, "r").unwrap()["memory"], json!({"limit": 10, "swap": 30}));
        assert_eq!(json(&LinuxContainerResources::default(), "r").unwrap(), json!({}));
        assert_eq!(resources_of(&swap).memory().as_ref().unwrap().swap(), Some(30));
    }

    fn resources_of(wishes: &LinuxContainerResources) -> LinuxResources {
        super::resources(wishes, "linux").unwrap()
    }

    #[test]
    fn limits_that_are_none_are_named() {
        type Change = fn(&mut LinuxContainerResources);
        let huge = |size: &str| vec![crate::api::HugepageLimit { page_size: size.into(), limit: 1 }];
        let cases: [(Change, &str); 6] = [
            (|r| r.cpu_period = -1, "linux.resources.cpu_period: -1 is below 0"),
            (|r| r.cpu_quota = -2, "linux.resources.cpu_quota: -2 is below -1"),
            (|r| r.cpu_shares = -1, "linux.resources.cpu_shares: -1 is below 0"),
            (
                |r| r.memory_limit_in_bytes = -2,
                "linux.resources.memory_limit_in_bytes: -2: give a number of bytes, or -1 for no limit",
            ),
            (
                |r| r.memory_swap_limit_in_bytes = 5,
                "linux.resources.memory_swap_limit_in_bytes: needs memory_limit_in_bytes beside it",
            ),
            (
                |r| (r.memory_limit_in_bytes, r.memory_swap_limit_in_bytes) = (6, 5),
                "linux.resources.memory_swap_limit_in_bytes: 5 is memory and swap together: not below \
                 memory_limit_in_bytes, 6",
            ),
        ];
        for (change, expected) in cases {
            assert_eq!(Wish::with(|wish| change(wish.resources())).error(), expected);
        }
        for size in ["", "2", "MB", "0MB", "2TB", "-2MB"] {
            let error = Wish::with(|wish| wish.resources().hugepage_limits = huge(size)).error();
            let expected = format!(
                "linux.resources.hugepage_limits[0].page_size: {size:?} is no size such as 2MB or 1GB"
            );
            assert_eq!(error, expected);
        }
    }
}
