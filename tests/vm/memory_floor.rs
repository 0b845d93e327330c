//! How little memory is enough to start a container, beside Debian's crun.
//!
//! What the child touches before its program runs is charged to the container: a copy of each page
//! that it writes to. It must be no more than what another runtime needs.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::support::Bundle;
use crate::{Limited, bundle};

const STEP: u64 = 16 << 10;

/// The peer that `make test-vm` has unpacked.
fn crun() -> Result<PathBuf, String> {
    std::env::var_os("RCRUN_TEST_CRUN")
        .map(PathBuf::from)
        .ok_or("no RCRUN_TEST_CRUN: make test-vm sets it".into())
}

/// `true` with so many bytes of memory.
fn limited(bundle: Bundle, bytes: u64) -> Bundle {
    let bundle = bundle.limit("memory", json!({"limit": bytes})).args(["true"]);
    bundle.write_config();
    bundle
}

fn runs_with_crun(crun: &PathBuf, bundle: &Bundle) -> bool {
    let root = bundle.file("crun");
    let id = format!("{}-crun", bundle.marker());
    let crun = |args: &[&str]| {
        let mut command = Command::new(crun);
        command.arg("--root").arg(&root).args(args).current_dir(bundle.path());
        command.output().expect("execute crun").status.success()
    };
    let runs = crun(&["run", &id]);
    crun(&["delete", "--force", &id]);
    runs
}

#[test]
fn the_least_memory_that_crun_can_start_a_container_with_is_enough() {
    let crun = crate::support::require!(crun());
    let mut bundle = bundle!().set("/ociVersion", json!("1.0.2"));
    let mut floor = 5 * STEP;
    loop {
        floor += STEP;
        assert!(floor <= 64 * STEP, "crun starts nothing here");
        bundle = limited(bundle, floor);
        // Once may be luck: what is charged to the container varies from run to run.
        if runs_with_crun(&crun, &bundle) && runs_with_crun(&crun, &bundle) {
            break;
        }
    }
    println!("crun needs {} KiB", floor >> 10);
    for _ in 0..3 {
        bundle.run().success();
    }
}
