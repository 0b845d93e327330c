//! The files of the directory: what they say, and what was last right in those that are broken.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;

use super::watch::Changed;
use super::{Names, VANISHED};
use crate::objects::yaml;

/// One manifest of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document {
    /// Where it begins, from 1.
    pub line: usize,
    /// Not read any further.
    pub manifest: Value,
}

/// What is known of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Content {
    /// As they were when the file was last right. None: it never was since the agent began.
    pub documents: Option<Vec<Document>>,
    /// Why it is not right now, with its line.
    pub broken: Option<String>,
}

/// All files.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub directory: PathBuf,
    /// By their names.
    pub contents: BTreeMap<String, Content>,
    /// Files that are not there any more, and since when. They may come back in a moment.
    pub vanished: BTreeMap<String, Instant>,
    /// Whether the directory has been read. Before that nothing is gone.
    pub known: bool,
    /// Why the directory cannot be read.
    pub broken: Option<String>,
}

/// Whether a file of this name is a manifest.
pub(super) fn is_manifest(name: &str) -> bool {
    let ending = [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending));
    ending && !name.starts_with('.')
}

impl Files {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), ..Self::default() }
    }

    /// Reads again what may have changed. Whether anything did.
    pub(super) fn read(&mut self, changed: &Changed) -> bool {
        match changed {
            Changed::Nothing => false,
            Changed::Names(names) => {
                let changed: Vec<_> = names.iter().filter(|name| self.read_file(name)).collect();
                !changed.is_empty()
            }
            Changed::Everything => self.read_all(),
        }
    }

    /// Files that are not there, but were a moment ago.
    pub(super) fn vanishing(&self) -> Names {
        self.vanished.keys().cloned().collect()
    }

    fn read_all(&mut self) -> bool {
        let listed = list(&self.directory);
        let broken =
            listed.as_ref().err().map(|error| format!("cannot read {}: {error}", self.directory.display()));
        let mut any = broken != self.broken;
        self.broken = broken;
        // A directory that is not there says nothing, neither that its files are gone.
        let Ok(names) = listed else { return any };
        any |= !self.known;
        self.known = true;
        let gone: Vec<_> = self.contents.keys().filter(|name| !names.contains(*name)).cloned().collect();
        for name in names.iter().chain(&gone) {
            any |= self.read_file(name);
        }
        any
    }

    fn read_file(&mut self, name: &str) -> bool {
        let text = match read_text(&self.directory.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let path = self.directory.join(name);
                let Ok(target) = fs::read_link(&path) else { return self.is_gone(name) };
                // Somebody wants a file to be there.
                Err(io::Error::other(format!("it is a link to {}, which is not there", target.display())))
            }
            text => text,
        };
        self.vanished.remove(name);
        let before = self.contents.get(name).cloned().unwrap_or_default();
        let documents = text
            .map_err(|error| error.to_string())
            .and_then(|text| yaml::documents(&text).map_err(|error| error.to_string()));
        let after = match documents {
            Ok(documents) => {
                let documents = documents.into_iter().map(|(line, manifest)| Document { line, manifest });
                Content { documents: Some(documents.collect()), broken: None }
            }
            Err(why) => Content { documents: before.documents.clone(), broken: Some(why) },
        };
        let changed = self.contents.get(name) != Some(&after);
        self.contents.insert(name.into(), after);
        changed
    }

    fn is_gone(&mut self, name: &str) -> bool {
        if !self.contents.contains_key(name) {
            self.vanished.remove(name);
            return false;
        }
        let since = *self.vanished.entry(name.into()).or_insert_with(Instant::now);
        if since.elapsed() < VANISHED {
            return false;
        }
        self.vanished.remove(name);
        self.contents.remove(name).is_some()
    }
}

fn list(directory: &Path) -> io::Result<Names> {
    let mut names = Names::new();
    for entry in fs::read_dir(directory)? {
        if let Ok(name) = entry?.file_name().into_string()
            && is_manifest(&name)
        {
            names.insert(name);
        }
    }
    Ok(names)
}

/// A file's text, which is no longer than a manifest may be. A FIFO or a device is not waited for.
fn read_text(path: &Path) -> io::Result<String> {
    use std::os::unix::fs::OpenOptionsExt;
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("this is no regular file"));
    }
    let mut text = String::new();
    file.take(yaml::LONGEST as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}
