//! Whether labels are selected.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::validate::names;

/// Whether a selector of an object (matchLabels, matchExpressions) selects labels. An empty one selects all.
pub fn selects(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let value = |key: &String| labels.and_then(|labels| labels.get(key));
    let equal = selector.match_labels.iter().flatten().all(|(key, wanted)| value(key) == Some(wanted));
    equal
        && selector
            .match_expressions
            .iter()
            .flatten()
            .all(|expression| meets(expression, value(&expression.key)))
}

fn meets(expression: &LabelSelectorRequirement, value: Option<&String>) -> bool {
    let among = |value: &String| expression.values.iter().flatten().any(|wanted| wanted == value);
    match expression.operator.as_str() {
        "In" => value.is_some_and(among),
        "NotIn" => !value.is_some_and(among),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        // No object has such an operator: it is refused at apply.
        _ => false,
    }
}

/// Whether all of a Service's labels are there. An empty selector selects nothing.
pub fn has_all(wanted: Option<&BTreeMap<String, String>>, labels: Option<&BTreeMap<String, String>>) -> bool {
    let (Some(wanted), Some(labels)) = (wanted, labels) else { return false };
    !wanted.is_empty() && wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

/// A selector on a command line: `app=web,tier!=db,env in (a,b),!old`. An empty one selects all.
pub fn parse(text: &str) -> Result<LabelSelector, String> {
    let mut expressions = Vec::new();
    for term in terms(text)? {
        let (key, operator, values) = requirement(term)?;
        names::label_key(key).map_err(|why| format!("selector \"{term}\": \"{key}\": {why}"))?;
        for value in &values {
            names::label_value(value).map_err(|why| format!("selector \"{term}\": \"{value}\": {why}"))?;
        }
        let has_values = matches!(operator, "In" | "NotIn");
        expressions.push(LabelSelectorRequirement {
            key: key.into(),
            operator: operator.into(),
            values: has_values.then(|| values.into_iter().map(Into::into).collect()),
        });
    }
    Ok(LabelSelector { match_expressions: Some(expressions), match_labels: None })
}

/// What is between commas that are not in parentheses.
fn terms(text: &str) -> Result<Vec<&str>, String> {
    let (mut terms, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, character) in text.char_indices() {
        match character {
            '(' if !inside => inside = true,
            ')' if inside => inside = false,
            '(' | ')' => return Err(format!("selector \"{text}\": parentheses do not match")),
            ',' if !inside => {
                terms.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err(format!("selector \"{text}\": a parenthesis is not closed"));
    }
    if !text.trim().is_empty() {
        terms.push(text[start..].trim());
    }
    Ok(terms)
}

fn requirement(term: &str) -> Result<(&str, &str, Vec<&str>), String> {
    if let Some(key) = term.strip_prefix('!') {
        return Ok((key.trim(), "DoesNotExist", Vec::new()));
    }
    for (sign, operator) in [("!=", "NotIn"), ("==", "In"), ("=", "In")] {
        if let Some((key, value)) = term.split_once(sign) {
            return Ok((key.trim(), operator, vec![value.trim()]));
        }
    }
    let Some((key, rest)) = term.split_once(char::is_whitespace) else {
        return if term.contains(['(', ')']) || term.is_empty() {
            Err(format!("selector \"{term}\": a key, KEY=VALUE, KEY!=VALUE, KEY in (A,B) or !KEY is wanted"))
        } else {
            Ok((term, "Exists", Vec::new()))
        };
    };
    let rest = rest.trim();
    let values =
        |rest: &'_ str| rest.trim().len() > 1 && rest.trim().starts_with('(') && rest.trim().ends_with(')');
    let (operator, list) = match (rest.strip_prefix("notin"), rest.strip_prefix("in")) {
        (Some(list), _) if values(list) => ("NotIn", list.trim()),
        (None, Some(list)) if values(list) => ("In", list.trim()),
        _ => {
            return Err(format!(
                "selector \"{term}\": after the key, \"in (A,B)\" or \"notin (A,B)\" is wanted"
            ));
        }
    };
    Ok((key, operator, list[1..list.len() - 1].split(',').map(str::trim).collect()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn a_text_selects_as_kubectl_does() {
        let web = labels(&[("app", "web"), ("env", "a"), ("example.com/tier", "front")]);
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app = web", true),
            ("app!=web", false),
            ("none!=web", true),
            ("app=web,env in (a,b)", true),
            ("env in (b, c)", false),
            ("env notin (b,c)", true),
            ("none notin (b)", true),
            ("app", true),
            ("!app", false),
            ("!none,app", true),
            ("example.com/tier=front", true),
            ("app=", false),
        ] {
            assert_eq!(parse(text).map(|selector| selects(&selector, Some(&web))), Ok(expected), "{text}");
        }
        assert!(selects(&LabelSelector::default(), None));
    }

    #[test]
    fn what_is_no_selector_says_why() {
        for text in [
            "app=web,",
            ",",
            "a b",
            "a in",
            "a in b",
            "a in (b",
            "a)",
            "=x",
            "a=b c",
            "-a=b",
            "a in ((b))",
            "!",
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with("selector \""), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ a-z=!,()./A-Z-]{0,40}") {
            let _ = parse(&text);
        }
    }
}
