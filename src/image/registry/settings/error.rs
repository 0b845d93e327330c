//! Why the settings cannot be read, or have no answer: one line each, with the file and what to do.

use std::io;
use std::path::PathBuf;

/// A failed reading of the settings, or a question that they answer with no.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SettingsError {
    #[error("read {path:?}: {error}")]
    Read { path: PathBuf, error: io::Error },
    #[error("{path:?} has more than {most} bytes: it is no configuration")]
    TooLarge { path: PathBuf, most: u64 },
    #[error("{path:?} is named by {by} but does not exist")]
    Missing { path: PathBuf, by: &'static str },
    #[error("{path:?}, line {line}: {reason}")]
    Toml { path: PathBuf, line: usize, reason: String },
    #[error(
        "{path:?} has the first format of registries.conf (registries.search, .insecure, .block): write it in the second, containers-registries.conf(5)"
    )]
    FirstFormat { path: PathBuf },
    #[error("{reference} is blocked by {why}")]
    Blocked { reference: String, why: String },
    #[error(
        "{name} could be any of {candidates}: write the whole name, or an alias for it (short-name-mode is enforcing)"
    )]
    Ambiguous { name: String, candidates: String },
    #[error("{reference} becomes {text:?} by {why}, which is no image name: {reason}")]
    Rewrite { reference: String, text: String, why: String, reason: String },
    #[error("{path:?} is no authentication file: {reason}")]
    AuthFile { path: PathBuf, reason: String },
    #[error("{path:?}: the entry {key:?} {reason}: log in again with `rcrun login`")]
    AuthEntry { path: PathBuf, key: String, reason: &'static str },
    #[error("credential helper {name:?} of {named_by}: {problem}")]
    Helper { name: String, named_by: String, problem: HelperProblem },
    #[error("write {path:?}: {error}")]
    Write { path: PathBuf, error: io::Error },
    #[error("{directory:?}: {reason}")]
    Certificates { directory: PathBuf, reason: String },
    #[error(
        "no place for an authentication file: neither XDG_RUNTIME_DIR nor HOME is set; say --authfile FILE"
    )]
    NoAuthFile,
}

/// What a program `docker-credential-NAME` did wrong.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum HelperProblem {
    #[error("its name may have letters, digits and -_. only")]
    Name,
    #[error("docker-credential-{0} is not in PATH: install it, or remove its name there")]
    NotFound(String),
    #[error("start it: {0}")]
    Start(io::Error),
    #[error("no answer within {0} seconds")]
    Hangs(u64),
    #[error("its answer has more than {0} bytes")]
    TooMuch(usize),
    #[error("it failed: {0}")]
    Failed(String),
    #[error("its answer is not what the protocol says: {0}")]
    Answer(String),
}
