//! What the files ask for: which objects, of which file, in which order. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::files::Files;
use crate::objects::{Key, Kind, Objects};

/// Where a manifest is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The file's name.
    pub file: String,
    /// Where the manifest begins, from 1.
    pub line: usize,
}

/// What is wrong, where, and about which object if that is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    /// The file's name, with the line where there is one.
    pub place: String,
    /// The object.
    pub about: Option<Key>,
    /// For people.
    pub why: String,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    /// To be applied, in the order of kinds.
    pub apply: BTreeMap<Key, (Place, &'a Value)>,
    /// To be deleted, the last made first.
    pub delete: Vec<Key>,
    /// What cannot be.
    pub problems: Vec<Problem>,
}

/// Decides from files and from what is there (with the annotation `origin`).
pub(super) fn plan<'a>(files: &'a Files, objects: &Objects, origin: &str) -> Plan<'a> {
    let mut plan = Plan::default();
    plan.problems.extend(files.broken.iter().map(|why| problem("", None, why.clone())));
    let from = |key: &Key| objects.get(key)?.metadata().annotations.as_ref()?.get(origin).cloned();
    for (file, content) in &files.contents {
        plan.problems.extend(content.broken.iter().map(|why| problem(file, None, why.clone())));
        for document in content.documents.iter().flatten() {
            let place = Place { file: file.clone(), line: document.line };
            match key(&document.manifest) {
                Err(why) => plan.problems.push(problem(&place.to_string(), None, why)),
                Ok(key) => plan.add(key, place, &document.manifest, &from),
            }
        }
    }
    if files.known {
        let unknown =
            |file: &String| files.contents.get(file).is_some_and(|content| content.documents.is_none());
        let gone = objects.iter().filter_map(|(key, object)| {
            let file = object.metadata().annotations.as_ref()?.get(origin)?;
            (!plan.apply.contains_key(key) && !unknown(file) && !object.is_deleted()).then(|| key.clone())
        });
        plan.delete = gone.collect();
        plan.delete.reverse();
    }
    plan
}

impl<'a> Plan<'a> {
    /// Of two manifests of one object that one is kept whose object is there; else the first.
    fn add(&mut self, key: Key, place: Place, manifest: &'a Value, from: &dyn Fn(&Key) -> Option<String>) {
        let Some((first, _)) = self.apply.get(&key) else {
            self.apply.insert(key, (place, manifest));
            return;
        };
        let first = first.clone();
        let is_new = from(&key).is_some_and(|file| file == place.file && file != first.file);
        let (kept, other) = if is_new { (place, first) } else { (first, place) };
        let why = format!("{key} is in two places: {kept}, which is kept, and {other}, which is not");
        self.problems.push(problem(&other.to_string(), Some(key.clone()), why));
        if is_new {
            self.apply.insert(key, (kept, manifest));
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} line {}", self.file, self.line)
    }
}

fn problem(place: &str, about: Option<Key>, why: String) -> Problem {
    Problem { place: place.into(), about, why }
}

/// Which object a manifest is of.
fn key(manifest: &Value) -> Result<Key, String> {
    let text = |path: &str| manifest.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
    let kind = text("/kind").ok_or("kind: it is not set")?;
    let version = text("/apiVersion").ok_or_else(|| format!("{kind}: apiVersion: it is not set"))?;
    let kind = Kind::of_manifest(version, kind)
        .ok_or_else(|| format!("no matches for kind \"{kind}\" in version \"{version}\""))?;
    let name = text("/metadata/name").ok_or_else(|| format!("{kind}: metadata.name: it is not set"))?;
    let namespace = if kind.namespaced() { text("/metadata/namespace").unwrap_or("default") } else { "" };
    Ok(Key::new(kind, namespace, name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::files::{Content, Document};
    use super::*;
    use crate::objects::Object;

    const ORIGIN: &str = "origin";

    fn map(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
    }

    fn files(all: &[(&str, Option<&[Value]>)]) -> Files {
        let document =
            |(at, manifest): (usize, &Value)| Document { line: at + 1, manifest: manifest.clone() };
        let content = |documents: &Option<&[Value]>| Content {
            documents: documents.map(|all| all.iter().enumerate().map(document).collect()),
            broken: documents.is_none().then(|| "line 1: no".into()),
        };
        let contents = all.iter().map(|(name, documents)| ((*name).into(), content(documents))).collect();
        Files { contents, known: true, ..Files::default() }
    }

    fn there(name: &str, file: &str) -> Object {
        let mut object = Object::from_value(Kind::ConfigMap, map(name)).unwrap();
        object.metadata_mut().namespace = Some("default".into());
        object.metadata_mut().annotations = Some([(ORIGIN.into(), file.into())].into());
        object
    }

    #[test]
    fn what_is_in_no_file_goes_unless_its_file_is_broken() {
        let files = files(&[("a.yaml", Some(&[map("a")])), ("b.yaml", None)]);
        let objects =
            [there("a", "a.yaml"), there("b", "b.yaml"), there("c", "c.yaml"), there("d", "a.yaml")];
        let plan = plan(&files, &objects.into_iter().collect(), ORIGIN);
        let names: Vec<_> = plan.delete.iter().map(|key| key.name.as_str()).collect();
        assert_eq!(names, ["d", "c"]);
        assert_eq!(plan.problems, [problem("b.yaml", None, "line 1: no".into())]);
    }

    #[test]
    fn before_the_directory_is_there_nothing_is_gone() {
        let mut files = files(&[]);
        files.known = false;
        let plan = plan(&files, &[there("a", "a.yaml")].into_iter().collect(), ORIGIN);
        assert!(plan.delete.is_empty());
    }

    #[test]
    fn of_two_places_one_is_kept_and_both_are_named() {
        let files = files(&[("a.yaml", Some(&[map("x"), map("x")])), ("b.yaml", Some(&[map("x")]))]);
        let kept = |objects: &[Object]| {
            let plan = plan(&files, &objects.iter().cloned().collect(), ORIGIN);
            let place = plan.apply.values().next().unwrap().0.to_string();
            (place, plan.problems.last().unwrap().why.clone())
        };
        let (place, why) = kept(&[]);
        assert_eq!(place, "a.yaml line 1");
        assert_eq!(
            why,
            "configmap default/x is in two places: a.yaml line 1, which is kept, and b.yaml line 1, which is not"
        );
        assert_eq!(kept(&[there("x", "b.yaml")]).0, "b.yaml line 1");
    }

    #[test]
    fn kinds_are_applied_in_their_order() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "n"}});
        let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
        let files = files(&[("a.yaml", Some(&[pod, map("m"), space, json!({"kind": "Pod"})]))]);
        let plan = plan(&files, &Objects::default(), ORIGIN);
        let keys: Vec<_> = plan.apply.keys().map(ToString::to_string).collect();
        assert_eq!(keys, ["namespace n", "configmap default/m", "pod n/a"]);
        assert_eq!(plan.problems[0].why, "Pod: apiVersion: it is not set");
    }
}
