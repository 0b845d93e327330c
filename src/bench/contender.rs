//! Who is measured, and what a turn of theirs is.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Cost;

/// A word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// The same each time.
    Text(CString),
    /// The id of a container that no turn before has had.
    Id,
}

impl Word {
    /// A word as it is; what follows a NUL, which no argument of a program can hold, is left out.
    pub fn text(text: impl AsRef<OsStr>) -> Self {
        let bytes = text.as_ref().as_bytes();
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        Self::Text(CString::new(&bytes[..end]).unwrap_or_default())
    }
}

/// A command of a turn.
#[derive(Clone, Debug)]
pub struct Step {
    /// The path of its program, and what it is called with.
    pub words: Vec<Word>,
    /// Is its cost of interest?
    pub measured: bool,
}

/// One of those who take turns.
#[derive(Clone, Debug)]
pub struct Contender {
    /// What it is called in a report.
    pub name: String,
    /// A turn: commands that run one after the other.
    pub steps: Vec<Step>,
    /// What takes the container of a failed turn away.
    pub clean_up: Option<Vec<Word>>,
    /// For each measured step what it has cost, turn after turn.
    pub costs: Vec<Vec<Cost>>,
}

impl Contender {
    /// A contender who has had no turn yet.
    pub fn new(name: &str, steps: Vec<Step>, clean_up: Option<Vec<Word>>) -> Self {
        let measured = steps.iter().filter(|step| step.measured).count();
        Self { name: name.into(), steps, clean_up, costs: vec![Vec::new(); measured] }
    }

    /// A program that makes no container, for comparison.
    pub fn program(name: &str, path: &Path) -> Self {
        let step = Step { words: vec![Word::text(path)], measured: true };
        Self::new(name, vec![step], None)
    }

    /// `RUNTIME --root ROOT run --bundle BUNDLE ID`, which every OCI runtime's command line has.
    pub fn run(name: &str, runtime: &Path, root: &Path, bundle: &Path) -> Self {
        let run = ["run".as_ref(), "--bundle".as_ref(), bundle.as_os_str()];
        let step = Step { words: command(runtime, root, &run), measured: true };
        Self::new(name, vec![step], Some(delete(runtime, root)))
    }
}

/// `RUNTIME --root ROOT WORDS ID`.
pub fn command(runtime: &Path, root: &Path, words: &[impl AsRef<OsStr>]) -> Vec<Word> {
    let global = [runtime.as_os_str(), "--root".as_ref(), root.as_os_str()];
    let words = words.iter().map(Word::text);
    global.iter().map(Word::text).chain(words).chain([Word::Id]).collect()
}

/// `RUNTIME --root ROOT delete --force ID`.
pub fn delete(runtime: &Path, root: &Path) -> Vec<Word> {
    command(runtime, root, &["delete", "--force"])
}

/// The command of `words` for the container `id`.
pub(super) fn with_id(words: &[Word], id: &str) -> Vec<CString> {
    let id = CString::new(id).unwrap_or_default();
    let word = |word: &Word| match word {
        Word::Text(text) => text.clone(),
        Word::Id => id.clone(),
    };
    words.iter().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::spawner::in_words;

    #[test]
    fn a_runtime_is_called_as_runc_is() {
        let contender = Contender::run("crun", Path::new("/bin/crun"), Path::new("/r"), Path::new("/b"));
        let run = in_words(&with_id(&contender.steps[0].words, "x"));
        assert_eq!(run, "/bin/crun --root /r run --bundle /b x");
        let delete = in_words(&with_id(&contender.clean_up.unwrap(), "x"));
        assert_eq!(delete, "/bin/crun --root /r delete --force x");
    }

    #[test]
    fn only_measured_steps_have_costs() {
        let step = |measured| Step { words: vec![Word::text("/bin/true"), Word::Id], measured };
        let contender = Contender::new("x", vec![step(false), step(true), step(false)], None);
        assert_eq!(contender.costs.len(), 1);
    }
}
