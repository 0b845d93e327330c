//! kubectl's templates: text with JSONPath in braces, `{.items[*].metadata.name}{"\n"}`, and `{range PATH}...{end}`. Pure.
//!
//! Paths are RFC 9535's but for their names: kubectl's `.metadata.labels.app\.kubernetes\.io/name`, `.a.b-c` and
//! `['metadata.name','status.phase']` are translated.

use serde_json::Value;
use serde_json_path::JsonPath;

use super::client::{Error, Result};

/// A template.
#[derive(Clone, Debug)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Path(Paths),
    Range(Paths, Vec<Part>),
}

/// What they find, one after the other.
#[derive(Clone, Debug)]
struct Paths(Vec<JsonPath>);

impl Paths {
    fn query<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        self.0.iter().flat_map(|path| path.query(object).all()).collect()
    }
}

/// How many paths one may stand for.
const MOST: usize = 64;

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
                let found: Vec<String> = path.query(object).into_iter().map(plain).collect();
                out.push_str(&found.join(" "));
            }
            Part::Range(path, parts) => {
                for value in path.query(object) {
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

fn path(text: &str) -> std::result::Result<Paths, String> {
    let parse = |translated: &String| JsonPath::parse(translated).map_err(|error| format!("{text}: {error}"));
    let translated = translate(text).map_err(|why| format!("{text}: {why}"))?;
    Ok(Paths(translated.iter().map(parse).collect::<std::result::Result<_, _>>()?))
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Paths as they are translated: several where one has a union of names.
struct Translated {
    paths: Vec<String>,
    /// Brackets that are open.
    open: usize,
}

impl Translated {
    fn push(&mut self, text: &str) {
        self.paths.iter_mut().for_each(|path| path.push_str(text));
    }

    /// One or several names in brackets.
    fn union(&mut self, names: &[String]) -> std::result::Result<(), String> {
        if let [name] = names {
            self.push(name);
            return Ok(());
        }
        if self.open > 0 {
            return Err("a filter cannot have several names in brackets".to_owned());
        }
        if self.paths.len() * names.len() > MOST {
            return Err(format!("it stands for more than {MOST} paths"));
        }
        let of_name = |name: &String| self.paths.iter().map(move |path| format!("{path}{name}")).collect();
        self.paths = names.iter().map(of_name).collect::<Vec<Vec<String>>>().concat();
        Ok(())
    }
}

/// Names after dots to names in brackets, which may have any characters.
fn translate(text: &str) -> std::result::Result<Vec<String>, String> {
    let text = text.strip_prefix(['$', '@']).unwrap_or(text);
    let mut out = Translated { paths: vec!["$".to_owned()], open: 0 };
    let mut chars = text.chars().peekable();
    if chars.peek().is_some_and(|c| !matches!(c, '.' | '[')) {
        out.push(&name(&mut chars));
    }
    let (mut quote, mut last) = (None, ' ');
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) => {
                out.push(c.encode_utf8(&mut [0; 4]));
                if c == '\\' {
                    out.push(&chars.next().map(String::from).unwrap_or_default());
                } else if c == open {
                    quote = None;
                }
            }
            // Of a number.
            (None, '.') if last.is_ascii_digit() && chars.peek().is_some_and(char::is_ascii_digit) => {
                out.push(".");
            }
            (None, '.') => match chars.peek() {
                Some('.') => {
                    out.push("..");
                    chars.next();
                    if chars.peek().is_some_and(|c| !matches!(c, '*' | '[')) {
                        out.push(&name(&mut chars));
                    }
                }
                Some('*') => out.push("."),
                Some('[') | None => {}
                Some(_) => out.push(&name(&mut chars)),
            },
            (None, '[') if chars.peek().is_some_and(|c| matches!(c, '"' | '\'')) => {
                out.union(&names_in_brackets(&mut chars)?)?;
            }
            (None, c) => {
                match c {
                    '"' | '\'' => quote = Some(c),
                    '[' => out.open += 1,
                    ']' => out.open = out.open.saturating_sub(1),
                    _ => {}
                }
                out.push(c.encode_utf8(&mut [0; 4]));
            }
        }
        last = c;
    }
    Ok(out.paths)
}

fn name(chars: &mut Chars<'_>) -> String {
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| {
        !matches!(c, '.' | '[' | ']' | '(' | ')' | '=' | '!' | '<' | '>' | '&' | '|' | ' ' | ',')
    }) {
        name.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    in_brackets(&name)
}

/// JSON's escapes are those of the RFC.
fn in_brackets(name: &str) -> String {
    format!("[{}]", Value::from(name))
}

/// `'metadata.name','a\.b']`, each as one or several names: a dot that is not escaped goes a step on.
fn names_in_brackets(chars: &mut Chars<'_>) -> std::result::Result<Vec<String>, String> {
    let mut names = Vec::new();
    loop {
        while chars.next_if_eq(&' ').is_some() {}
        let quote = chars.next().filter(|c| matches!(c, '"' | '\'')).ok_or("expected a quoted name")?;
        let mut steps = vec![String::new()];
        loop {
            let c = chars.next().ok_or("expected an ending quote")?;
            match (c, steps.last_mut()) {
                (c, _) if c == quote => break,
                ('.', _) => steps.push(String::new()),
                (c, Some(step)) => {
                    step.push(if c == '\\' { chars.next().ok_or("expected an ending quote")? } else { c });
                }
                (_, None) => {}
            }
        }
        if steps.len() > 1 {
            steps.retain(|step| !step.is_empty());
        }
        names.push(steps.iter().map(|step| in_brackets(step)).collect());
        while chars.next_if_eq(&' ').is_some() {}
        match chars.next() {
            Some(',') => {}
            Some(']') => return Ok(names),
            _ => return Err("expected ] after a quoted name".to_owned()),
        }
    }
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
            ("{.metadata.labels['app\\.kubernetes\\.io/name']}", "shop"),
            ("{['metadata.name']}", "web"),
            ("{.items[*]['n','s']}", "1 2 a b"),
            ("{.items[?(@['s']=='b')]['n', \"s\"]}", "2 b"),
            ("{.status.conditions[?(@.type=='a.b')].status}", ""),
            ("{range .items[*]}{['n','s']};{end}", "1 a;2 b;"),
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
        for bad in [
            "{.a",
            "{range .a}",
            "{end}",
            "{.a[}",
            "{\"a}",
            "{.a['b}",
            "{.a['b','c}",
            "{.a['b' 'c']}",
            "{.a['b',0]}",
            "{.a[?(@['b','c']==1)]}",
        ] {
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
