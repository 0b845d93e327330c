//! What the program of a runtime handler can do: it is asked, once for each version of it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api::RuntimeHandlerFeatures;

/// A program that does not answer can do nothing: a kubelet waits for Status.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long that holds: it may have been the machine that was busy.
const PAUSE: Duration = Duration::from_secs(60);

/// Inode, time of its change: another program at the same path is asked anew.
type Version = (u64, i64, i64);

/// What a program has answered, or that it has not.
#[derive(Clone, Copy)]
struct Known {
    version: Version,
    features: RuntimeHandlerFeatures,
    /// When it is asked again although it is the same; None: never.
    again: Option<Instant>,
}

static KNOWN: Mutex<BTreeMap<PathBuf, Known>> = Mutex::new(BTreeMap::new());

/// The features of `program`, from `PROGRAM features`
/// ([features.md](https://github.com/opencontainers/runtime-spec/blob/main/features.md)). Without an answer, none for a while.
pub async fn of(program: &Path) -> RuntimeHandlerFeatures {
    known(program, PAUSE).await
}

async fn known(program: &Path, pause: Duration) -> RuntimeHandlerFeatures {
    let Ok(file) = std::fs::metadata(program) else { return RuntimeHandlerFeatures::default() };
    let version = (file.ino(), file.ctime(), file.ctime_nsec());
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(program).copied();
    let holds =
        |known: &Known| known.version == version && known.again.is_none_or(|again| Instant::now() < again);
    if let Some(known) = known.filter(holds) {
        return known.features;
    }
    let (features, again) = match asked(program).await {
        Ok(features) => (features, None),
        Err(reason) => {
            tracing::warn!(
                "{} features: {reason}: Pods of its handler do without until it is asked again, in {pause:?}",
                program.display()
            );
            (RuntimeHandlerFeatures::default(), Some(Instant::now() + pause))
        }
    };
    let mut all = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    all.insert(program.to_owned(), Known { version, features, again });
    features
}

/// Its answer, which may be that it has none to give. An error where it could not be asked, or did not come to an end of its own.
async fn asked(program: &Path) -> Result<RuntimeHandlerFeatures, String> {
    let output = run(program).await?;
    let answer = match output.status.code() {
        None => return Err(output.status.to_string()),
        Some(0) => serde_json::from_slice(&output.stdout).map_err(|error| error.to_string()),
        Some(_) => Err(output.status.to_string()),
    };
    Ok(match answer {
        Ok(answer) => parse(&answer),
        Err(reason) => {
            tracing::warn!("{} features: {reason}: Pods of its handler do without", program.display());
            RuntimeHandlerFeatures::default()
        }
    })
}

async fn run(program: &Path) -> Result<Output, String> {
    let mut command = tokio::process::Command::new(program);
    command.arg("features").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(ended) => ended.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

/// User namespaces need more than a runtime that can make them.
fn parse(answer: &Value) -> RuntimeHandlerFeatures {
    let options = answer["mountOptions"].as_array().map(Vec::as_slice).unwrap_or_default();
    RuntimeHandlerFeatures {
        recursive_read_only_mounts: options.iter().any(|option| option == "rro"),
        user_namespaces: false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::executable;

    fn program(path: &Path, script: &str) {
        executable(path, &format!("#!/bin/sh\n{script}\n"));
    }

    #[tokio::test]
    async fn a_program_is_asked_once_and_anew_when_it_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("runtime");
        let calls = directory.path().join("calls");
        let counts = format!("echo $1 >>{}", calls.display());
        program(&path, &format!("{counts}; echo '{{\"mountOptions\": [\"ro\", \"rro\"]}}'"));
        for _ in 0..2 {
            assert!(of(&path).await.recursive_read_only_mounts);
        }
        assert_eq!(fs::read_to_string(&calls).unwrap(), "features\n");
        program(&path, &format!("{counts}; echo unknown command; exit 1"));
        for _ in 0..2 {
            assert!(!of(&path).await.recursive_read_only_mounts);
        }
        assert_eq!(fs::read_to_string(&calls).unwrap(), "features\nfeatures\n");
        fs::remove_file(&path).unwrap();
        assert!(!of(&path).await.recursive_read_only_mounts);
    }

    #[tokio::test]
    async fn a_program_that_could_not_be_asked_is_asked_again() {
        let directory = tempfile::tempdir().unwrap();
        let (path, interpreter) = (directory.path().join("runtime"), directory.path().join("interpreter"));
        executable(&path, &format!("#!{}\n", interpreter.display()));
        assert!(!known(&path, Duration::from_secs(1000)).await.recursive_read_only_mounts);
        program(&interpreter, "echo '{\"mountOptions\": [\"rro\"]}'");
        assert!(!of(&path).await.recursive_read_only_mounts, "not at once");
        KNOWN.lock().unwrap().remove(&path);
        // One that is killed has not answered either.
        program(&interpreter, "kill -9 $$");
        assert!(!known(&path, Duration::ZERO).await.recursive_read_only_mounts);
        program(&interpreter, "echo '{\"mountOptions\": [\"rro\"]}'");
        assert!(known(&path, Duration::ZERO).await.recursive_read_only_mounts);
    }
}
