//! `streamer/`, the Go program on Kubernetes' own client code.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Builds it, once for all tests of a process; Err is a reason to skip them.
pub fn build() -> Result<PathBuf, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(go_build).clone()
}

fn go_build() -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cri/streamer");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("streamer");
    let mut go = Command::new("go");
    go.args(["build", "-buildvcs=false", "-o"]).arg(&program).arg(".").current_dir(source);
    match go.env("CGO_ENABLED", "0").output() {
        Ok(output) if output.status.success() => Ok(program),
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            Err(format!("go build: {}", errors.lines().last().unwrap_or("no error")))
        }
        Err(error) => Err(format!("go: {error}")),
    }
}
