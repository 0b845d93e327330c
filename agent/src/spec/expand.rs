//! `$(VAR)` in commands, arguments and variables: no shell's, and never recursive.

/// Replaces each `$(NAME)` by what `value` has for NAME, if it has anything; else it stays as it is written. `$$` is `$`.
pub fn expand<'a>(text: &str, value: impl Fn(&str) -> Option<&'a [u8]>) -> Vec<u8> {
    let mut expanded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push(b'$');
            rest = after;
            continue;
        }
        let name = rest.strip_prefix('(').and_then(|inside| inside.split_once(')'));
        match name {
            Some((name, after)) => {
                match value(name) {
                    Some(value) => expanded.extend_from_slice(value),
                    None => expanded.extend_from_slice(format!("$({name})").as_bytes()),
                }
                rest = after;
            }
            None => expanded.push(b'$'),
        }
    }
    expanded.extend_from_slice(rest.as_bytes());
    expanded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> String {
        let value = |name: &str| match name {
            "A" => Some("a".as_bytes()),
            "B" => Some("$(A)".as_bytes()),
            "E" => Some("".as_bytes()),
            _ => None,
        };
        String::from_utf8(expand(text, value)).expect("it was UTF-8")
    }

    #[test]
    fn variables_are_replaced_once() {
        for (text, wanted) in [
            ("", ""),
            ("$(A)", "a"),
            ("x$(A)y$(A)", "xaya"),
            ("$(B)", "$(A)"),
            ("$(E)", ""),
            ("$(NONE)", "$(NONE)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$a"),
            ("$$$$", "$$"),
            ("$A ${A} $", "$A ${A} $"),
            ("$(A", "$(A"),
            ("$(", "$("),
            ("$()", "$()"),
            ("$($(A))", "$($(A))"),
            ("ü$ü$(A)ü", "ü$üaü"),
        ] {
            assert_eq!(of(text), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_without_dollars_stays(text in "[^$]*") {
            prop_assert_eq!(of(&text), text);
        }

        #[test]
        fn doubled_dollars_protect_any_text(text in any::<String>()) {
            prop_assert_eq!(of(&text.replace('$', "$$")), text);
        }

        #[test]
        fn unknown_names_stay(text in "([a-z$(){}]|\\$\\(|\\))*") {
            let dollars = |text: &str| text.matches('$').count();
            let same = String::from_utf8(expand(&text, |_| None)).expect("it was UTF-8");
            // Only $$ loses anything, half of itself.
            prop_assert_eq!(same.replace('$', ""), text.replace('$', ""));
            prop_assert!(dollars(&same) <= dollars(&text) && dollars(&text) <= 2 * dollars(&same));
        }

        #[test]
        fn parts_are_expanded_by_themselves(parts in proptest::collection::vec("[a-z ]{0,4}", 0..6)) {
            prop_assert_eq!(of(&parts.join("$(A)")), parts.join("a"));
        }
    }
}
