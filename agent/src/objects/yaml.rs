//! A manifest's text: one or more YAML or JSON documents.

use serde_json::Value;
use serde_saphyr::{Options, Spanned};

/// The longest text that is taken, in bytes.
pub const LONGEST: usize = 10 * 1024 * 1024;
/// Deeper than any of Kubernetes' types, and less than what a thread's stack bears.
const DEEPEST: usize = 64;
const TOO_DEEP: &str = "it is deeper than 64 levels";
/// What aliases may become, in nodes and for each anchor in times: a text of a few lines could else be any number of GiB.
const MOST_REPEATED: usize = 100_000;
const MOST_ALIASES_OF_AN_ANCHOR: usize = 1000;

/// A text that is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct YamlError {
    /// Of the text, from 1.
    pub line: usize,
    /// One line for people.
    pub why: String,
}

/// The documents of a text that are not empty, with the line that each starts at. What is in a `List` counts as documents of their own.
pub fn documents(text: &str) -> Result<Vec<(usize, Value)>, YamlError> {
    if text.len() > LONGEST {
        return Err(YamlError { line: 1, why: format!("more than {} MiB of text", LONGEST >> 20) });
    }
    let documents: Vec<Spanned<Value>> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(error)?;
    let mut found = Vec::new();
    for document in documents {
        let line = usize::try_from(document.referenced.line()).unwrap_or(1).max(1);
        match document.value {
            Value::Null => {}
            Value::Object(map) if map.is_empty() => {}
            Value::Object(mut list) if is_list(&list) => {
                if let Some(Value::Array(items)) = list.remove("items") {
                    found.extend(items.into_iter().map(|item| (line, item)));
                }
            }
            Value::Object(map) => found.push((line, Value::Object(map))),
            _ => {
                return Err(YamlError {
                    line,
                    why: "this is no object: \"apiVersion: ...\" is wanted".into(),
                });
            }
        }
    }
    Ok(found)
}

fn is_list(map: &serde_json::Map<String, Value>) -> bool {
    let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default();
    kind.ends_with("List") && map.get("items").is_some_and(Value::is_array)
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: DEEPEST, flow_nesting_limit: DEEPEST },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MOST_REPEATED,
            max_alias_expansions_per_anchor: MOST_ALIASES_OF_AN_ANCHOR,
        },
        // A mode of 0644 is what it is for Kubernetes.
        legacy_octal_numbers: true,
        strict_booleans: true,
        emit_comments: false,
        // The text may be a Secret.
        with_snippet: false,
    }
}

fn error(error: serde_saphyr::Error) -> YamlError {
    let line = error.location().map_or(1, |location| usize::try_from(location.line()).unwrap_or(1).max(1));
    let why = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    // The parser says the place once more.
    let place = error.location().map(|at| format!(" at line {}, column {}", at.line(), at.column()));
    let why = place.and_then(|place| why.strip_suffix(&place).map(ToOwned::to_owned)).unwrap_or(why);
    YamlError { line, why: in_words(why) }
}

/// Without what the parser says to programmers.
fn in_words(why: String) -> String {
    if let Some((why, _)) = why.split_once(", set DuplicateKeyPolicy") {
        return why.to_owned();
    }
    if why == "recursion limit exceeded" {
        return TOO_DEEP.into();
    }
    match why.strip_prefix("budget breached: ").map(|what| what.split(' ').next().unwrap_or_default()) {
        Some("Depth") => TOO_DEEP.into(),
        Some("Nodes" | "Events") => {
            "it has more values than any manifest needs: a quarter of a million".into()
        }
        Some(what) => format!("more than any manifest needs: {what}"),
        None => why,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn failed(text: &str) -> YamlError {
        documents(text).expect_err(text)
    }

    #[test]
    fn documents_have_their_lines() {
        let text = "# first\n---\nkind: A\n---\n# nothing\n---\n\nkind: B\nmode: 0644\nyes: yes\n---\n{}\n";
        assert_eq!(
            documents(text),
            Ok(vec![(3, json!({"kind": "A"})), (8, json!({"kind": "B", "mode": 420, "yes": "yes"}))])
        );
        assert_eq!(documents(""), Ok(vec![]));
        assert_eq!(documents("{\"kind\": \"A\", \"n\": [1, 2.5, null]}").unwrap().len(), 1);
    }

    #[test]
    fn a_list_is_its_items() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- kind: A\n- kind: B\n";
        assert_eq!(documents(text), Ok(vec![(1, json!({"kind": "A"})), (1, json!({"kind": "B"}))]));
    }

    #[test]
    fn an_error_has_its_line() {
        assert_eq!(failed("a: 1\nb: [1,\nc: 2\n").to_string(), "line 2: unclosed bracket '['");
        assert_eq!(failed("a: 1\n b: 2\n").line, 2);
        assert_eq!(failed("- a\n- b\n").why, "this is no object: \"apiVersion: ...\" is wanted");
        assert_eq!(failed("a: 1\n---\njust text\n").line, 3);
        let twice = failed("a: 1\nb: 2\na: 3\n");
        assert_eq!(twice.line, 3);
        assert_eq!(twice.why, "duplicate mapping key: a");
        assert!(!twice.to_string().contains('\n'));
    }

    #[test]
    fn anchors_are_taken_and_bombs_are_not() {
        let text = "a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n  e: 2\n";
        assert_eq!(
            documents(text).unwrap()[0].1,
            json!({"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}})
        );
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for n in 1..12 {
            let of = vec![format!("*a{}", n - 1); 10].join(",");
            bomb += &format!("a{n}: &a{n} [{of}]\n");
        }
        failed(&bomb);
        assert_eq!(
            failed(&format!("a: {}1{}", "[".repeat(65), "]".repeat(65))).why,
            "it is deeper than 64 levels"
        );
        let many = failed(&"- a\n".repeat(300_000));
        assert!(many.why.contains("a quarter of a million"), "{many}");
        failed(&"[".repeat(100_000));
        failed(&"- ".repeat(100_000));
        failed(&"{a: ".repeat(1000));
        failed(&" ".repeat(LONGEST + 1));
    }

    #[test]
    fn an_error_does_not_tell_what_may_be_a_secret() {
        for value in [
            "*hunter2",
            "&hunter2",
            "!hunter2",
            "@hunter2",
            "`hunter2",
            "%hunter2",
            "hunter2: x",
            "\"\\hunter2\"",
            "'hunter2",
            "[hunter2",
            "{hunter2",
            "|hunter2",
            ">hunter2",
            "- hunter2",
            "? hunter2",
            "hunter2 #\n bad",
            "!!int hunter2",
            "!!bool hunter2",
            "\"hunter2\" more",
            "&hunter2 *hunter2",
            "*hunter2 : x",
            "!<hunter2> x",
            "!hunter2!x y",
            "\"hunter2\\ud800\"",
            "!!binary hunter2",
            "!!float hunter2",
            "!!null hunter2",
            "!!map hunter2",
            "!!seq hunter2",
        ] {
            for text in [
                format!("stringData:\n  password: {value}\n  b: 1\n"),
                format!("- {value}\n"),
                value.to_owned(),
            ] {
                if let Err(error) = documents(&text) {
                    assert!(!error.to_string().contains("hunter2"), "{text}: {error}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-a-c:{}\\[\\]&*!|>'\"%@,?# \n0-9]{0,200}") {
            let _ = documents(&text);
        }

        #[test]
        fn json_is_what_it_is(value in json_value()) {
            let text = json!({"kind": "A", "value": value}).to_string();
            prop_assert_eq!(&documents(&text).unwrap()[0].1["value"], &value);
        }
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~\u{e4}\u{1f600}]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{1,8}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
