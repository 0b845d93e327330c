//! Whether labels are selected.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Whether a selector of an object (matchLabels, matchExpressions) selects labels. An empty one selects all.
pub fn selects(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let _ = (selector, labels);
    false
}

/// Whether all of a Service's labels are there. An empty selector selects nothing.
pub fn has_all(wanted: Option<&BTreeMap<String, String>>, labels: Option<&BTreeMap<String, String>>) -> bool {
    let (Some(wanted), Some(labels)) = (wanted, labels) else { return false };
    !wanted.is_empty() && wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

/// A selector on a command line: `app=web,tier!=db,env in (a,b),!old`.
pub fn parse(text: &str) -> Result<LabelSelector, String> {
    let _ = text;
    Err("unused".into())
}
