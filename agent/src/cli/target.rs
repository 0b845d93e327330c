//! Which objects a command line names: `pods`, `pod web`, `deploy/web svc/web`, `po,svc`, `all`, `-f web.yaml`.

use super::apply::Files;
use super::client::{Error, Result};
use crate::objects::{Key, Kind};

/// Kinds that `all` stands for.
const ALL: &[Kind] = &[
    Kind::Pod,
    Kind::Service,
    Kind::DaemonSet,
    Kind::Deployment,
    Kind::ReplicaSet,
    Kind::StatefulSet,
    Kind::Job,
    Kind::CronJob,
];

/// All objects of a kind, or one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: Kind,
    pub name: Option<String>,
    /// The one that a manifest says; None: the command line's.
    pub namespace: Option<String>,
}

impl Target {
    fn new(kind: Kind, name: Option<&str>) -> Self {
        Self { kind, name: name.map(str::to_owned), namespace: None }
    }

    /// The key of one that has a name.
    pub fn key(&self, namespace: &str) -> Option<Key> {
        let namespace = self.namespace.as_deref().unwrap_or(namespace);
        let namespace = if self.kind.namespaced() { namespace } else { "" };
        Some(Key::new(self.kind, namespace, self.name.clone()?))
    }
}

/// A kind by any of its names.
pub fn kind(word: &str) -> Result<Kind> {
    Kind::parse(word).ok_or_else(|| {
        Error::usage(format!(
            "the server doesn't have a resource type \"{word}\": \"rcrun-agent api-resources\" lists those that it has"
        ))
    })
}

/// Of all words that are no options.
pub fn parse(words: &[String]) -> Result<Vec<Target>> {
    let Some(first) = words.first() else {
        return Err(Error::usage(
            "You must specify the type of resource. \"rcrun-agent api-resources\" lists those that there are",
        ));
    };
    if words.iter().any(|word| word.contains('/')) {
        return words.iter().map(|word| slashed(word)).collect();
    }
    let mut kinds = Vec::new();
    for word in first.split(',').filter(|word| !word.is_empty()) {
        match word {
            "all" => kinds.extend(ALL.iter().copied()),
            word => kinds.push(kind(word)?),
        }
    }
    let names = words.get(1..).unwrap_or_default();
    if names.iter().any(String::is_empty) {
        return Err(Error::usage("resource name may not be empty"));
    }
    if names.is_empty() {
        return Ok(kinds.into_iter().map(|kind| Target::new(kind, None)).collect());
    }
    let named = |kind: Kind| names.iter().map(move |name| Target::new(kind, Some(name))).collect::<Vec<_>>();
    Ok(kinds.into_iter().flat_map(named).collect())
}

/// Of all words that are no options, or of the manifests in their place.
pub fn named(words: &[String], files: &Files) -> Result<Vec<Target>> {
    match (files.filename.is_empty(), words.is_empty()) {
        (true, _) => parse(words),
        (false, true) => files.targets(),
        (false, false) => Err(Error::usage("when -f is given, no kinds and names can be")),
    }
}

fn slashed(word: &str) -> Result<Target> {
    match word.split_once('/') {
        Some((of, name)) if !name.is_empty() && !name.contains('/') => Ok(Target::new(kind(of)?, Some(name))),
        _ => Err(Error::usage(format!(
            "arguments in resource/name form must have a single resource and name: {word}"
        ))),
    }
}

/// One object, of words as `deployment web` or `deploy/web`; without a kind it is of `default`.
pub fn one(words: &[String], default: Option<Kind>) -> Result<Target> {
    match (words, default) {
        ([name], Some(kind)) if !name.contains('/') => Ok(Target::new(kind, Some(name))),
        _ => match parse(words)?.as_slice() {
            [target] if target.name.is_some() => Ok(target.clone()),
            _ => Err(Error::usage(format!(
                "one object by its kind and name is needed, not \"{}\"",
                words.join(" ")
            ))),
        },
    }
}

/// A kind as it is printed before a name: `deployment.apps`.
pub fn prefix(kind: Kind) -> String {
    let name = kind.name().to_ascii_lowercase();
    match kind.api_version().split_once('/') {
        Some((group, _)) => format!("{name}.{group}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(line: &str) -> Result<Vec<Target>> {
        parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    fn named(kind: Kind, name: &str) -> Target {
        Target::new(kind, Some(name))
    }

    #[test]
    fn command_lines_are_kubectl_s() {
        assert_eq!(targets("pods").unwrap(), [Target::new(Kind::Pod, None)]);
        assert_eq!(targets("po a b").unwrap(), [named(Kind::Pod, "a"), named(Kind::Pod, "b")]);
        assert_eq!(
            targets("deploy/web svc/db").unwrap(),
            [named(Kind::Deployment, "web"), named(Kind::Service, "db")]
        );
        assert_eq!(targets("deployments.apps,cm").unwrap().len(), 2);
        assert_eq!(targets("all").unwrap().len(), ALL.len());
        for bad in ["nodes", "pods/", "pod/a b", "pod/a/b", "foo/a", "pod "] {
            assert!(targets(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_is_one() {
        let one =
            |line: &str, default| one(&line.split(' ').map(str::to_owned).collect::<Vec<_>>(), default).ok();
        assert_eq!(one("web", Some(Kind::Pod)), Some(named(Kind::Pod, "web")));
        assert_eq!(one("deploy/web", Some(Kind::Pod)), Some(named(Kind::Deployment, "web")));
        assert_eq!(one("deploy web", None), Some(named(Kind::Deployment, "web")));
        assert_eq!(one("deploy", None), None);
        assert_eq!(prefix(Kind::Deployment), "deployment.apps");
    }
}
