//! What a request is about: pure, from its path and its query.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::answer::Failure;
use crate::objects::{Key, Kind};

/// A request's query, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Of `a=1&b=2`.
    pub fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// The first value of a name; None also where it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// All values of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether it says yes: `watch=1`, `watch=true`, `watch`.
    pub fn flag(&self, name: &str) -> bool {
        self.all(name).next().is_some_and(|value| matches!(value, "" | "1" | "true"))
    }

    /// A value that is a number, or a time, or the like.
    pub fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure>
    where
        T::Err: std::fmt::Display,
    {
        let parse = |value: &str| {
            value.parse().map_err(|error| Failure::new(400, format!("{name}={value}: {error}")))
        };
        self.get(name).map(parse).transpose()
    }
}

/// All objects of a kind, or those in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    pub kind: Kind,
    pub namespace: Option<String>,
    pub query: Query,
}

/// What of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sub {
    None,
    Status,
    Scale,
    Log,
    Exec,
    Attach,
    PortForward,
    /// Ours: whether a rollout is through, in words.
    Rollout,
    /// Ours: the revisions that can be gone back to.
    History,
    /// Ours: goes back to one.
    Rollback,
}

const SUBS: &[(&str, Sub)] = &[
    ("status", Sub::Status),
    ("scale", Sub::Scale),
    ("log", Sub::Log),
    ("exec", Sub::Exec),
    ("attach", Sub::Attach),
    ("portforward", Sub::PortForward),
    ("rollout", Sub::Rollout),
    ("history", Sub::History),
    ("rollback", Sub::Rollback),
];

impl Sub {
    /// Whether a kind has it.
    fn is_of(self, kind: Kind) -> bool {
        match self {
            Self::None | Self::Status => true,
            Self::Log | Self::Exec | Self::Attach | Self::PortForward => kind == Kind::Pod,
            Self::Scale => matches!(kind, Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet),
            Self::Rollout | Self::History | Self::Rollback => {
                matches!(kind, Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet)
            }
        }
    }
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Version,
    Health,
    Stats(Query),
    Apply(Query),
    Objects(List),
    Object(Key, Sub, Query),
}

impl Route {
    /// Of `/api/v1/namespaces/default/pods/web/log`, for one.
    pub fn parse(path: &str, query: &str) -> Result<Self, Failure> {
        let query = Query::parse(query);
        let parts: Vec<Cow<'_, str>> = path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(|part| percent_decode_str(part).decode_utf8_lossy())
            .collect();
        let parts: Vec<&str> = parts.iter().map(Cow::as_ref).collect();
        let route = match parts.as_slice() {
            ["version"] => Some(Self::Version),
            ["healthz" | "readyz" | "livez"] => Some(Self::Health),
            ["stats"] => Some(Self::Stats(query)),
            ["apply"] => Some(Self::Apply(query)),
            ["api", "v1", rest @ ..] => objects("v1", rest, query),
            ["apis", group, version, rest @ ..] => objects(&format!("{group}/{version}"), rest, query),
            _ => None,
        };
        route.ok_or_else(|| {
            Failure::new(404, format!("the server could not find the requested resource: {path}"))
        })
    }
}

fn objects(api_version: &str, parts: &[&str], query: Query) -> Option<Route> {
    let kind = |plural: &str| {
        Kind::ALL.iter().copied().find(|kind| kind.plural() == plural && kind.api_version() == api_version)
    };
    let (kind, namespace, rest) = match parts {
        // Before the namespace itself: `namespaces/default/status` is of it, `namespaces/default/pods` is not.
        ["namespaces", namespace, plural, rest @ ..] if kind(plural).is_some() => {
            (kind(plural)?, Some(*namespace), rest)
        }
        [plural, rest @ ..] => (kind(plural)?, None, rest),
        [] => return None,
    };
    if namespace.is_some() && !kind.namespaced() {
        return None;
    }
    match rest {
        [] => Some(Route::Objects(List { kind, namespace: namespace.map(str::to_owned), query })),
        [name, sub @ ..] if namespace.is_some() == kind.namespaced() => {
            let sub = match sub {
                [] => Sub::None,
                [word] => SUBS.iter().find(|(name, _)| name == word).map(|(_, sub)| *sub)?,
                _ => return None,
            };
            let key = Key::new(kind, namespace.unwrap_or_default(), *name);
            sub.is_of(kind).then_some(Route::Object(key, sub, query))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: Kind, namespace: &str, name: &str, sub: Sub) -> Option<Route> {
        Some(Route::Object(Key::new(kind, namespace, name), sub, Query::default()))
    }

    #[test]
    fn paths_are_those_of_kubernetes() {
        let list = |kind, namespace: Option<&str>| {
            Some(Route::Objects(List {
                kind,
                namespace: namespace.map(str::to_owned),
                query: Query::default(),
            }))
        };
        for (path, route) in [
            ("/api/v1/pods", list(Kind::Pod, None)),
            ("/api/v1/namespaces", list(Kind::Namespace, None)),
            ("/api/v1/namespaces/web", object(Kind::Namespace, "", "web", Sub::None)),
            ("/api/v1/namespaces/web/status", object(Kind::Namespace, "", "web", Sub::Status)),
            ("/api/v1/namespaces/web/pods", list(Kind::Pod, Some("web"))),
            ("/api/v1/namespaces/web/pods/a/log", object(Kind::Pod, "web", "a", Sub::Log)),
            (
                "/apis/apps/v1/namespaces/x/deployments/a/scale",
                object(Kind::Deployment, "x", "a", Sub::Scale),
            ),
            ("/apis/apps/v1/namespaces/x/deployments/a/log", None),
            ("/api/v1/namespaces/x/deployments", None),
            ("/api/v1/pods/a", None),
            ("/api/v1/namespaces/x/persistentvolumes", None),
            ("/api/v1/persistentvolumes/a", object(Kind::PersistentVolume, "", "a", Sub::None)),
            ("/api/v1/namespaces/x/pods/a/log/b", None),
            ("/api/v1/namespaces/x/pods/a%2F..%20b", object(Kind::Pod, "x", "a/.. b", Sub::None)),
            ("/api/v1", None),
            ("/", None),
        ] {
            assert_eq!(Route::parse(path, "").ok(), route, "{path}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("command=sh&command=-c&command=echo+a%26b&tty=1&stdin=false&tailLines=x");
        assert_eq!(query.all("command").collect::<Vec<_>>(), ["sh", "-c", "echo a&b"]);
        assert!(query.flag("tty") && !query.flag("stdin") && !query.flag("follow"));
        assert_eq!(query.parsed::<u64>("limitBytes").unwrap(), None);
        assert_eq!(query.parsed::<u64>("tailLines").unwrap_err().code, 400);
    }

    proptest::proptest! {
        #[test]
        fn any_path_is_an_answer(path in "[/a-z0-9.%]{0,60}", query in ".{0,40}") {
            let _ = Route::parse(&path, &query);
        }
    }
}
