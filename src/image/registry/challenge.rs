//! WWW-Authenticate: RFC 9110, section 11.6.1, with Bearer's parameters from the distribution project's token.md.

use ureq::http::HeaderMap;
use ureq::http::header::WWW_AUTHENTICATE;

/// How a registry wants to be convinced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token of a server.
    Bearer {
        /// Where that server is, a URL.
        realm: String,
        /// What the registry is called there.
        service: Option<String>,
        /// What it would have the token allow.
        scope: Option<String>,
    },
    /// User and password.
    Basic,
}

/// One challenge as it is written.
#[derive(Debug, Default, PartialEq, Eq)]
struct Raw {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The best of those in `headers` that we know; else, as the error, the names of the others.
    pub(super) fn best(headers: &HeaderMap) -> Result<Self, String> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter();
        let raw: Vec<Raw> =
            values.flat_map(|value| parse(&String::from_utf8_lossy(value.as_bytes()))).collect();
        let bearer = raw.iter().find_map(|raw| {
            let find = |name: &str| {
                raw.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
            };
            let realm = find("realm").filter(|_| raw.scheme == "bearer")?;
            Some(Self::Bearer { realm, service: find("service"), scope: find("scope") })
        });
        let basic = || raw.iter().any(|raw| raw.scheme == "basic").then_some(Self::Basic);
        bearer.or_else(basic).ok_or_else(|| {
            let names: Vec<&str> = raw.iter().map(|raw| raw.scheme.as_str()).collect();
            names.join(", ").chars().take(100).collect()
        })
    }
}

/// All challenges of one header field: `SCHEME name=value, name="value", SCHEME ...`.
fn parse(field: &str) -> Vec<Raw> {
    let mut challenges: Vec<Raw> = Vec::new();
    let mut rest = field.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (word, after) = split_word(rest);
        if word.is_empty() {
            break;
        }
        let value = after.trim_start().strip_prefix('=').map(str::trim_start);
        rest = match (value, challenges.last_mut()) {
            (Some(value), Some(challenge)) => {
                let (value, after) = split_value(value);
                challenge.parameters.push((word.to_lowercase(), value));
                after
            }
            (Some(value), None) => split_value(value).1,
            (None, _) => {
                challenges.push(Raw { scheme: word.to_lowercase(), parameters: Vec::new() });
                after
            }
        };
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    challenges
}

fn split_word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c)));
    text.split_at(end.unwrap_or(text.len()))
}

/// A word, or a quoted string without its quotes and backslashes.
fn split_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, rest) = split_word(text);
        return (word.to_owned(), rest);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return (value, &quoted[at + 1..]),
            c => {
                escaped = false;
                value.push(c);
            }
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(fields: &[&str]) -> Result<Challenge, String> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(WWW_AUTHENTICATE, field.parse().unwrap());
        }
        Challenge::best(&headers)
    }

    #[test]
    fn a_bearer_challenge_is_read_with_commas_in_quotes() {
        let field = r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push""#;
        let wanted = Challenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: Some("r.example".into()),
            scope: Some("repository:a/b:pull,push".into()),
        };
        assert_eq!(best(&[field]), Ok(wanted));
    }

    #[test]
    fn bearer_goes_before_basic_wherever_it_stands() {
        let bearer = |challenge| matches!(challenge, Ok(Challenge::Bearer { .. }));
        assert!(bearer(best(&[r#"Basic realm="a", bearer realm="b""#])));
        assert!(bearer(best(&["Basic", "BEARER realm=b"])));
        assert_eq!(best(&[r#"Basic realm="with \"quotes\", and commas""#]), Ok(Challenge::Basic));
    }

    #[test]
    fn unknown_and_broken_challenges_are_no_answer() {
        assert_eq!(best(&["Negotiate, NTLM abc"]), Err("negotiate, ntlm, abc".into()));
        for broken in ["", ",,", "=", "\"", "Bearer service=x", "Bearer realm", "realm=x", "Bearer =\"", "é"]
        {
            assert!(best(&[broken]).is_err(), "{broken:?}");
        }
    }
}
