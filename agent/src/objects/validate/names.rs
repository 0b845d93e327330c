//! What may be a name: Kubernetes' rules, which DNS made for the most part.

/// Why a text is no name.
pub type Rule = Result<(), &'static str>;

fn when(allowed: bool, why: &'static str) -> Rule {
    if allowed { Ok(()) } else { Err(why) }
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().all(|byte| is_lower(*byte) || *byte == b'-')
        && bytes.first().copied().is_some_and(is_lower)
        && bytes.last().copied().is_some_and(is_lower)
}

/// A name of a container, a namespace, a volume: `web-1`.
pub fn dns_label(text: &str) -> Rule {
    when(
        text.len() <= 63 && is_label(text),
        "must be at most 63 lower case letters, digits and '-', and begin and end with a letter or digit",
    )
}

/// A name of a Service, which begins with a letter.
pub fn dns_1035(text: &str) -> Rule {
    when(
        text.len() <= 63 && is_label(text) && text.as_bytes()[0].is_ascii_lowercase(),
        "must be at most 63 lower case letters, digits and '-', begin with a letter, and end with a letter or digit",
    )
}

/// A name of most objects: `web.example.com`.
pub fn dns_subdomain(text: &str) -> Rule {
    when(
        text.len() <= 253 && text.split('.').all(is_label),
        "must be at most 253 lower case letters, digits, '-' and '.', and begin and end each part with a letter or digit",
    )
}

/// `web.example.com` or `*.example.com`.
pub fn host(text: &str) -> Rule {
    dns_subdomain(text.strip_prefix("*.").unwrap_or(text))
}

fn is_qualified(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    text.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// A key of labels and annotations: `app`, `example.com/app`.
pub fn label_key(text: &str) -> Rule {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    when(
        is_qualified(name) && prefix.is_none_or(|prefix| dns_subdomain(prefix).is_ok()),
        "must be a name of at most 63 letters, digits, '-', '_' and '.', or DOMAIN/NAME",
    )
}

/// A key of annotations, where case does not matter.
pub fn annotation_key(text: &str) -> Rule {
    label_key(&text.to_ascii_lowercase())
}

/// A value of a label.
pub fn label_value(text: &str) -> Rule {
    when(
        text.is_empty() || is_qualified(text),
        "must be at most 63 letters, digits, '-', '_' and '.', and begin and end with a letter or digit",
    )
}

/// A port's name: `http`.
pub fn port(text: &str) -> Rule {
    when(
        text.len() <= 15
            && is_label(text)
            && !text.contains("--")
            && text.bytes().any(|byte| byte.is_ascii_lowercase()),
        "must be at most 15 lower case letters, digits and single '-', with a letter in it",
    )
}

/// A key of a ConfigMap or Secret, which becomes a file's name.
pub fn config_key(text: &str) -> Rule {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    when(
        plain && (1..=253).contains(&text.len()) && text != "." && !text.starts_with(".."),
        "must be at most 253 letters, digits, '-', '_' and '.', and not begin with \"..\"",
    )
}

/// A variable's name: any printable ASCII but '='.
pub fn environment(text: &str) -> Rule {
    when(
        !text.is_empty() && text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'='),
        "must be printable ASCII without '='",
    )
}

/// A path that stays below where it begins: no root and no "..".
pub fn path_below(text: &str) -> Rule {
    when(
        !text.starts_with('/') && !text.split('/').any(|part| part == ".."),
        "must be a relative path without \"..\"",
    )
}

/// The same of a file in a volume, where names that begin with ".." are for what the volume is made of.
pub fn path_in_volume(text: &str) -> Rule {
    path_below(text)?;
    when(!text.starts_with(".."), "must not begin with \"..\"")
}

/// An absolute path without "..".
pub fn absolute_path(text: &str) -> Rule {
    when(
        text.starts_with('/') && !text.contains('\0') && !text.split('/').any(|part| part == ".."),
        "must be an absolute path without \"..\"",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_kubernetes_has_them() {
        let long = "a".repeat(64);
        for (rule, good, bad) in [
            (
                dns_label as fn(&str) -> Rule,
                &["a", "web-1", "1a"][..],
                &["", "-a", "a-", "A", "a.b", "a_b", &long][..],
            ),
            (dns_1035, &["a", "web-1"], &["1a", "", "a."]),
            (
                dns_subdomain,
                &["a", "web.example.com", "1.2", &long],
                &["", ".", "a..b", "a.", "A", "a/b", "../x"],
            ),
            (host, &["*.example.com", "a.b"], &["*", "a.*", "*.", "**.a"]),
            (label_key, &["app", "a.b/App_1.x", "A"], &["", "/", "a/", "/a", "a/b/c", "-a", "A/b", &long]),
            (label_value, &["", "Web_1.x"], &["-", "a b", "a=", &long]),
            (port, &["http", "p-1"], &["", "1", "a--b", "Http", "sixteen-letters-"]),
            (config_key, &["a", ".a", "a..b", "A_b-c"], &["", ".", "..", "..a", "a/b", "a b"]),
            (environment, &["A", "a.b-c", "A B"], &["", "A=B", "ä", "\n"]),
            (path_below, &["a", "a/b", "..a", ""], &["/a", "..", "a/../b"]),
            (path_in_volume, &["a", "a/..b"], &["/a", "..data", "..a/b"]),
            (absolute_path, &["/", "/a", "/a/..b"], &["", "a", "/a/..", "/../b", "/a\0"]),
        ] {
            good.iter().for_each(|text| assert_eq!(rule(text), Ok(()), "{text}"));
            bad.iter().for_each(|text| assert!(rule(text).is_err(), "{text}"));
        }
    }
}
