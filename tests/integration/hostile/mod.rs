//! Hostile containers: one file a class of attack, each an attack that works on a naive runtime.
//!
//! They assert that the attack fails, not how it is refused, so that `RCRUN=/path/to/runc` runs the
//! same attacks on another runtime. docs/security.md has the table of classes, tests and results.

mod attacker;
mod host_settings;
mod masks_and_console;
mod own_binary;
mod privileges;
mod procfs;
mod swapped_targets;
mod users;
mod working_directory;

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{Bundle, LONG, Outcome, seconds, wait_for};

impl Bundle {
    /// With every capability that the test itself has, in all sets that the kernel uses for root, and
    /// without any masked or read-only path: the strongest attacker without a user namespace.
    fn almighty(self) -> Self {
        let permitted = caps::read(None, caps::CapSet::Permitted).expect("capabilities");
        let names: Vec<String> = permitted.iter().map(ToString::to_string).collect();
        let sets = json!({"bounding": names, "permitted": names, "effective": names, "inheritable": [], "ambient": []});
        self.writable()
            .set("/process/capabilities", sets)
            .set("/linux/maskedPaths", json!([]))
            .set("/linux/readonlyPaths", json!([]))
    }

    /// Runs the container, or is glad that the runtime refuses to.
    fn run_or_refused(&self) -> Outcome {
        self.run_invocation(&[]).wait()
    }
}

/// How often an attack is tried.
struct Tries {
    since: Instant,
    made: usize,
}

impl Tries {
    /// Waits until the attacker is at work: there is nothing to be tried before.
    #[track_caller]
    fn of(attacker: &Bundle) -> Self {
        wait_for("the attack", 15, || (attacker.reported("swaps") > 0).then_some(()));
        Self { since: Instant::now(), made: 0 }
    }

    /// One more? `least` of them in any case, then until the attacker has exchanged its names `swaps` times: at
    /// most `most` or, without such a number, for as long as a machine may give the attacker no time.
    fn go_on(&mut self, attacker: &Bundle, swaps: u64, least: usize, most: Option<usize>) -> bool {
        let may = most.map_or_else(|| self.since.elapsed() < seconds(LONG), |most| self.made < most);
        let more = self.made < least || (may && attacker.reported("swaps") < swaps);
        self.made += usize::from(more);
        more
    }
}

/// The text of a file of the host's, trimmed.
#[track_caller]
fn text(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
}

/// A process object as `exec --process` takes it: the container's own with these changes.
fn process_file(bundle: &Bundle, name: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut process = bundle.config["process"].clone();
    change(&mut process);
    let path = bundle.file(name);
    fs::write(&path, process.to_string()).expect("write");
    path.to_str().expect("UTF-8").to_owned()
}
