//! Rules of every object: its name, labels, annotations, owners.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::names;
use super::path::{At, Broken};
use crate::api::admission::APPLIED;
use crate::objects::{Kind, Object};

/// What annotations may be together, in bytes.
const ANNOTATIONS: usize = 256 * 1024;
/// CronJobs' Jobs are called as they are with 11 letters more, and labels take 63.
const CRON_JOB: usize = 52;

pub(super) fn object(object: &Object, broken: &mut Broken) {
    let metadata = object.metadata();
    let root = At::Object;
    let at = root.field("metadata");
    let name = metadata.name.clone().unwrap_or_default();
    let rule = match object.kind() {
        Kind::Namespace | Kind::Service | Kind::StatefulSet => names::dns_label,
        _ => names::dns_subdomain,
    };
    broken.rule(&at.field("name"), &name, rule);
    if object.kind() == Kind::CronJob && name.len() > CRON_JOB {
        broken.add(&at.field("name"), format!("\"{name}\" must be at most {CRON_JOB} letters"));
    }
    if object.kind().namespaced() {
        let namespace = metadata.namespace.clone().unwrap_or_default();
        broken.rule(&at.field("namespace"), &namespace, names::dns_label);
    }
    labels(metadata, &at, broken);
    for (index, owner) in metadata.owner_references.iter().flatten().enumerate() {
        let owners = at.field("ownerReferences");
        let at = owners.item(index);
        for (field, value) in [
            ("apiVersion", &owner.api_version),
            ("kind", &owner.kind),
            ("name", &owner.name),
            ("uid", &owner.uid),
        ] {
            broken.set(&at.field(field), Some(value));
        }
    }
}

/// Labels and annotations of an object or a template.
pub(super) fn labels(metadata: &ObjectMeta, at: &At<'_>, broken: &mut Broken) {
    pairs(metadata.labels.as_ref(), &at.field("labels"), broken);
    let annotations = metadata.annotations.iter().flatten();
    let at = at.field("annotations");
    let mut size = 0;
    for (key, value) in annotations.filter(|(key, _)| *key != APPLIED) {
        size += key.len() + value.len();
        broken.rule(&at.key(key), key, names::annotation_key);
    }
    broken.that(size <= ANNOTATIONS, &at, "they are more than 256 KiB");
}

/// Labels, or what has to be equal to them.
pub(super) fn pairs(pairs: Option<&BTreeMap<String, String>>, at: &At<'_>, broken: &mut Broken) {
    for (key, value) in pairs.into_iter().flatten() {
        broken.rule(&at.key(key), key, names::label_key);
        broken.rule_if(&at.key(key), Some(value), names::label_value);
    }
}

pub(super) fn selector(selector: &LabelSelector, at: &At<'_>, broken: &mut Broken) {
    pairs(selector.match_labels.as_ref(), &at.field("matchLabels"), broken);
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let list = at.field("matchExpressions");
        let at = list.item(index);
        broken.rule(&at.field("key"), &expression.key, names::label_key);
        let operator = &expression.operator;
        broken.one_of(&at.field("operator"), Some(operator), &["In", "NotIn", "Exists", "DoesNotExist"]);
        let values = expression.values.as_deref().unwrap_or_default();
        let among = ["In", "NotIn"].contains(&operator.as_str());
        let why = if among { "In and NotIn need values" } else { "Exists and DoesNotExist have no values" };
        broken.that(values.is_empty() != among, &at.field("values"), why);
        for value in values {
            broken.rule_if(&at.field("values"), Some(value), names::label_value);
        }
    }
}
