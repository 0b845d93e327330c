//! What the integration and the VM tests stand on: bundles made of busybox, commands that cannot
//! hang, things of the host to hold against (cgroups, namespaces, terminals), and the check that
//! a test left nothing behind.
//!
//! The binary under test is `$RCRUN`, or the one that cargo built. `RCRUN_TEST_PATIENCE=N`
//! multiplies every time limit (an emulated machine is ten to twenty times slower).

// Several test targets share this module, and none uses all of it.
#![allow(dead_code, unused_imports, unused_macros)]

mod bundle;
mod command;
mod container;
mod host;
mod leaks;
mod scene;
mod terminal;

pub use bundle::{Bundle, DEFAULT_APPLETS, USER, busybox_rootfs, copy_program};
pub use command::{Invocation, Outcome, Running};
pub use host::{
    NamespaceHolder, cgroup_mount, cgroup_of, cgroup_text, controllers, kernel_version, own_cgroup,
    process_exists, process_status_field,
};
pub use leaks::{KEPT_FILTERS, MARKER, Traces, holds_kept_filters};
pub use terminal::{ConsoleSocket, Pty};

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A bundle made of busybox, or a return from the test with a SKIP line where none can run.
macro_rules! busybox {
    () => {
        match $crate::support::Bundle::busybox() {
            Ok(bundle) => bundle,
            Err(reason) => return $crate::support::skip(&reason),
        }
    };
}
pub(crate) use busybox;

/// Goes on with the value of a `Result<_, String>`, or returns from the test with a SKIP line.
macro_rules! require {
    ($need:expr) => {
        match $need {
            Ok(value) => value,
            Err(reason) => return $crate::support::skip(&reason),
        }
    };
}
pub(crate) use require;

/// Says that the running test was not done and why. Past libtest's capture, so that it is seen.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!("SKIP {}: {reason}\n", thread.name().unwrap_or("?"));
    std::io::stderr().write_all(line.as_bytes()).expect("write to stderr");
}

/// The binary under test.
pub fn binary() -> PathBuf {
    match std::env::var_os("RCRUN") {
        Some(path) => path.into(),
        // Of another package, cargo says nothing: its tests name it.
        None => match option_env!("CARGO_BIN_EXE_rcrun") {
            Some(path) => path.into(),
            None => panic!("RCRUN names the binary"),
        },
    }
}

/// Is there a program of this name in PATH? Err is a reason to skip.
pub fn program(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| format!("{name} is not installed"))
}

/// Does the host offer this cgroup controller? Err is a reason to skip.
pub fn controller(name: &str) -> Result<(), String> {
    let present = controllers();
    match present.iter().any(|c| c == name) {
        true => Ok(()),
        false => Err(format!("this host's cgroup2 has no {name} controller (it has {present:?})")),
    }
}

/// So many seconds, times the machine's patience factor.
pub fn seconds(n: u64) -> Duration {
    let factor = std::env::var("RCRUN_TEST_PATIENCE").ok().and_then(|f| f.parse::<u64>().ok());
    Duration::from_secs(n * factor.unwrap_or(1))
}

/// What comes at all has come by then, also on a machine that does much else: it costs nothing where it comes earlier.
pub const LONG: u64 = 60;

/// Waits until `condition` gives something; panics with `what` after `n` (patient) seconds, but not before [`LONG`].
pub fn wait_for<T>(what: &str, n: u64, mut condition: impl FnMut() -> Option<T>) -> T {
    let n = n.max(LONG);
    let deadline = Instant::now() + seconds(n);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {n} s for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
