//! `set image`, `set env` and `patch`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::apply::{Files, read};
use super::client::{Error, Result};
use super::target::{self, prefix};
use super::value::Look as _;
use super::{Scope, Session, strategic};
use crate::objects::{Key, Kind, yaml};

/// `set`.
#[derive(clap::Subcommand, Debug)]
pub enum Set {
    /// Change the images of containers: "set image deploy/web web=busybox:2", "*=busybox:2" for all
    Image(Image),
}

/// `set image`.
#[derive(clap::Args, Debug)]
pub struct Image {
    /// Kinds and names, then CONTAINER=IMAGE
    #[arg(value_name = "KIND/NAME|CONTAINER=IMAGE", required = true)]
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    scope: Scope,
}

impl Set {
    pub async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let Self::Image(image) = self;
        let (images, objects): (Vec<String>, Vec<String>) =
            image.words.iter().cloned().partition(|word| word.contains('='));
        let images: Vec<(&str, &str)> = images.iter().filter_map(|word| word.split_once('=')).collect();
        if images.is_empty() {
            return Err(Error::usage("one or more CONTAINER=IMAGE are required"));
        }
        for target in target::named(&objects, &image.files)? {
            let key = target.key(image.scope.name());
            let key =
                key.ok_or_else(|| Error::usage("one or more resources must be specified by kind and name"))?;
            let object = session.client.get(&key).await?;
            let patch = patch(&object, target.kind, &images)?;
            let after = session.client.patch(&key, &patch).await?;
            if after["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
                writeln!(session.out, "{}/{} image updated", prefix(key.kind), key.name)?;
            }
        }
        Ok(())
    }
}

/// Where a kind has its Pods' spec.
fn pod_spec(kind: Kind) -> Option<&'static [&'static str]> {
    match kind {
        Kind::Pod => Some(&["spec"]),
        Kind::CronJob => Some(&["spec", "jobTemplate", "spec", "template", "spec"]),
        Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet | Kind::DaemonSet | Kind::Job => {
            Some(&["spec", "template", "spec"])
        }
        _ => None,
    }
}

fn patch(object: &Value, kind: Kind, images: &[(&str, &str)]) -> Result<Value> {
    let path = pod_spec(kind).ok_or_else(|| Error::usage(format!("a {kind} has no containers")))?;
    let pointer: String = path.iter().map(|name| format!("/{name}")).collect();
    let mut lists = serde_json::Map::new();
    let mut found = vec![false; images.len()];
    for list in ["containers", "initContainers"] {
        let mut containers = object.items(&format!("{pointer}/{list}")).to_vec();
        for container in &mut containers {
            for ((name, image), found) in images.iter().zip(&mut found) {
                if *name == "*" || container.text("/name") == *name {
                    container["image"] = (*image).into();
                    *found = true;
                }
            }
        }
        if !containers.is_empty() {
            lists.insert(list.to_owned(), containers.into());
        }
    }
    if let Some(((name, _), _)) = images.iter().zip(&found).find(|(_, found)| !**found) {
        return Err(Error::usage(format!("unable to find container named \"{name}\"")));
    }
    let spec = path.iter().rev().fold(Value::Object(lists), |inner, name| json!({*name: inner}));
    let mut patch = spec;
    // Lists are replaced as a whole: not by what somebody else has changed meanwhile.
    patch["metadata"] = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
    Ok(patch)
}

/// `patch`.
#[derive(clap::Args, Debug)]
pub struct Patch {
    /// An object
    #[arg(value_name = "KIND/NAME", required_unless_present = "filename")]
    what: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    scope: Scope,
    /// The fields that change, as JSON or YAML
    #[arg(short, long, value_name = "PATCH", required_unless_present = "patch_file")]
    patch: Option<String>,
    /// A file that has them
    #[arg(long, value_name = "FILE", conflicts_with = "patch")]
    patch_file: Option<PathBuf>,
    /// Of lists as containers and env: strategic merges them by name, merge replaces them
    #[arg(long = "type", value_name = "TYPE", default_value = "strategic", value_parser = ["strategic", "merge"])]
    kind: String,
}

/// How often a patch is tried again when somebody has changed the object meanwhile.
const TRIES: usize = 5;

impl Patch {
    pub async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let targets = match self.files.filename.is_empty() {
            true => vec![target::one(&self.what, None)?],
            false => target::named(&self.what, &self.files)?,
        };
        let patch = self.read()?;
        for key in targets.iter().filter_map(|target| target.key(self.scope.name())) {
            self.one(session, &key, &patch).await?;
        }
        Ok(())
    }

    fn read(&self) -> Result<Value> {
        let text = match &self.patch_file {
            Some(file) => read(file)?,
            None => self.patch.clone().unwrap_or_default(),
        };
        if let Ok(patch) = serde_json::from_str(&text) {
            return Ok(patch);
        }
        if !text.contains(':') {
            return Err(unparsed("it is no map of fields"));
        }
        match yaml::documents(&text).map_err(|error| unparsed(&error.to_string()))?.as_slice() {
            [(_, patch)] => Ok(patch.clone()),
            _ => Err(unparsed("it is not one document")),
        }
    }

    async fn one(&self, session: &mut Session<'_>, key: &Key, patch: &Value) -> Result<()> {
        let (mut before, mut tries) = (session.client.get(key).await?, 1);
        let after = loop {
            let mut merge = match self.kind.as_str() {
                "strategic" => strategic::to_merge(&before, patch).map_err(|why| unparsed(&why))?,
                _ => patch.clone(),
            };
            // It may have lists of the object as it is now.
            let of_now = self.kind == "strategic" && !merge["metadata"].has("/resourceVersion");
            if of_now
                && let Some(map) = merge.as_object_mut()
                && let Value::Object(metadata) = map.entry("metadata").or_insert_with(|| json!({}))
            {
                metadata.insert("resourceVersion".into(), before["metadata"]["resourceVersion"].clone());
            }
            match session.client.patch(key, &merge).await {
                Err(Error::Server { code: 409, .. }) if of_now && tries < TRIES => {
                    (before, tries) = (session.client.get(key).await?, tries + 1);
                }
                patched => break patched?,
            }
        };
        let same = after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"];
        let word = if same { "patched (no change)" } else { "patched" };
        writeln!(session.out, "{}/{} {word}", prefix(key.kind), key.name)?;
        Ok(())
    }
}

fn unparsed(why: &str) -> Error {
    Error::usage(format!("unable to parse the patch: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_set_by_containers_names() {
        let object = json!({"metadata": {"resourceVersion": "7"}, "spec": {"template": {"spec": {
            "containers": [{"name": "a", "image": "x:1", "args": ["-v"]}, {"name": "b", "image": "y:1"}]}}}});
        assert_eq!(
            patch(&object, Kind::Deployment, &[("a", "x:2")]).unwrap(),
            json!({"metadata": {"resourceVersion": "7"}, "spec": {"template": {"spec": {
                "containers": [{"name": "a", "image": "x:2", "args": ["-v"]}, {"name": "b", "image": "y:1"}]}}}})
        );
        let all = patch(&object, Kind::Deployment, &[("*", "z")]).unwrap();
        assert_eq!(all["spec"]["template"]["spec"]["containers"][1]["image"], "z");
        let error = patch(&object, Kind::Deployment, &[("c", "z")]).unwrap_err();
        assert_eq!(error.to_string(), "error: unable to find container named \"c\"");
        assert!(patch(&object, Kind::Service, &[("c", "z")]).is_err());
    }
}
