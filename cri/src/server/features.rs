//! What the program of a runtime handler can do: it is asked, once for each version of it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::api::RuntimeHandlerFeatures;

/// A program that does not answer can do nothing: a kubelet waits for Status.
const PATIENCE: Duration = Duration::from_secs(10);

/// Inode, time of its change: another program at the same path is asked anew.
type Version = (u64, i64, i64);

static KNOWN: Mutex<BTreeMap<PathBuf, (Version, RuntimeHandlerFeatures)>> = Mutex::new(BTreeMap::new());

/// The features of `program`, from `PROGRAM features`
/// ([features.md](https://github.com/opencontainers/runtime-spec/blob/main/features.md)). Without an answer, none.
pub async fn of(program: &Path) -> RuntimeHandlerFeatures {
    let Ok(file) = std::fs::metadata(program) else { return RuntimeHandlerFeatures::default() };
    let version = (file.ino(), file.ctime(), file.ctime_nsec());
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(program).copied();
    match known {
        Some((of, features)) if of == version => features,
        _ => {
            let features = asked(program).await;
            let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(program.to_owned(), (version, features));
            features
        }
    }
}

async fn asked(program: &Path) -> RuntimeHandlerFeatures {
    let answer = run(program).await.and_then(|output| match output.status.success() {
        true => serde_json::from_slice(&output.stdout).map_err(|error| error.to_string()),
        false => Err(output.status.to_string()),
    });
    match answer {
        Ok(answer) => parse(&answer),
        Err(reason) => {
            tracing::warn!("{} features: {reason}: Pods of its handler do without", program.display());
            RuntimeHandlerFeatures::default()
        }
    }
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

    fn program(path: &Path, script: &str) {
        // Another file, as an upgrade makes one; by another process, for a test beside this one may start a process while it is open.
        let _ = fs::remove_file(path);
        let words = ["-c", "printf '#!/bin/sh\\n%s\\n' \"$2\" >\"$1\" && chmod 755 \"$1\"", "sh"];
        let written = std::process::Command::new("sh").args(words).arg(path).arg(script).status().unwrap();
        assert!(written.success());
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
}
