//! Rules go into the kernel, through nft(8): one process for each rule set, and none where nothing has changed.

use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use super::rules::{Names, Rules, TABLE};

/// Rules are loaded in milliseconds, on an emulated machine in seconds.
const LIMIT: Duration = Duration::from_secs(60);

/// Why the kernel has other rules.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub(super) enum LoadError {
    #[error("cannot run nft, without which no Service is reachable: not found in PATH; install nftables")]
    Missing,
    #[error("cannot run nft, without which no Service is reachable: {0}")]
    Run(io::Error),
    #[error("nft refused the rules of Services: {0}")]
    Refused(String),
    #[error("nft did not end within {} s and was killed; the rules of Services are those of before", .0.as_secs())]
    Hangs(Duration),
}

/// What a load has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loaded {
    /// There was nothing to do.
    Nothing,
    /// One transaction that took nothing away.
    Added,
    /// One that did.
    Changed,
}

/// What is in the kernel.
#[derive(Default)]
pub(super) struct Kernel {
    /// None: it is not known.
    loaded: Option<Rules>,
    /// What was there at the first look; the first load is told of it.
    left: Option<Names>,
    nft: Nft,
}

impl Kernel {
    /// Whether there are rules, an agent's before this one.
    pub async fn has_rules(&mut self) -> Result<bool, LoadError> {
        let left = self.nft.found().await?;
        Ok(!self.left.insert(left).are_none())
    }

    /// Makes the kernel's rules these, in one transaction.
    pub async fn load(&mut self, rules: Rules) -> Result<Loaded, LoadError> {
        if self.loaded.as_ref() == Some(&rules) {
            return Ok(Loaded::Nothing);
        }
        let (script, takes) = match (self.loaded.take(), self.left.take()) {
            (Some(before), _) => {
                let script = rules.changing(&before);
                let takes =
                    script.lines().any(|line| line.starts_with("flush ") || line.starts_with("delete "));
                (script, takes)
            }
            (None, left) => {
                let left = match left {
                    Some(left) => left,
                    None => self.nft.found().await?,
                };
                (rules.replacing(&left), !left.are_none())
            }
        };
        let takes = match self.nft.apply(&script).await {
            // Somebody else may have changed or flushed the table meanwhile, or another version of the agent made it.
            Err(LoadError::Refused(_)) => {
                self.nft.apply(&rules.afresh()).await?;
                true
            }
            done => {
                done?;
                takes
            }
        };
        self.loaded = Some(rules);
        Ok(if takes { Loaded::Changed } else { Loaded::Added })
    }

    /// Somebody else changed it.
    pub fn forget(&mut self) {
        self.loaded = None;
    }
}

/// The program.
struct Nft {
    program: &'static str,
    limit: Duration,
}

impl Default for Nft {
    fn default() -> Self {
        Self { program: "nft", limit: LIMIT }
    }
}

impl Nft {
    /// What an agent before this one left.
    async fn found(&self) -> Result<Names, LoadError> {
        let words = ["-t", "list", "table"].into_iter().chain(TABLE.split(' '));
        // There is no table: then there are no names.
        let listing = self.run(words, None).await?;
        if !listing.status.success() && !String::from_utf8_lossy(&listing.stderr).contains("No such file") {
            return Err(refused(&listing));
        }
        Ok(Names::read(&String::from_utf8_lossy(&listing.stdout)))
    }

    async fn apply(&self, script: &str) -> Result<(), LoadError> {
        let done = self.run(["-f", "-"], Some(script)).await?;
        if done.status.success() {
            return Ok(());
        }
        Err(refused(&done))
    }

    async fn run<'a>(
        &self,
        words: impl IntoIterator<Item = &'a str>,
        input: Option<&str>,
    ) -> Result<Output, LoadError> {
        let mut command = Command::new(self.program);
        command
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env("LC_ALL", "C")
            .kill_on_drop(true);
        let spawned = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => LoadError::Missing,
            _ => LoadError::Run(error),
        });
        let mut child = spawned?;
        let ended = async {
            if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
                // It reads all before it says anything; one that ends before has a reason to tell.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
            child.wait_with_output().await
        };
        match timeout(self.limit, ended).await {
            Ok(output) => output.map_err(LoadError::Run),
            Err(_) => Err(LoadError::Hangs(self.limit)),
        }
    }
}

fn refused(done: &Output) -> LoadError {
    let errors = String::from_utf8_lossy(&done.stderr);
    let first = errors.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    LoadError::Refused(first.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::rules::{Facts, rules};
    use super::*;
    use crate::objects::Objects;

    #[tokio::test]
    async fn a_program_that_never_ends_is_not_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("nft");
        // Listing works, and nothing is there; what is loaded is not even read. Written by another process: one that another test starts
        // meanwhile would hold it open for writing.
        let script = r#"printf '#!/bin/sh\n[ "$1" != -f ] || exec sleep 1000\n' >"$0" && chmod 755 "$0""#;
        let made = std::process::Command::new("sh").args(["-c", script]).arg(&program).status();
        assert!(made.expect("sh").success());
        let program: &'static str = program.to_str().expect("UTF-8").to_owned().leak();
        let nft = Nft { program, limit: Duration::from_secs(2) };
        let mut kernel = Kernel { loaded: None, left: None, nft };
        let rules = rules(&Objects::default(), &Facts::default());
        let error = kernel.load(rules).await.expect_err("it hangs").to_string();
        assert!(error.contains("nft did not end within 2 s"), "{error}");
    }
}
