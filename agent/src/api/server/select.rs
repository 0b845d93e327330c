//! Which objects of a list are meant: by labels and by fields.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

use super::answer::Failure;
use super::path::List;
use crate::objects::{Kind, Object, selector};

/// Who is meant.
#[derive(Clone, Debug)]
pub struct Selection {
    kind: Kind,
    namespace: Option<String>,
    labels: Option<LabelSelector>,
    fields: Vec<FieldTerm>,
}

/// `status.phase!=Running`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FieldTerm {
    path: String,
    equal: bool,
    value: String,
}

impl Selection {
    /// Of a list's path and its `labelSelector` and `fieldSelector`.
    pub fn of(list: &List) -> Result<Self, Failure> {
        let labels = list.query.get("labelSelector").map(selector::parse).transpose();
        let labels =
            labels.map_err(|why| Failure::new(400, format!("unable to parse labelSelector: {why}")))?;
        let fields = match list.query.get("fieldSelector") {
            Some(text) => {
                fields(list.kind, text).map_err(|why| Failure::new(400, format!("fieldSelector: {why}")))?
            }
            None => Vec::new(),
        };
        Ok(Self { kind: list.kind, namespace: list.namespace.clone(), labels, fields })
    }

    /// Whether an object is meant.
    pub fn selects(&self, object: &Object) -> bool {
        let metadata = object.metadata();
        object.kind() == self.kind
            && self.namespace.as_ref().is_none_or(|namespace| metadata.namespace.as_ref() == Some(namespace))
            && self.labels.as_ref().is_none_or(|labels| selector::selects(labels, metadata.labels.as_ref()))
            && self.fields_match(object)
    }

    fn fields_match(&self, object: &Object) -> bool {
        let (by_name, others): (Vec<_>, Vec<_>) =
            self.fields.iter().partition(|term| term.path.starts_with("metadata."));
        let metadata = object.metadata();
        let named = by_name.iter().all(|term| {
            let is = if term.path == "metadata.name" { &metadata.name } else { &metadata.namespace };
            (is.as_deref().unwrap_or_default() == term.value) == term.equal
        });
        // Only what needs it is turned to JSON.
        if !named || others.is_empty() {
            return named;
        }
        let value = object.to_value();
        others.iter().all(|term| (field(&value, &term.path) == term.value) == term.equal)
    }
}

fn field(object: &Value, path: &str) -> String {
    match path.split('.').try_fold(object, |value, name| value.get(name)) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

/// What can be asked of a kind; the API server's list.
fn known(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Pod => &["spec.nodeName", "spec.restartPolicy", "status.phase", "status.podIP"],
        Kind::Event => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "source",
            "type",
        ],
        Kind::Secret => &["type"],
        Kind::Namespace => &["status.phase"],
        Kind::ReplicaSet => &["status.replicas"],
        Kind::Job => &["status.successful"],
        Kind::Service => &["spec.clusterIP", "spec.type"],
        _ => &[],
    }
}

fn fields(kind: Kind, text: &str) -> Result<Vec<FieldTerm>, String> {
    text.split(',').filter(|term| !term.is_empty()).map(|term| field_term(kind, term)).collect()
}

fn field_term(kind: Kind, term: &str) -> Result<FieldTerm, String> {
    let (path, equal, value) = match term.split_once("!=") {
        Some((path, value)) => (path, false, value),
        None => {
            let (path, value) = term.split_once('=').ok_or_else(|| format!("{term:?} has no = or !="))?;
            (path, true, value.strip_prefix('=').unwrap_or(value))
        }
    };
    let path = path.trim();
    if !matches!(path, "metadata.name" | "metadata.namespace") && !known(kind).contains(&path) {
        let all: Vec<&str> =
            ["metadata.name", "metadata.namespace"].iter().chain(known(kind)).copied().collect();
        return Err(format!("{path}: field label not supported; those of {kind} are {}", all.join(", ")));
    }
    Ok(FieldTerm { path: path.to_owned(), equal, value: value.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::path::Query;
    use super::*;

    fn pod(name: &str, phase: &str) -> Object {
        let value = json!({"metadata": {"name": name, "namespace": "default"}, "status": {"phase": phase}});
        Object::from_value(Kind::Pod, value).unwrap()
    }

    fn selection(namespace: Option<&str>, query: &str) -> Result<Selection, Failure> {
        let namespace = namespace.map(str::to_owned);
        Selection::of(&List { kind: Kind::Pod, namespace, query: Query::parse(query) })
    }

    #[test]
    fn fields_select() {
        let selects = |query: &str| selection(None, query).unwrap().selects(&pod("a", "Running"));
        assert!(selects(""));
        assert!(selects("fieldSelector=metadata.name%3Da"));
        assert!(selects("fieldSelector=metadata.name%3D%3Da,status.phase!%3DPending"));
        assert!(!selects("fieldSelector=status.phase%3DPending"));
        assert!(!selects("fieldSelector=metadata.name!%3Da"));
        assert!(selects("fieldSelector=spec.nodeName%3D"));
    }

    #[test]
    fn namespaces_select() {
        assert!(selection(Some("default"), "").unwrap().selects(&pod("a", "Running")));
        assert!(!selection(Some("other"), "").unwrap().selects(&pod("a", "Running")));
    }

    #[test]
    fn unknown_fields_are_errors_that_name_them() {
        for query in ["fieldSelector=spec.foo%3D1", "fieldSelector=abc"] {
            let failure = selection(None, query).unwrap_err();
            assert_eq!(failure.code, 400);
        }
        let failure = selection(None, "fieldSelector=spec.foo%3D1").unwrap_err();
        assert!(failure.message.contains("spec.foo") && failure.message.contains("status.phase"));
    }

    proptest::proptest! {
        #[test]
        fn any_selector_is_an_answer(text in ".{0,60}") {
            let _ = fields(Kind::Pod, &text);
        }

        #[test]
        fn a_term_and_its_opposite_part_all_objects(name in "[a-z]{1,3}", asked in "[a-z]{1,3}") {
            let object = pod(&name, "Running");
            let is = selection(None, &format!("fieldSelector=metadata.name%3D{asked}")).unwrap();
            let is_not = selection(None, &format!("fieldSelector=metadata.name!%3D{asked}")).unwrap();
            proptest::prop_assert_ne!(is.selects(&object), is_not.selects(&object));
        }
    }
}
