//! What needs cgroup controllers or CAP_SYS_RESOURCE: limits that really limit, their updates,
//! raised resource limits. `make test-vm` runs all of it in one VM; elsewhere each test is skipped.

#[path = "../support/mod.rs"]
mod support;

mod cpu;
#[path = "../images/fixtures/mod.rs"]
mod fixtures;
mod images;
mod io;
mod labels;
mod memory;
mod memory_floor;
mod others;
mod privileges;
mod processes;
mod systemd;

use std::path::PathBuf;

use serde_json::Value;
use support::Bundle;

/// A bundle in the VM, or a return from the test with a SKIP line.
macro_rules! bundle {
    () => {
        match std::env::var_os("RCRUN_IN_VM") {
            Some(_) => $crate::support::busybox!(),
            None => return $crate::support::skip("it runs in the VM: make test-vm"),
        }
    };
}
pub(crate) use bundle;

/// Steps that most of these tests share.
trait Limited: Sized {
    /// `linux.resources.FIELD`.
    fn limit(self, field: &str, value: Value) -> Self;
    /// Runs `sleep` in the container; its cgroup.
    fn sleeping(&mut self) -> PathBuf;
    /// `rcrun update FLAGS ID`, which must succeed.
    fn update(&self, flags: &[&str]);
    /// `rcrun update --resources - ID`, which must succeed.
    fn update_resources(&self, resources: &Value);
}

impl Limited for Bundle {
    fn limit(self, field: &str, value: Value) -> Self {
        self.set(&format!("/linux/resources/{field}"), value)
    }

    #[track_caller]
    fn sleeping(&mut self) -> PathBuf {
        self.config["process"]["args"] = serde_json::json!(["sleep", "1000"]);
        support::cgroup_of(self.run_detached())
    }

    #[track_caller]
    fn update(&self, flags: &[&str]) {
        self.rcrun(&[&["update"], flags, &[self.id()]].concat()).success();
    }

    #[track_caller]
    fn update_resources(&self, resources: &Value) {
        let args = ["update", "--resources", "-", self.id()];
        self.invocation(&args).stdin(&resources.to_string()).wait().success();
    }
}
