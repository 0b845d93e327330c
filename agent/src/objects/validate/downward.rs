//! Rules of what containers are told about their Pod.

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, ObjectFieldSelector, ResourceFieldSelector};

use super::names;
use super::path::{At, Broken};
use crate::objects::quantity::milli;

/// Fields of variables and of files.
const BOTH: [&str; 3] = ["metadata.name", "metadata.namespace", "metadata.uid"];
/// Of variables alone.
const OF_VARIABLES: [&str; 6] = [
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Of files alone.
const OF_FILES: [&str; 2] = ["metadata.labels", "metadata.annotations"];
const RESOURCES: [&str; 4] = ["limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];

pub(super) fn env_field(field: &ObjectFieldSelector, at: &At<'_>, broken: &mut Broken) {
    path(field, &OF_VARIABLES, at, broken);
}

fn path(field: &ObjectFieldSelector, more: &[&str], at: &At<'_>, broken: &mut Broken) {
    let path = field.field_path.as_str();
    broken.one_of(&at.field("apiVersion"), field.api_version.as_ref(), &["v1"]);
    let one = ["metadata.labels['", "metadata.annotations['"]
        .iter()
        .find_map(|start| path.strip_prefix(start)?.strip_suffix("']"));
    let at = at.field("fieldPath");
    match one {
        Some(key) => broken.rule(&at, key, names::annotation_key),
        None if BOTH.contains(&path) || more.contains(&path) => {}
        None => {
            let all = BOTH.iter().chain(more).copied().collect::<Vec<_>>().join(", ");
            broken.add(
                &at,
                format!("\"{path}\" is none of {all}, metadata.labels['KEY'], metadata.annotations['KEY']"),
            );
        }
    }
}

pub(super) fn resource(field: &ResourceFieldSelector, at: &At<'_>, broken: &mut Broken) {
    broken.one_of(&at.field("resource"), Some(&field.resource), &RESOURCES);
    let divisor = field.divisor.as_ref();
    let good = divisor.is_none_or(|divisor| milli(divisor).is_some_and(|milli| milli >= 0));
    broken.that(good, &at.field("divisor"), "it is no amount");
}

pub(super) fn files(files: &[DownwardAPIVolumeFile], list: &At<'_>, broken: &mut Broken) {
    for (index, file) in files.iter().enumerate() {
        let at = list.item(index);
        broken.rule(&at.field("path"), &file.path, names::path_in_volume);
        broken.range(&at.field("mode"), file.mode, 0, 0o777);
        broken.exactly_one(
            &at,
            &[
                ("fieldRef", file.field_ref.is_some()),
                ("resourceFieldRef", file.resource_field_ref.is_some()),
            ],
        );
        if let Some(field) = &file.field_ref {
            path(field, &OF_FILES, &at.field("fieldRef"), broken);
        }
        if let Some(field) = &file.resource_field_ref {
            let at = at.field("resourceFieldRef");
            resource(field, &at, broken);
            broken.set(&at.field("containerName"), field.container_name.as_ref());
        }
    }
}
