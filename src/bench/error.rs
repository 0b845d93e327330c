//! What can go wrong while measuring.

use std::path::PathBuf;

use rustix::io::Errno;

use crate::launch::LaunchError;
use crate::sys::Failure;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The [`super::Spawner`] could not be made.
    #[error("start the process that starts the programs: {0}")]
    Spawner(#[from] Failure),
    /// Signals could not be blocked.
    #[error(transparent)]
    Signals(#[from] LaunchError),
    /// The [`super::Spawner`] is gone, or does not answer.
    #[error("the process that starts the programs has gone away: something has killed it")]
    Lost,
    /// posix_spawn(3) of a program.
    #[error("start {program}: {errno}")]
    Start {
        /// Its path.
        program: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// A program did not exit with 0.
    #[error("{command} failed: {how}{said}")]
    Failed {
        /// The whole command.
        command: String,
        /// Its exit status or signal.
        how: String,
        /// `: ` and the first line on its stderr, or nothing.
        said: String,
    },
    /// A program did not end.
    #[error("{command} has not ended after {seconds} s and was killed")]
    TimedOut {
        /// The whole command.
        command: String,
        /// The limit.
        seconds: u64,
    },
    /// SIGINT and the like.
    #[error("ended by signal {0}")]
    Interrupted(u32),
    /// The directory for the runtimes' state.
    #[error(
        "make the directory {path} for the runtimes' state: {errno} (beside --root, which can be another)"
    )]
    StateDirectory {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
}
