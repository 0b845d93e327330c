//! Which fields are supported: anything else is an error that names its path.
//!
//! What is supported stands in supported.txt. Whether Kubernetes has a field is asked of its type: what the type does not keep is unknown.

mod table;

use serde_json::Value;

use super::{Kind, Object};
use table::{Field, Table};

/// A field that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum FieldError {
    #[error("{path}: unknown field")]
    Unknown { path: String },
    #[error("{path}: not supported by this agent{hint}")]
    Unsupported { path: String, hint: &'static str },
}

/// A value that is not of its field's type. Without the value, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct TypeError {
    /// `spec.replicas`.
    pub path: String,
    /// For people.
    pub why: String,
}

/// All fields of a manifest that are not taken; paths as `spec.containers[0].lifecycle.stopSignal`. Of the right types, see [`typed`].
pub fn check(kind: Kind, manifest: &Value) -> Vec<FieldError> {
    let kept = Object::from_value(kind, manifest.clone()).map(|object| object.to_value()).unwrap_or_default();
    let mut errors = Vec::new();
    walk(&mut String::new(), manifest, Some(&kept), Table::get().fields(kind.name()), &mut errors);
    errors
}

/// The object of a manifest.
pub fn typed(kind: Kind, manifest: Value) -> Result<Object, TypeError> {
    // The path costs time, so it is asked for only of what is wrong.
    match Object::from_value(kind, manifest.clone()) {
        Ok(object) => Ok(object),
        Err(_) => Object::from_value_with_path(kind, manifest).map_err(|(path, why)| TypeError {
            // The parser quotes the value.
            why: match (kind, why.split_once(", expected ")) {
                (_, Some((_, expected))) => format!("{} is wanted", in_words(expected)),
                (Kind::Secret, None) => "not base64".into(),
                (_, None) => why,
            },
            path,
        }),
    }
}

/// A type of Rust's for people who write YAML.
fn in_words(expected: &str) -> String {
    match expected.trim_start_matches("struct ") {
        "i32" => "a whole number of 32 bits".into(),
        "i64" => "a whole number".into(),
        "f64" => "a number".into(),
        "a sequence" => "a list".into(),
        "a map" => "a map of names to values".into(),
        of_fields if of_fields.starts_with(char::is_uppercase) => {
            format!("a map, the fields of {of_fields},")
        }
        other => other.into(),
    }
}

/// Without what is null, which says no more than to leave it out.
pub fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// Goes through a manifest and what its type kept of it; `fields` None: all is taken that Kubernetes has.
fn walk(
    path: &mut String,
    given: &Value,
    kept: Option<&Value>,
    fields: Option<&'static [Field]>,
    errors: &mut Vec<FieldError>,
) {
    let length = path.len();
    match given {
        Value::Object(map) => {
            for (name, value) in map {
                push(path, name);
                let kept = kept.and_then(|kept| kept.get(name));
                let field = fields.map(|fields| fields.iter().find(|field| field.name == name));
                match field {
                    _ if kept.is_none() => errors.push(FieldError::Unknown { path: path.clone() }),
                    Some(Some(Field { refused: None, of, .. })) => walk(path, value, kept, *of, errors),
                    None => walk(path, value, kept, None, errors),
                    Some(refused) => {
                        let hint = refused.and_then(|field| field.refused).unwrap_or_default();
                        errors.push(FieldError::Unsupported { path: path.clone(), hint });
                    }
                }
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                walk(path, value, kept.and_then(|kept| kept.get(index)), fields, errors);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn push(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

#[cfg(test)]
mod tests;
