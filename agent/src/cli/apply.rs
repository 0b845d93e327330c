//! `apply` and `create`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use hyper::Method;
use serde_json::Value;

use super::client::{Error, Result, with_query};
use super::plain::say;
use super::target::{Target, prefix};
use super::value::Look as _;
use super::{Scope, Session};
use crate::objects::{Kind, yaml};

/// Manifests.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct Files {
    /// A manifest, a directory of them, or "-" for standard input
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    pub filename: Vec<PathBuf>,
    /// Also directories within directories
    #[arg(short = 'R', long, requires = "filename")]
    pub recursive: bool,
}

impl Files {
    /// Names and texts, in the order in which they are applied.
    pub fn read(&self) -> Result<Vec<(String, String)>> {
        let mut texts = Vec::new();
        for path in &self.filename {
            if path.as_os_str() == "-" {
                let mut text = String::new();
                io::stdin().read_to_string(&mut text)?;
                texts.push(("STDIN".to_owned(), text));
                continue;
            }
            let metadata = fs::metadata(path).map_err(|error| of_path(path, &error))?;
            if !metadata.is_dir() {
                texts.push((path.display().to_string(), read(path)?));
                continue;
            }
            for path in manifests(path, self.recursive)? {
                texts.push((path.display().to_string(), read(&path)?));
            }
        }
        if texts.is_empty() {
            return Err(match self.filename.first() {
                Some(directory) => Error::usage(format!(
                    "no manifest (*.yaml, *.yml, *.json) in the directory \"{}\"",
                    directory.display()
                )),
                None => Error::usage("must specify -f with a manifest, a directory or - for standard input"),
            });
        }
        Ok(texts)
    }

    /// The objects that they are of, in their order.
    pub fn targets(&self) -> Result<Vec<Target>> {
        let mut targets = Vec::new();
        for (file, text) in self.read()? {
            let documents =
                yaml::documents(&text).map_err(|error| Error::usage(format!("{file}: {error}")))?;
            for (line, document) in documents {
                let list = document.text("/kind") == "List";
                let items = if list { document.items("/items") } else { std::slice::from_ref(&document) };
                for item in items {
                    let of = target_of(item);
                    targets.push(of.map_err(|why| Error::usage(format!("{file}: line {line}: {why}")))?);
                }
            }
        }
        Ok(targets)
    }
}

fn target_of(manifest: &Value) -> std::result::Result<Target, String> {
    let (version, kind) = (manifest.text("/apiVersion"), manifest.text("/kind"));
    let kind = Kind::of_manifest(version, kind)
        .ok_or_else(|| format!("no matches for kind \"{kind}\" in version \"{version}\""))?;
    let of = |pointer| Some(manifest.text(pointer).to_owned()).filter(|text| !text.is_empty());
    let name = of("/metadata/name").ok_or("metadata.name is missing")?;
    Ok(Target { kind, name: Some(name), namespace: of("/metadata/namespace") })
}

fn of_path(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound if ["http:", "https:"].iter().any(|scheme| path.starts_with(scheme)) => {
            let url = path.display();
            Error::usage(format!("\"{url}\" is not fetched: curl {url} | rcrun-agent apply -f -"))
        }
        io::ErrorKind::NotFound => Error::usage(format!("the path \"{}\" does not exist", path.display())),
        _ => Error::usage(format!("cannot read \"{}\": {error}", path.display())),
    }
}

/// A file's text.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| of_path(path, &error))
}

fn manifests(directory: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(directory).map_err(|error| of_path(directory, &error))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            if recursive {
                found.extend(manifests(&path, true)?);
            }
        } else if matches!(path.extension().and_then(|end| end.to_str()), Some("yaml" | "yml" | "json")) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// `apply`.
#[derive(clap::Args, Debug)]
pub struct Apply {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    scope: Scope,
}

/// `create`.
#[derive(clap::Args, Debug)]
pub struct Create {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    scope: Scope,
}

impl Apply {
    pub async fn run(self, session: &mut Session<'_>) -> Result<()> {
        put(session, &self.files, &self.scope, "applying", "").await
    }
}

impl Create {
    pub async fn run(self, session: &mut Session<'_>) -> Result<()> {
        put(session, &self.files, &self.scope, "creating", "1").await
    }
}

async fn put(
    session: &mut Session<'_>,
    files: &Files,
    scope: &Scope,
    doing: &str,
    create: &str,
) -> Result<()> {
    let mut failed = false;
    let namespace = scope.given().unwrap_or_default();
    let path = with_query("/apply", [("namespace", namespace), ("create", create)]);
    let texts = files.read()?;
    let (mut objects, mut from) = (0, BTreeMap::new());
    for (name, text) in texts {
        let answer = match session.client.bytes(Method::POST, &path, text).await {
            Ok(answer) => answer,
            Err(Error::Server { reason, message, .. }) => {
                // Of the text as a whole: it is no YAML, for one.
                say(format_args!("Error from server ({reason}): error when {doing} \"{name}\": {message}"));
                failed = true;
                continue;
            }
            Err(error) => return Err(error),
        };
        for line in answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_slice(line)
                .map_err(|error| Error::usage(format!("the agent's answer is not JSON: {error}")))?;
            objects += 1;
            if line.has("/error") {
                failed = true;
                say(refusal(&line, doing, &name));
            } else {
                let kind = Kind::parse(line.text("/kind"));
                let kind = kind.map_or_else(|| line.text("/kind").to_owned(), prefix);
                writeln!(session.out, "{kind}/{} {}", line.text("/name"), line.text("/result"))?;
                let key = (kind, line.text("/namespace").to_owned(), line.text("/name").to_owned());
                let (kind, object) = (key.0.clone(), key.2.clone());
                if let Some(other) = from.insert(key, name.clone()) {
                    failed = true;
                    say(format_args!(
                        "error: {kind}/{object} is in two places, \"{other}\" and \"{name}\": it is what the latter says"
                    ));
                }
            }
        }
    }
    if objects == 0 && !failed {
        return Err(Error::usage(format!(
            "no objects passed to {}",
            if create.is_empty() { "apply" } else { "create" }
        )));
    }
    if failed { Err(Error::Said) } else { Ok(()) }
}

fn refusal(line: &Value, doing: &str, file: &str) -> String {
    let (kind, name) = (line.text("/kind").to_ascii_lowercase(), line.text("/name"));
    let object = match (kind.as_str(), name) {
        ("", _) => String::new(),
        (kind, "") => format!(", {kind}"),
        (kind, name) => format!(", {kind}/{name}"),
    };
    format!(
        "Error from server ({}): error when {doing} \"{file}\" (line {}{object}): {}",
        line.text("/error/reason"),
        line.number("/line"),
        line.text("/error/message"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_read_in_order() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("sub")).unwrap();
        for name in ["b.yaml", "a.json", "c.txt", "sub/d.yml"] {
            fs::write(directory.path().join(name), name).unwrap();
        }
        let texts = |recursive| {
            let files = Files { filename: vec![directory.path().to_owned()], recursive };
            files.read().unwrap().into_iter().map(|(_, text)| text).collect::<Vec<_>>()
        };
        assert_eq!(texts(false), ["a.json", "b.yaml"]);
        assert_eq!(texts(true), ["a.json", "b.yaml", "sub/d.yml"]);
        let files = Files { filename: vec![directory.path().join("none")], recursive: false };
        assert!(files.read().unwrap_err().to_string().contains("does not exist"));
        assert!(Files::default().read().unwrap_err().to_string().contains("must specify -f"));
    }
}
