//! The programs under test: `$RCRUN_CRI` and `$RCRUN_SHIM`, or what cargo builds.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// `rcrun-cri`.
pub fn cri() -> PathBuf {
    match std::env::var_os("RCRUN_CRI") {
        Some(path) => path.into(),
        None => env!("CARGO_BIN_EXE_rcrun-cri").into(),
    }
}

/// `rcrun-shim`, which is another package's: cargo does not build it for these tests.
pub fn shim() -> PathBuf {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| match std::env::var_os("RCRUN_SHIM") {
        Some(path) => path.into(),
        None => built_shim(),
    })
    .clone()
}

fn built_shim() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_rcrun-cri")).with_file_name("rcrun-shim");
    // Cargo says where it is; elsewhere (in the VM) what is there must do.
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut build = Command::new(cargo);
        // With rcrun-cri beside it the library is the one that was built for these tests.
        build.args(["build", "--quiet", "--locked", "--package", "rcrun-cri", "--package", "rcrun-shim"]);
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().expect("start cargo").success(), "{build:?}");
    }
    assert!(beside.exists(), "no {}: cargo build --package rcrun-shim", beside.display());
    beside
}
