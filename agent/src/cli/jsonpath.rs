//! kubectl's templates: text with JSONPath in braces, `{.items[*].metadata.name}{"\n"}`, and `{range PATH}...{end}`. Pure.
//!
//! Paths are RFC 9535's but for their names: kubectl's `.metadata.labels.app\.kubernetes\.io/name` and `.a.b-c` are translated.

use serde_json::Value;
use serde_json_path::JsonPath;

use super::client::{Error, Result};

/// A template.
#[derive(Clone, Debug)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Path(JsonPath),
    Range(JsonPath, Vec<Part>),
}

impl Template {
    /// Of what follows `jsonpath=`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: String| Error::usage(format!("error parsing jsonpath {text}, {why}"));
        let text_only = !text.contains('{');
        // Without braces it is a path.
        let whole = if text_only { format!("{{{text}}}") } else { text.to_owned() };
        let mut rest = whole.as_str();
        let parts = parts(&mut rest, false).map_err(wrong)?;
        Ok(Self(parts))
    }

    /// What it makes of an object.
    pub fn text(&self, object: &Value) -> Result<String> {
        let mut out = String::new();
        write(&self.0, object, &mut out);
        Ok(out)
    }

    /// What its paths lead to; None where they lead nowhere.
    pub fn found(&self, object: &Value) -> Result<Option<String>> {
        let found = self.0.iter().any(|part| match part {
            Part::Path(path) | Part::Range(path, _) => !path.query(object).is_empty(),
            Part::Text(_) => false,
        });
        found.then(|| self.text(object)).transpose()
    }
}

fn write(parts: &[Part], object: &Value, out: &mut String) {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Path(path) => {
                let found: Vec<String> = path.query(object).iter().map(|value| plain(value)).collect();
                out.push_str(&found.join(" "));
            }
            Part::Range(path, parts) => {
                for value in path.query(object).iter() {
                    write(parts, value, out);
                }
            }
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Reads until the text's end, or `{end}` within a range.
fn parts(rest: &mut &str, within: bool) -> std::result::Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    while let Some(open) = rest.find('{') {
        let (text, after) = rest.split_at(open);
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
        let close = end_of_braces(after).ok_or("unclosed action")?;
        let inner = after.get(1..close).unwrap_or_default().trim();
        *rest = after.get(close + 1..).unwrap_or_default();
        if inner == "end" {
            return if within { Ok(parts) } else { Err("not in range, nothing to end".to_owned()) };
        }
        if let Some(of) = inner.strip_prefix("range ") {
            let of = path(of.trim())?;
            parts.push(Part::Range(of, self::parts(rest, true)?));
        } else if inner.starts_with(['"', '\'']) {
            parts.push(Part::Text(quoted(inner)?));
        } else if !inner.is_empty() {
            parts.push(Part::Path(path(inner)?));
        }
    }
    if within {
        return Err("unclosed range: {end} is missing".to_owned());
    }
    if !rest.is_empty() {
        parts.push(Part::Text(std::mem::take(rest).to_owned()));
    }
    Ok(parts)
}

/// The index of the brace that closes the first one.
fn end_of_braces(text: &str) -> Option<usize> {
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (_, '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '}') => return Some(at),
            _ => {}
        }
    }
    None
}

/// `"\n"` and the like.
fn quoted(text: &str) -> std::result::Result<String, String> {
    let wrong = || format!("{text} is no quoted text");
    let quote = text.chars().next().ok_or_else(wrong)?;
    let inner = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote)).ok_or_else(wrong)?;
    let (mut out, mut chars) = (String::new(), inner.chars());
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next().ok_or_else(wrong)? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            },
            c => c,
        });
    }
    Ok(out)
}

fn path(text: &str) -> std::result::Result<JsonPath, String> {
    let translated = translate(text);
    JsonPath::parse(&translated).map_err(|error| format!("{text}: {error}"))
}

/// Names after dots to names in brackets, which may have any characters.
fn translate(text: &str) -> String {
    let text = text.strip_prefix(['$', '@']).unwrap_or(text);
    let mut out = String::from("$");
    let mut chars = text.chars().peekable();
    if chars.peek().is_some_and(|c| !matches!(c, '.' | '[')) {
        name(&mut chars, &mut out);
    }
    let (mut quote, mut last) = (None, ' ');
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) => {
                out.push(c);
                if c == '\\' {
                    out.extend(chars.next());
                } else if c == open {
                    quote = None;
                }
            }
            (None, '"' | '\'') => {
                quote = Some(c);
                out.push(c);
            }
            // Of a number.
            (None, '.') if last.is_ascii_digit() && chars.peek().is_some_and(char::is_ascii_digit) => {
                out.push('.')
            }
            (None, '.') => match chars.peek() {
                Some('.') => {
                    out.push_str("..");
                    chars.next();
                    if chars.peek().is_some_and(|c| !matches!(c, '*' | '[')) {
                        name(&mut chars, &mut out);
                    }
                }
                Some('*') => out.push('.'),
                Some('[') | None => {}
                Some(_) => name(&mut chars, &mut out),
            },
            (None, c) => out.push(c),
        }
        last = c;
    }
    out
}

fn name(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| {
        !matches!(c, '.' | '[' | ']' | '(' | ')' | '=' | '!' | '<' | '>' | '&' | '|' | ' ' | ',')
    }) {
        name.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    // JSON's escapes are those of the RFC.
    out.push_str(&format!("[{}]", Value::from(name)));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(template: &str) -> String {
        let object = json!({
            "metadata": {"name": "web", "labels": {"app.kubernetes.io/name": "shop", "my-tier": "front"}},
            "items": [{"n": 1, "s": "a"}, {"n": 2, "s": "b"}],
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
        });
        Template::parse(template).unwrap().text(&object).unwrap()
    }

    #[test]
    fn templates_are_kubectl_s() {
        for (template, expected) in [
            ("{.metadata.name}", "web"),
            (".metadata.name", "web"),
            ("{$.metadata.name}", "web"),
            ("{.metadata.labels.app\\.kubernetes\\.io/name}", "shop"),
            ("{.metadata.labels.my-tier}", "front"),
            ("{.metadata.labels['my-tier']}", "front"),
            ("{.items[*].n}", "1 2"),
            ("{.items[0].s}-{.items[-1].s}", "a-b"),
            ("{range .items[*]}{.s}={.n}{\"\\n\"}{end}", "a=1\nb=2\n"),
            ("{.status.conditions[?(@.type==\"Ready\")].status}", "True"),
            ("{.status.conditions[?(@.type=='Other')].status}", "False"),
            ("{..s}", "a b"),
            ("{.none}", ""),
            ("name: {.metadata.name}.", "name: web."),
            ("{.items[0]}", "{\"n\":1,\"s\":\"a\"}"),
        ] {
            assert_eq!(text(template), expected, "{template}");
        }
    }

    #[test]
    fn broken_templates_are_errors() {
        for bad in ["{.a", "{range .a}", "{end}", "{.a[}", "{\"a}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_template_is_one_or_not(template in "[a.{}\\[\\]*@?()$\"'\\\\ =1,:-]{0,24}") {
            let _ = Template::parse(&template);
        }
    }
}
