//! For unit tests: what stays right while another test starts a program, which has this process's files until its execve(2).

use std::fmt::Display;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Makes a file that can be executed, a new one where there was one. By another process: ours might have it open for writing still.
pub(crate) fn executable(path: &Path, text: &str) {
    let _ = std::fs::remove_file(path);
    let words = ["-c", "printf %s \"$2\" >\"$1\" && chmod 755 \"$1\"", "sh"];
    let written = Command::new("sh").args(words).arg(path).arg(text).status().unwrap();
    assert!(written.success());
}

/// Takes a lock, or binds a socket, that was given back.
pub(crate) fn at_last<T, E: Display>(mut take: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match take() {
            Ok(taken) => return taken,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
