//! Facts of a Pod as files: labels, annotations, names, resources.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::OnceLock;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, Pod, ResourceFieldSelector};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::objects::{Typed as _, quantity};

/// What is in a file.
pub(super) fn text(pod: &Pod, file: &DownwardAPIVolumeFile) -> Result<String, String> {
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), None) => field_text(pod, &field.field_path),
        (None, Some(resource)) => resource_text(pod, resource),
        _ => Err(format!("path {:?}: exactly one of fieldRef and resourceFieldRef is needed", file.path)),
    }
}

fn field_text(pod: &Pod, path: &str) -> Result<String, String> {
    let one = |map: Option<&BTreeMap<String, String>>, key: &str| {
        map.and_then(|map| map.get(key)).cloned().unwrap_or_default()
    };
    let key_of = |map: &str| {
        let rest = path.strip_prefix("metadata.")?.strip_prefix(map)?;
        rest.strip_prefix("['")?.strip_suffix("']")
    };
    Ok(match path {
        "metadata.name" => pod.name().to_owned(),
        "metadata.namespace" => pod.namespace().to_owned(),
        "metadata.uid" => pod.uid().to_owned(),
        "metadata.labels" => lines(pod.metadata.labels.as_ref()),
        "metadata.annotations" => lines(pod.metadata.annotations.as_ref()),
        _ => match (key_of("labels"), key_of("annotations")) {
            (Some(key), _) => one(pod.metadata.labels.as_ref(), key),
            (_, Some(key)) => one(pod.metadata.annotations.as_ref(), key),
            _ => return Err(format!("fieldPath {path}: not supported in a volume")),
        },
    })
}

/// `key="value"` lines in the order of keys, values quoted as by Go's strconv.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines = map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quoted(value)));
    lines.collect::<Vec<_>>().join("\n")
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        let _ = match c {
            '"' | '\\' => write!(quoted, "\\{c}"),
            '\x07' => write!(quoted, "\\a"),
            '\x08' => write!(quoted, "\\b"),
            '\x0c' => write!(quoted, "\\f"),
            '\n' => write!(quoted, "\\n"),
            '\r' => write!(quoted, "\\r"),
            '\t' => write!(quoted, "\\t"),
            '\x0b' => write!(quoted, "\\v"),
            '\0'..' ' | '\x7f' => write!(quoted, "\\x{:02x}", u32::from(c)),
            '\u{80}'..='\u{a0}' | '\u{ad}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                write!(quoted, "\\u{:04x}", u32::from(c))
            }
            c => write!(quoted, "{c}"),
        };
    }
    quoted.push('"');
    quoted
}

fn resource_text(pod: &Pod, selector: &ResourceFieldSelector) -> Result<String, String> {
    let name = selector.container_name.as_deref().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let mut containers =
        spec.into_iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let container = containers.find(|container| container.name == name);
    let container =
        container.ok_or_else(|| format!("resourceFieldRef.containerName: no container {name:?}"))?;
    let of = |limits: bool, resource: &str| {
        let resources = container.resources.as_ref()?;
        let map = if limits { &resources.limits } else { &resources.requests };
        map.as_ref()?.get(resource).and_then(quantity::milli)
    };
    let (limits, resource) = match selector.resource.split_once('.') {
        Some(("limits", resource)) => (true, resource),
        Some(("requests", resource)) => (false, resource),
        _ => return Err(format!("resourceFieldRef.resource {}: not supported", selector.resource)),
    };
    let known =
        matches!(resource, "cpu" | "memory" | "ephemeral-storage") || resource.starts_with("hugepages-");
    if !known {
        return Err(format!("resourceFieldRef.resource {}: not supported", selector.resource));
    }
    // A container without a limit may have all that the machine has.
    let value =
        of(limits, resource).or_else(|| if limits { of_machine(resource) } else { None }).unwrap_or(0);
    let one = Quantity("1".into());
    let divisor = selector.divisor.as_ref().filter(|divisor| !matches!(divisor.0.as_str(), "" | "0"));
    let divisor = quantity::milli(divisor.unwrap_or(&one)).filter(|divisor| *divisor > 0);
    let divisor = divisor.ok_or("resourceFieldRef.divisor: a quantity above 0 is needed")?;
    Ok((value.div_euclid(divisor) + i128::from(value.rem_euclid(divisor) != 0)).to_string())
}

/// In thousandths. It does not change while the machine runs.
fn of_machine(resource: &str) -> Option<i128> {
    static CPUS: OnceLock<i128> = OnceLock::new();
    match resource {
        "cpu" => {
            let cpus = || std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as i128);
            Some(*CPUS.get_or_init(cpus) * 1000)
        }
        "memory" => {
            let info = rustix::system::sysinfo();
            Some(i128::from(info.totalram) * i128::from(info.mem_unit) * 1000)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_quoted_as_go_does() {
        let map: BTreeMap<String, String> =
            [("b".into(), "a \"word\"\n".into()), ("a".into(), "ü\u{7}\u{1}\\".into())].into();
        assert_eq!(lines(Some(&map)), "a=\"ü\\a\\x01\\\\\"\nb=\"a \\\"word\\\"\\n\"");
        assert_eq!(lines(None), "");
    }
}
