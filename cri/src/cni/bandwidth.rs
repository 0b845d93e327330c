//! `kubernetes.io/ingress-bandwidth` and its like: annotations with a quantity of bits a second.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::CniError;

const INGRESS: &str = "kubernetes.io/ingress-bandwidth";
const EGRESS: &str = "kubernetes.io/egress-bandwidth";
/// Bits that may come at once: as other runtimes have it, so many that only the rate counts.
const BURST: i32 = i32::MAX;

/// The `bandwidth` capability's argument; None where neither annotation is there.
pub fn limits(annotations: &HashMap<String, String>) -> Result<Option<Value>, CniError> {
    let mut limits = serde_json::Map::new();
    for (annotation, direction) in [(INGRESS, "ingress"), (EGRESS, "egress")] {
        let Some(text) = annotations.get(annotation) else { continue };
        let rate =
            quantity(text).filter(|rate| (1e3..=1e15).contains(rate)).ok_or_else(|| CniError::Wish {
                field: format!("annotation {annotation}"),
                reason: format!("{text:?} is no quantity of bits a second between 1k and 1P"),
            })?;
        limits.insert(format!("{direction}Rate"), json!(rate as u64));
        limits.insert(format!("{direction}Burst"), json!(BURST));
    }
    Ok((!limits.is_empty()).then_some(Value::Object(limits)))
}

/// Kubernetes' resource.Quantity: a decimal number with a suffix or an exponent.
fn quantity(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')));
    let (number, suffix) = text.split_at(digits.unwrap_or(text.len()));
    let factor = match suffix {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024_f64.powi(3),
        "Ti" => 1024_f64.powi(4),
        "Pi" => 1024_f64.powi(5),
        "Ei" => 1024_f64.powi(6),
        exponent => 10_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_kubernetes_own() {
        for (text, value) in [("10M", 10e6), ("1.5G", 1.5e9), ("100", 100.0), ("2Ki", 2048.0), ("1e6", 1e6)] {
            assert_eq!(quantity(text), Some(value), "{text}");
        }
        for text in ["", "M", "ten", "1MB", "1 M", "1e"] {
            assert_eq!(quantity(text), None, "{text}");
        }
    }

    #[test]
    fn each_direction_has_a_rate() {
        let annotations = HashMap::from([(INGRESS.to_owned(), "10M".to_owned())]);
        let limits = limits(&annotations).unwrap().unwrap();
        assert_eq!(limits, json!({"ingressRate": 10_000_000, "ingressBurst": i32::MAX}));
    }

    #[test]
    fn too_little_and_too_much_are_refused() {
        for text in ["1", "2P", "fast"] {
            let error = limits(&HashMap::from([(EGRESS.to_owned(), text.to_owned())])).unwrap_err();
            assert!(error.to_string().contains("egress-bandwidth"), "{error}");
        }
        assert_eq!(limits(&HashMap::new()).unwrap(), None);
    }
}
