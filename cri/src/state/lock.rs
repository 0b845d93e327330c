//! One server a state directory.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Held as long as the process lives: flock(2) ends with it, however it ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held open")] File);

impl Lock {
    /// Takes the lock of a state directory.
    ///
    /// # Errors
    /// Another process has it; its pid is in the file, and in the error.
    pub fn take(state: &Path) -> anyhow::Result<Self> {
        let path = state.join("lock");
        let what = || format!("lock {}", path.display());
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(what)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => bail!(
                "{} is used by another rcrun-cri (pid {}): stop that, or configure another `state`",
                state.display(),
                fs::read_to_string(&path).unwrap_or_default().trim()
            ),
            Err(errno) => return Err(errno).with_context(what),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).with_context(what)?;
        Ok(Self(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_with_the_first_ones_pid() {
        let directory = tempfile::tempdir().unwrap();
        let first = Lock::take(directory.path()).unwrap();
        let error = Lock::take(directory.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        drop(first);
        crate::testing::at_last(|| Lock::take(directory.path()));
    }
}
