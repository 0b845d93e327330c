//! Where rcrun-cri can be killed on purpose, to prove that the next one finds everything again.
//!
//! Only in builds for tests; in a release each point is empty. `RCRUN_CRI_FAULT=N` kills rcrun-cri with SIGKILL at the Nth point
//! that it passes, and says on stderr which that was.

/// A point between two effects.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_after: &str) {}

/// A point between two effects.
#[cfg(debug_assertions)]
pub fn point(after: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static FAULT: LazyLock<Option<u32>> =
        LazyLock::new(|| std::env::var("RCRUN_CRI_FAULT").ok().and_then(|number| number.parse().ok()));
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let Some(fault) = *FAULT else { return };
    if PASSED.fetch_add(1, Ordering::Relaxed) + 1 == fault {
        eprintln!("killed after: {after}");
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
