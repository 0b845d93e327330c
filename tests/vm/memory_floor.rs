//! How little memory is enough to start a container, beside Debian's crun.
//!
//! What the child touches before its program runs is charged to the container: a copy of each page
//! that it writes to. It must be no more than what another runtime needs.
//!
//! On one CPU: on each, the kernel charges up to 64 pages ahead, and what is set aside on another one
//! is given back only some time after the limit is met.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::support::{Bundle, Outcome};
use crate::{Limited, bundle};

const STEP: u64 = 4 << 10;

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

/// The VM's second CPU, off until dropped. An affinity would not do: crun resets it.
struct OneCpu;

impl OneCpu {
    const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";

    fn new() -> Self {
        std::fs::write(Self::ONLINE, "0").expect("the VM has a second CPU");
        Self
    }
}

impl Drop for OneCpu {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::ONLINE, "1");
    }
}

#[test]
fn the_least_memory_that_crun_can_start_a_container_with_is_enough() {
    let crun = crate::support::require!(crun());
    let mut bundle = bundle!().set("/ociVersion", json!("1.0.2"));
    let _cpu = OneCpu::new();
    let mut floor = 24 * STEP;
    loop {
        floor += STEP;
        assert!(floor <= 256 * STEP, "crun starts nothing here");
        bundle = limited(bundle, floor);
        // Once may be luck: what is charged to a container varies by some pages.
        if (0..8).all(|_| runs_with_crun(&crun, &bundle)) {
            break;
        }
    }
    println!("crun needs {} KiB", floor >> 10);
    let runs: Vec<Outcome> = (0..5).map(|_| bundle.run()).collect();
    let killed = runs.iter().filter(|run| !run.status.success()).count();
    let last = runs.iter().rfind(|run| !run.status.success());
    assert!(
        killed <= 1,
        "{killed} of {} runs were killed: {}",
        runs.len(),
        last.map_or(String::new(), Outcome::to_string)
    );
}
