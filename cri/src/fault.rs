//! Where rcrun-cri can be killed on purpose, to prove that the next one finds everything again.
//!
//! Compiled with the feature `fault-injection` alone; without it each point is empty. `RCRUN_CRI_FAULT=N` kills rcrun-cri with
//! SIGKILL at the Nth point that it passes. What it passes is on stderr.

/// A point between two effects.
#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
pub fn point(_after: &str) {}

/// A point between two effects.
#[cfg(feature = "fault-injection")]
pub fn point(after: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static FAULT: LazyLock<Option<u32>> =
        LazyLock::new(|| std::env::var("RCRUN_CRI_FAULT").ok().and_then(|number| number.parse().ok()));
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let passed = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
    eprintln!("fault point {passed}: {after}");
    if *FAULT == Some(passed) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
