//! `org.systemd.property.NAME`: a property of the unit, its value in GVariant's text format.

use std::collections::HashMap;

use super::{Property, Value, text};
use crate::cgroups::CgroupError;

const PREFIX: &str = "org.systemd.property.";

/// What rcrun itself decides about the unit.
const OURS: [&str; 3] = ["Slice", "Delegate", "PIDs"];

pub(super) fn properties(
    annotations: Option<&HashMap<String, String>>,
) -> Result<Vec<Property>, CgroupError> {
    let mut all = Vec::new();
    for (key, text) in annotations.into_iter().flatten() {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let invalid = |reason| CgroupError::Annotation { key: key.clone(), value: text.clone(), reason };
        if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(invalid("a property's name has three letters or more, and nothing else"));
        }
        if OURS.contains(&name) {
            return Err(invalid("rcrun sets that property itself"));
        }
        let mut property = Property::new(name, text::parse(text).map_err(invalid)?);
        if let Some(stem) = seconds(name) {
            let microseconds = microseconds(&property.value);
            let value = microseconds.ok_or_else(|| invalid("it is no number of seconds"))?;
            property = Property::new(&format!("{stem}USec"), Value::Uint64(value));
        }
        all.push(property);
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// `TimeoutStop` of `TimeoutStopSec`: so it is documented, and on the bus it is TimeoutStopUSec.
fn seconds(name: &str) -> Option<&str> {
    name.strip_suffix("Sec").filter(|stem| stem.ends_with(|last: char| last.is_ascii_lowercase()))
}

fn microseconds(value: &Value) -> Option<u64> {
    const MILLION: u64 = 1_000_000;
    let whole: u64 = match value {
        Value::Byte(n) => (*n).into(),
        Value::Int16(n) => (*n).try_into().ok()?,
        Value::Uint16(n) => (*n).into(),
        Value::Int32(n) => (*n).try_into().ok()?,
        Value::Uint32(n) => (*n).into(),
        Value::Int64(n) => (*n).try_into().ok()?,
        Value::Uint64(n) => *n,
        Value::Double(bits) => {
            let all = f64::from_bits(*bits) * MILLION as f64;
            return (0.0..u64::MAX as f64).contains(&all).then_some(all as u64);
        }
        _ => return None,
    };
    whole.checked_mul(MILLION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, text: &str) -> Result<(String, Value), String> {
        let all = HashMap::from([(format!("org.systemd.property.{name}"), text.to_owned())]);
        let found = properties(Some(&all)).map_err(|error| error.to_string())?.remove(0);
        Ok((found.name, found.value))
    }

    #[test]
    fn a_property_has_its_name_and_value() {
        let text = |text: &str| Value::Text(text.into());
        assert_eq!(
            of("CollectMode", "'inactive-or-failed'"),
            Ok(("CollectMode".into(), text("inactive-or-failed")))
        );
        let after = Value::Array { of: "s".into(), values: vec![text("a.service")] };
        assert_eq!(of("After", "['a.service']"), Ok(("After".into(), after)));
    }

    #[test]
    fn seconds_become_microseconds() {
        let stop = |number| Ok(("TimeoutStopUSec".to_owned(), Value::Uint64(number)));
        assert_eq!(of("TimeoutStopSec", "30"), stop(30_000_000));
        assert_eq!(of("TimeoutStopSec", "uint64 2"), stop(2_000_000));
        assert_eq!(of("TimeoutStopSec", "0.5"), stop(500_000));
        assert_eq!(of("TimeoutStopUSec", "uint64 7"), stop(7));
        assert_eq!(of("CPUQuotaPerSecUSec", "uint64 7").unwrap().0, "CPUQuotaPerSecUSec");
    }

    #[test]
    fn what_cannot_be_a_property_is_refused_by_its_key() {
        for (name, text) in [
            ("Aaa", "[1, 'x']"),
            ("Aaa", "uint32 -1"),
            ("Aaa", "'a'b'"),
            ("a b", "true"),
            ("Aa", "true"),
            ("Slice", "'x'"),
            ("TimeoutStopSec", "'x'"),
            ("TimeoutStopSec", "-1"),
            ("TimeoutStopSec", "uint64 18446744073709551615"),
        ] {
            let error = of(name, text).unwrap_err();
            assert!(error.contains(&format!("annotation org.systemd.property.{name} ")), "{error}");
        }
        let other = HashMap::from([("org.other".to_owned(), "x".to_owned())]);
        assert!(properties(Some(&other)).unwrap().is_empty());
    }
}
