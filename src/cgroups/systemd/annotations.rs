//! `org.systemd.property.NAME`: a property of the unit, its value in GVariant's text format.

use std::collections::HashMap;

use super::{Property, Value};
use crate::cgroups::CgroupError;

const PREFIX: &str = "org.systemd.property.";

/// What rcrun itself decides about the unit.
const OURS: [&str; 4] = ["Slice", "Delegate", "PIDs", "DefaultDependencies"];

pub(super) fn properties(
    annotations: Option<&HashMap<String, String>>,
) -> Result<Vec<Property>, CgroupError> {
    let mut all = Vec::new();
    for (key, text) in annotations.into_iter().flatten() {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let invalid = |reason| CgroupError::Annotation { key: key.clone(), value: text.clone(), reason };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(invalid("a property's name has letters only"));
        }
        if OURS.contains(&name) {
            return Err(invalid("rcrun sets that property itself"));
        }
        let value = value(text).ok_or_else(|| {
            invalid("give true, false, 'text', a number, or int32, uint32, int64 or uint64 and a number")
        })?;
        all.push(Property { name: name.into(), value });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// A subset of GVariant's text format: the types that the properties of a scope have.
fn value(text: &str) -> Option<Value> {
    let text = text.trim();
    let quoted = |quote| {
        text.strip_prefix(quote)?.strip_suffix(quote).filter(|inner: &&str| !inner.contains([quote, '\\']))
    };
    if let Some(inner) = quoted('\'').or_else(|| quoted('"')) {
        return Some(Value::Text(inner.into()));
    }
    match text.split_once(char::is_whitespace).map(|(typ, number)| (typ, number.trim())) {
        Some(("int32", number)) => number.parse().ok().map(Value::Int32),
        Some(("uint32", number)) => number.parse().ok().map(Value::Uint32),
        Some(("int64", number)) => number.parse().ok().map(Value::Int64),
        Some(("uint64", number)) => number.parse().ok().map(Value::Uint64),
        Some(_) => None,
        None => text.parse().map(Value::Bool).or_else(|_| text.parse().map(Value::Int32)).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, text: &str) -> Result<Value, String> {
        let all = HashMap::from([(format!("org.systemd.property.{name}"), text.to_owned())]);
        properties(Some(&all)).map(|mut all| all.remove(0).value).map_err(|error| error.to_string())
    }

    #[test]
    fn values_have_their_types() {
        assert_eq!(of("CollectMode", "'inactive-or-failed'"), Ok(Value::Text("inactive-or-failed".into())));
        assert_eq!(of("TimeoutStopUSec", "uint64 123456789"), Ok(Value::Uint64(123_456_789)));
        assert_eq!(of("SendSIGHUP", "true"), Ok(Value::Bool(true)));
        assert_eq!(of("X", "-5"), Ok(Value::Int32(-5)));
    }

    #[test]
    fn what_cannot_be_a_property_is_refused_by_its_key() {
        for (name, text) in
            [("A", "[1, 2]"), ("A", "uint32 -1"), ("A", "'a'b'"), ("a b", "true"), ("Slice", "'x'")]
        {
            let error = of(name, text).unwrap_err();
            assert!(error.contains("org.systemd.property."), "{error}");
        }
        let other = HashMap::from([("org.other".to_owned(), "x".to_owned())]);
        assert!(properties(Some(&other)).unwrap().is_empty());
    }
}
