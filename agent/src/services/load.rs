//! Rules go into the kernel, through nft(8): one process for each rule set, and none where nothing has changed.

use std::io;
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::rules::{Names, Rules, TABLE};

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
}

/// What is in the kernel.
#[derive(Default)]
pub(super) struct Kernel {
    /// None: it is not known.
    loaded: Option<Rules>,
}

impl Kernel {
    /// Makes the kernel's rules these, in one transaction. Says whether there was anything to do.
    pub async fn load(&mut self, rules: Rules) -> Result<bool, LoadError> {
        if self.loaded.as_ref() == Some(&rules) {
            return Ok(false);
        }
        let before = match self.loaded.take() {
            Some(loaded) => loaded.names,
            None => found().await?,
        };
        // Somebody else may have changed or flushed the table meanwhile, or another version of the agent made it.
        if apply(&rules.replacing(&before)).await.is_err() {
            apply(&rules.afresh()).await?;
        }
        self.loaded = Some(rules);
        Ok(true)
    }

    /// Somebody else changed it.
    pub fn forget(&mut self) {
        self.loaded = None;
    }
}

/// What an agent before this one left.
async fn found() -> Result<Names, LoadError> {
    let words = ["-t", "list", "table"].into_iter().chain(TABLE.split(' '));
    // There is no table: then there are no names.
    let listing = nft(words, None).await?;
    Ok(Names::read(&String::from_utf8_lossy(&listing.stdout)))
}

async fn apply(script: &str) -> Result<(), LoadError> {
    let done = nft(["-f", "-"], Some(script)).await?;
    if done.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&done.stderr);
    let first = errors.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    Err(LoadError::Refused(first.trim().to_owned()))
}

async fn nft<'a>(words: impl IntoIterator<Item = &'a str>, input: Option<&str>) -> Result<Output, LoadError> {
    let mut command = Command::new("nft");
    command
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let spawned = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => LoadError::Missing,
        _ => LoadError::Run(error),
    });
    let mut child = spawned?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // It reads all before it says anything; one that ends before has a reason to tell.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    child.wait_with_output().await.map_err(LoadError::Run)
}
