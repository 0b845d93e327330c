//! Who is measured.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rcrun::bench::{Contender, Step, Word, command, delete};

/// An OCI runtime.
#[derive(Clone)]
pub struct Runtime {
    /// What it is called in reports.
    pub name: String,
    /// Its program.
    pub path: PathBuf,
    /// The directory of its state.
    pub root: PathBuf,
}

impl Runtime {
    /// One whose state is below /run, which is the benchmark's own.
    pub fn new(name: &str, path: &str) -> anyhow::Result<Self> {
        let path = std::fs::canonicalize(path).with_context(|| format!("find the runtime {path}"))?;
        let root = PathBuf::from("/run/bench").join(name);
        std::fs::create_dir_all(&root).with_context(|| format!("make {}", root.display()))?;
        Ok(Self { name: name.into(), path, root })
    }

    /// `RUNTIME --root ROOT WORDS ID`.
    pub fn step(&self, words: &[&str], measured: bool) -> Step {
        Step { words: command(&self.path, &self.root, words), measured }
    }

    /// The same for the container `id`, with more words after it.
    pub fn command_on(&self, words: &[&str], id: &str, more: &[&str]) -> Vec<Word> {
        let step = self.step(words, true).words.into_iter();
        let named = step.map(|word| if word == Word::Id { Word::text(id) } else { word });
        named.chain(more.iter().map(Word::text)).collect()
    }

    /// A turn of these steps.
    pub fn contender(&self, steps: Vec<Step>) -> Contender {
        Contender::new(&self.name, steps, Some(delete(&self.path, &self.root)))
    }

    /// A turn of `run`.
    pub fn run(&self, bundle: &Path) -> Contender {
        Contender::run(&self.name, &self.path, &self.root, bundle)
    }
}

/// The program benches/floor.
#[derive(Clone)]
pub struct Floor {
    /// Where it is.
    pub path: PathBuf,
    /// The root file system that it uses.
    pub root: PathBuf,
}

impl Floor {
    /// A turn of it.
    pub fn contender(&self) -> Contender {
        let words = vec![Word::text(&self.path), Word::text(&self.root), Word::Id];
        Contender::new("floor", vec![Step { words, measured: true }], None)
    }
}

/// `true` alone.
pub fn bare() -> Contender {
    Contender::program("true", Path::new("/bin/true"))
}
