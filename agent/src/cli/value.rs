//! Looking into JSON objects: what is not there is empty.

use serde_json::Value;

/// Reads of a JSON object by pointers as `/status/phase`.
pub trait Look {
    /// A text, or "".
    fn text(&self, pointer: &str) -> &str;
    /// A number, or 0.
    fn number(&self, pointer: &str) -> i64;
    /// Whether it is there and true.
    fn flag(&self, pointer: &str) -> bool;
    /// The elements of a list, or none.
    fn items(&self, pointer: &str) -> &[Value];
    /// The fields of an object, or none, in the order of their names.
    fn fields(&self, pointer: &str) -> Vec<(&str, &Value)>;
    /// Whether it is there, and not null.
    fn has(&self, pointer: &str) -> bool;
    /// A text, number or flag as it is printed; "" where there is none.
    fn plain(&self, pointer: &str) -> String;
}

impl Look for Value {
    fn text(&self, pointer: &str) -> &str {
        self.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, pointer: &str) -> i64 {
        self.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
    }

    fn flag(&self, pointer: &str) -> bool {
        self.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
    }

    fn items(&self, pointer: &str) -> &[Value] {
        self.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    fn fields(&self, pointer: &str) -> Vec<(&str, &Value)> {
        let map = self.pointer(pointer).and_then(Value::as_object);
        map.into_iter().flatten().map(|(name, value)| (name.as_str(), value)).collect()
    }

    fn has(&self, pointer: &str) -> bool {
        self.pointer(pointer).is_some_and(|value| !value.is_null())
    }

    fn plain(&self, pointer: &str) -> String {
        match self.pointer(pointer) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }
}

/// `a=1,b=2` of labels or a selector; what stands for none.
pub fn pairs(object: &Value, pointer: &str, none: &str) -> String {
    let pairs: Vec<String> = object
        .fields(pointer)
        .iter()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { none.to_owned() } else { pairs.join(",") }
}

/// A text, or what stands for none.
pub fn or<'a>(text: &'a str, none: &'a str) -> &'a str {
    if text.is_empty() { none } else { text }
}
