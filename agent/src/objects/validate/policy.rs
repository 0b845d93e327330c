//! Rules of what rules others: quotas, limit ranges, runtime classes. And of what holds data.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, LimitRange, LimitRangeItem, ResourceQuota, Secret};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::names;
use super::path::{At, Broken};
use crate::objects::quantity::milli;
use crate::objects::usage;

/// What a ConfigMap or a Secret may hold, in bytes.
const MOST: usize = 1024 * 1024;

pub(super) fn quota(quota: &ResourceQuota, at: &At<'_>, broken: &mut Broken) {
    let at = at.field("hard");
    for (name, amount) in quota.spec.iter().flat_map(|spec| spec.hard.iter().flatten()) {
        broken.that(
            usage::is_counted(name),
            &at.field(name),
            "not supported by this agent: this is not counted",
        );
        let good = milli(amount).is_some_and(|milli| milli >= 0);
        broken.that(good, &at.field(name), "it is no amount");
    }
}

pub(super) fn limit_range(range: &LimitRange, at: &At<'_>, broken: &mut Broken) {
    let list = at.field("limits");
    for (index, item) in range.spec.iter().flat_map(|spec| &spec.limits).enumerate() {
        limits(item, &list.item(index), broken);
    }
}

fn limits(item: &LimitRangeItem, at: &At<'_>, broken: &mut Broken) {
    let of_containers = item.type_ == "Container";
    broken.one_of(&at.field("type"), Some(&item.type_), &["Container", "Pod", "PersistentVolumeClaim"]);
    let known: &[&str] =
        if item.type_ == "PersistentVolumeClaim" { &["storage"] } else { &["cpu", "memory"] };
    let all = [
        ("min", &item.min),
        ("max", &item.max),
        ("default", &item.default),
        ("defaultRequest", &item.default_request),
        ("maxLimitRequestRatio", &item.max_limit_request_ratio),
    ];
    for (field, amounts) in all {
        let given = amounts.as_ref().is_some_and(|amounts| !amounts.is_empty());
        let allowed = of_containers || !given || !field.starts_with("default");
        broken.that(allowed, &at.field(field), "it is for the type Container");
        for (name, amount) in amounts.iter().flatten() {
            let list = at.field(field);
            let at = list.field(name);
            broken.that(
                known.contains(&name.as_str()),
                &at,
                "not supported by this agent: this is not limited",
            );
            broken.that(milli(amount).is_some_and(|milli| milli >= 0), &at, "it is no amount");
        }
    }
    let amount = |amounts: &Option<BTreeMap<String, Quantity>>, name: &str| {
        amounts.as_ref()?.get(name).and_then(milli)
    };
    // The smaller first.
    let order = [
        ("min", &item.min, "max", &item.max),
        ("min", &item.min, "defaultRequest", &item.default_request),
        ("defaultRequest", &item.default_request, "default", &item.default),
        ("default", &item.default, "max", &item.max),
    ];
    for (smaller, less, greater, more) in order {
        for name in known {
            if let (Some(less), Some(more)) = (amount(less, name), amount(more, name)) {
                let list = at.field(smaller);
                broken.that(less <= more, &list.field(name), &format!("it is more than {greater}"));
            }
        }
    }
}

pub(super) fn runtime_class(class: &RuntimeClass, broken: &mut Broken) {
    let root = At::Object;
    broken.rule(&root.field("handler"), &class.handler, names::dns_label);
}

pub(super) fn config_map(map: &ConfigMap, broken: &mut Broken) {
    let root = At::Object;
    let (text, bytes) = (map.data.iter().flatten(), map.binary_data.iter().flatten());
    let size = text.clone().map(|(_, value)| value.len()).sum::<usize>() + sizes(map.binary_data.as_ref());
    broken.that(size <= MOST, &root.field("data"), "it is more than 1 MiB");
    for (key, _) in text {
        broken.rule(&root.field("data").key(key), key, names::config_key);
    }
    for (key, _) in bytes {
        let at = root.field("binaryData");
        broken.rule(&at.key(key), key, names::config_key);
        let twice = map.data.as_ref().is_some_and(|data| data.contains_key(key));
        broken.that(!twice, &at.key(key), "it is in data, too");
    }
}

fn sizes(map: Option<&BTreeMap<String, ByteString>>) -> usize {
    map.into_iter().flatten().map(|(_, value)| value.0.len()).sum()
}

/// Its values are told to nobody, also where they are wrong.
pub(super) fn secret(secret: &Secret, broken: &mut Broken) {
    let root = At::Object;
    let at = root.field("data");
    broken.that(sizes(secret.data.as_ref()) <= MOST, &at, "it is more than 1 MiB");
    for (key, _) in secret.data.iter().flatten() {
        broken.rule(&at.key(key), key, names::config_key);
    }
    let value = |key: &str| secret.data.as_ref().and_then(|data| data.get(key));
    let kind = secret.type_.as_deref().unwrap_or("Opaque");
    let needed: &[&str] = match kind {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in needed {
        broken.that(value(key).is_some(), &at.key(key), &format!("the type {kind} needs it"));
        let json =
            value(key).is_none_or(|value| serde_json::from_slice::<serde_json::Value>(&value.0).is_ok());
        broken.that(!key.starts_with(".docker") || json, &at.key(key), "it is no JSON");
    }
    if kind == "kubernetes.io/basic-auth" {
        let either = value("username").is_some() || value("password").is_some();
        broken.that(either, &at, &format!("the type {kind} needs username or password"));
    }
}
