//! pids.max, hugetlb.*.max, rdma.max and the spec's `unified` map.

use std::borrow::Cow;
use std::collections::HashMap;

use oci_spec::runtime::{LinuxHugepageLimit, LinuxNetwork, LinuxPids, LinuxRdma};

use super::{Absent, LimitError, Setting, invalid, refuse};

/// Files of the core that are actions or structure, not limits.
const NO_LIMITS: [&str; 6] = [
    "cgroup.procs",
    "cgroup.threads",
    "cgroup.kill",
    "cgroup.freeze",
    "cgroup.type",
    "cgroup.subtree_control",
];

/// Below 0 is no limit; 0 is 1, for the first process is in the cgroup already, as with runc.
pub(super) fn pids(pids: &LinuxPids, settings: &mut Vec<Setting>) {
    let value = match pids.limit() {
        ..0 => "max".to_owned(),
        limit => limit.max(1).to_string(),
    };
    settings.push(Setting::new("pids", "pids.max", value, "linux.resources.pids.limit"));
}

/// Both what is in use and what is reserved, where the kernel (5.7) can limit that too.
pub(super) fn huge_pages(
    limits: &[LinuxHugepageLimit],
    settings: &mut Vec<Setting>,
) -> Result<(), LimitError> {
    for (index, limit) in limits.iter().enumerate() {
        let field = format!("linux.resources.hugepageLimits[{index}]");
        let size = limit.page_size();
        let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
        let is_size = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits.is_some_and(is_size) {
            return Err(invalid(format!("{field}.pageSize"), size, "give a size such as 2MB or 1GB"));
        }
        if limit.limit() < 0 {
            return Err(invalid(format!("{field}.limit"), limit.limit(), "give a number of bytes"));
        }
        let field = format!("{field}.limit");
        settings.push(Setting::new("hugetlb", format!("hugetlb.{size}.max"), limit.limit(), field.clone()));
        let mut reserved = Setting::new("hugetlb", format!("hugetlb.{size}.rsvd.max"), limit.limit(), field);
        reserved.absent = Absent::Ignored;
        settings.push(reserved);
    }
    Ok(())
}

/// One line per device: `mlx4_0 hca_handle=2 hca_object=2000`.
pub(super) fn rdma(
    devices: &HashMap<String, LinuxRdma>,
    settings: &mut Vec<Setting>,
) -> Result<(), LimitError> {
    for (device, limit) in sorted(devices) {
        let field = format!("linux.resources.rdma[{device:?}]");
        if device.is_empty() || device.contains(char::is_whitespace) {
            return Err(invalid(field, device, "it is no name of an RDMA device"));
        }
        let mut value = device.clone();
        for (key, number) in [("hca_handle", limit.hca_handles()), ("hca_object", limit.hca_objects())] {
            if let Some(number) = number {
                value.push_str(&format!(" {key}={number}"));
            }
        }
        if value != *device {
            settings.push(Setting::new("rdma", "rdma.max", value, field));
        }
    }
    Ok(())
}

/// Files in the kernel's own words. The name up to the first dot is the controller's.
pub(super) fn unified(
    files: &HashMap<String, String>,
    settings: &mut Vec<Setting>,
) -> Result<(), LimitError> {
    for (file, value) in sorted(files) {
        let field = format!("linux.resources.unified[{file:?}]");
        if file.contains('/') || file.contains('\0') {
            return Err(invalid(field, value, "a name of a file has no slash"));
        }
        let Some((controller, _)) =
            file.split_once('.').filter(|(controller, name)| !controller.is_empty() && !name.is_empty())
        else {
            return Err(invalid(field, value, "give CONTROLLER.FILE, such as memory.high"));
        };
        if NO_LIMITS.contains(&file.as_str()) {
            return Err(invalid(field, value, "that file sets no limit; rcrun itself writes to it"));
        }
        settings.push(Setting {
            controller: (controller != "cgroup").then(|| Cow::Owned(controller.to_owned())),
            file: file.clone().into(),
            value: value.clone(),
            field: field.into(),
            absent: Absent::Fails,
            retried: false,
        });
    }
    Ok(())
}

/// Marks for tc(8) were a job of cgroup v1.
pub(super) fn refuse_network(network: &LinuxNetwork) -> Result<(), LimitError> {
    refuse("linux.resources.network.classID", network.class_id().is_some_and(|id| id != 0))?;
    let priorities = network.priorities().as_ref().is_some_and(|list| !list.is_empty());
    refuse("linux.resources.network.priorities", priorities)
}

/// The entries of a JSON object in an order that does not change from run to run.
fn sorted<V>(map: &HashMap<String, V>) -> Vec<(&String, &V)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

#[cfg(test)]
mod tests {
    use super::super::tests::{limits, written};
    use super::*;

    #[test]
    fn pids_are_limited_as_runc_does() {
        let max = |limit: i64| written(&format!(r#"{{"pids": {{"limit": {limit}}}}}"#)).join(" ");
        assert_eq!(max(100), "pids.max = 100");
        assert_eq!(max(0), "pids.max = 1");
        assert_eq!(max(-1), "pids.max = max");
    }

    #[test]
    fn huge_pages_are_limited_in_use_and_reserved() {
        let json = r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}, {"pageSize": "64KB", "limit": 0}]}"#;
        assert_eq!(
            written(json),
            [
                "hugetlb.2MB.max = 4194304",
                "hugetlb.2MB.rsvd.max = 4194304",
                "hugetlb.64KB.max = 0",
                "hugetlb.64KB.rsvd.max = 0"
            ]
        );
        assert_eq!(limits(json).unwrap().settings[1].absent, Absent::Ignored);
    }

    #[test]
    fn rdma_devices_get_a_line_each() {
        let json = r#"{"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "mlx4_0": {"hcaObjects": 9}, "x": {}}}"#;
        assert_eq!(
            written(json),
            ["rdma.max = mlx4_0 hca_object=9", "rdma.max = mlx5_1 hca_handle=3 hca_object=10000"]
        );
    }

    #[test]
    fn unified_comes_last_and_in_order() {
        let json = r#"{"pids": {"limit": 5}, "unified": {"memory.high": "1\n", "io.max": "8:0 rbps=1\n8:16 rbps=2"}}"#;
        assert_eq!(written(json), ["pids.max = 5", "io.max = 8:0 rbps=1, 8:16 rbps=2", "memory.high = 1"]);
        assert_eq!(limits(json).unwrap().controllers().to_string(), "pids, io, memory");
    }

    #[test]
    fn what_is_no_limit_is_refused_with_its_path() {
        for (json, part) in [
            (r#"{"unified": {"../memory.max": "1"}}"#, r#"linux.resources.unified["../memory.max"]"#),
            (r#"{"unified": {"memory": "1"}}"#, "CONTROLLER.FILE"),
            (r#"{"unified": {"cgroup.kill": "1"}}"#, "sets no limit"),
            (
                r#"{"hugepageLimits": [{"pageSize": "2MB/..", "limit": 1}]}"#,
                "linux.resources.hugepageLimits[0].pageSize",
            ),
            (
                r#"{"hugepageLimits": [{"pageSize": "MB", "limit": 1}]}"#,
                "linux.resources.hugepageLimits[0].pageSize",
            ),
            (
                r#"{"hugepageLimits": [{"pageSize": "2MB", "limit": -1}]}"#,
                "linux.resources.hugepageLimits[0].limit",
            ),
            (r#"{"rdma": {"a b": {"hcaHandles": 1}}}"#, "linux.resources.rdma"),
            (r#"{"network": {"classID": 5}}"#, "linux.resources.network.classID"),
            (
                r#"{"network": {"priorities": [{"name": "eth0", "priority": 1}]}}"#,
                "linux.resources.network.priorities",
            ),
        ] {
            let error = limits(json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
        assert!(written(r#"{"network": {"classID": 0, "priorities": []}}"#).is_empty());
    }
}
