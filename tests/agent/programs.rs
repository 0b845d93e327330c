//! The programs: the agent that cargo builds, and rcrun-cri and rcrun-shim of `$RCRUN_CRI` and `$RCRUN_SHIM` or those of `make build`.

use std::path::{Path, PathBuf};

/// `rcrun-agent`, the program under test.
pub fn agent() -> PathBuf {
    std::env::var_os("RCRUN_AGENT").map_or_else(|| env!("CARGO_BIN_EXE_rcrun-agent").into(), PathBuf::from)
}

/// `rcrun-cri`.
pub fn cri() -> PathBuf {
    built("RCRUN_CRI", "rcrun-cri")
}

/// `rcrun-shim`.
pub fn shim() -> PathBuf {
    built("RCRUN_SHIM", "rcrun-shim")
}

fn built(variable: &str, name: &str) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release").join(name),
        PathBuf::from,
    );
    assert!(path.exists(), "no {}: make build", path.display());
    path
}
