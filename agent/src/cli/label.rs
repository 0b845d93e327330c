//! `label` and `annotate`.

use serde_json::{Map, Value, json};

use super::apply::Files;
use super::client::{Error, Result};
use super::target::{self, prefix};
use super::watch::Query;
use super::{Scope, Session};
use crate::objects::Key;

/// `label`.
#[derive(clap::Args, Debug)]
pub struct Label {
    #[command(flatten)]
    change: Change,
}

/// `annotate`.
#[derive(clap::Args, Debug)]
pub struct Annotate {
    #[command(flatten)]
    change: Change,
}

#[derive(clap::Args, Debug)]
struct Change {
    /// Kinds and names, then NAME=VALUE to set and NAME- to take off
    #[arg(value_name = "KIND/NAME|NAME=VALUE|NAME-", required = true, allow_hyphen_values = false)]
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    scope: Scope,
    /// Also where there is another value
    #[arg(long)]
    overwrite: bool,
    /// All of the kind
    #[arg(long)]
    all: bool,
    /// Those with these labels
    #[arg(short = 'l', long, value_name = "LABELS", default_value = "", hide_default_value = true)]
    selector: String,
}

impl Label {
    pub async fn run(self, session: &mut Session<'_>) -> Result<()> {
        self.change.run(session, "labels", ["labeled", "unlabeled", "not labeled"]).await
    }
}

impl Annotate {
    pub async fn run(self, session: &mut Session<'_>) -> Result<()> {
        self.change.run(session, "annotations", ["annotated", "annotated", "annotated"]).await
    }
}

impl Change {
    async fn run(&self, session: &mut Session<'_>, field: &str, done: [&str; 3]) -> Result<()> {
        let (objects, changes) = split(&self.words)?;
        let mut patch = Map::new();
        for (name, value) in &changes {
            patch.insert((*name).to_owned(), value.map_or(Value::Null, Value::from));
        }
        for key in self.keys(session, &objects).await? {
            let object = session.client.get(&key).await?;
            let old = |name: &str| object["metadata"][field].get(name).and_then(Value::as_str);
            for (name, value) in &changes {
                if let (Some(value), Some(old), false) = (value, old(name), self.overwrite)
                    && *value != old
                {
                    return Err(Error::usage(format!(
                        "'{name}' already has a value ({old}), and --overwrite is false"
                    )));
                }
            }
            let name = format!("{}/{}", prefix(key.kind), key.name);
            let [set, unset, neither] = done;
            let word = if changes.iter().all(|(name, value)| *value == old(name)) {
                neither
            } else if changes.iter().all(|(_, value)| value.is_none()) {
                unset
            } else {
                set
            };
            session.client.patch(&key, &json!({"metadata": {field: patch}})).await?;
            writeln!(session.out, "{name} {word}")?;
        }
        Ok(())
    }

    async fn keys(&self, session: &Session<'_>, objects: &[String]) -> Result<Vec<Key>> {
        let mut keys = Vec::new();
        for target in target::named(objects, &self.files)? {
            if let Some(key) = target.key(self.scope.name()) {
                keys.push(key);
                continue;
            }
            if !self.all && self.selector.is_empty() {
                return Err(Error::usage(
                    "resource(s) were provided, but no name was specified: give names, -l or --all",
                ));
            }
            let namespace = target.kind.namespaced().then(|| self.scope.name().to_owned());
            let query =
                Query { kind: target.kind, namespace, labels: self.selector.clone(), fields: String::new() };
            keys.extend(query.keys(&session.client).await?);
        }
        Ok(keys)
    }
}

/// Changes: a value to set, or none to take the name off.
type Changes<'a> = Vec<(&'a str, Option<&'a str>)>;

fn split(words: &[String]) -> Result<(Vec<String>, Changes<'_>)> {
    let change = |word: &String| word.contains('=') || word.ends_with('-');
    let at = words.iter().position(change).unwrap_or(words.len());
    let (objects, changes) = words.split_at(at);
    if changes.is_empty() {
        return Err(Error::usage("at least one NAME=VALUE or NAME- is required"));
    }
    let parse = |word: &'_ String| match word.split_once('=') {
        Some(_) => Ok(()),
        None if word.ends_with('-') => Ok(()),
        None => Err(Error::usage(format!("\"{word}\" is neither NAME=VALUE nor NAME-"))),
    };
    changes.iter().try_for_each(parse)?;
    let changes = changes.iter().map(|word| match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word.trim_end_matches('-'), None),
    });
    Ok((objects.to_vec(), changes.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_objects_then_changes() {
        let words: Vec<String> = ["pod", "web", "a=b", "c-", "d="].map(str::to_owned).into();
        let (objects, changes) = split(&words).unwrap();
        assert_eq!(objects, ["pod", "web"]);
        assert_eq!(changes, [("a", Some("b")), ("c", None), ("d", Some(""))]);
        assert!(split(&["pod".to_owned()]).is_err());
        assert!(split(&["pod".to_owned(), "a=b".to_owned(), "c".to_owned()]).is_err());
    }
}
