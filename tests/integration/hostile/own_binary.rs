//! A: the runtime's binary on the host, overwritten through /proc/PID/exe (CVE-2019-5736).
//!
//! The attacker is root with all capabilities in no user namespace, sees every process of its PID
//! namespace, and keeps what it has caught until nobody runs the runtime any more.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::support::{Bundle, Outcome, USER, busybox, require, wait_for};

/// A copy of the runtime that only this test uses.
struct Prey {
    path: PathBuf,
    content: Vec<u8>,
}

impl Prey {
    fn new(bundle: &Bundle) -> Self {
        let path = bundle.file("runtime");
        // By another process: a descriptor for writing of ours could be inherited by a fork of another
        // test's, and make the file busy.
        let copied = Command::new("cp").arg(crate::support::binary()).arg(&path).status();
        assert!(copied.expect("cp").success());
        let content = fs::read(&path).expect("read");
        Self { path, content }
    }

    /// The copy that an unprivileged user's commands use, owned by that user.
    fn of_the_user(bundle: &Bundle) -> Self {
        let path = bundle.path().with_file_name("rcrun");
        chown(&path, Some(USER), Some(USER)).expect("chown");
        let content = fs::read(&path).expect("read");
        Self { path, content }
    }

    fn inode(&self) -> u64 {
        fs::metadata(&self.path).expect("stat").ino()
    }

    /// `runtime ARGS` on `bundle`, by this copy.
    fn invoke<S: AsRef<std::ffi::OsStr>>(&self, bundle: &Bundle, args: &[S]) -> Outcome {
        let script = format!("shift; exec '{}' \"$@\"", self.path.display());
        bundle.invocation_in_shell(&script, args).wait()
    }

    /// Starts the attacker: a container with all privileges that watches its PID namespace.
    fn attacked_by(&self, attacker: &Bundle) -> i32 {
        attacker.write_config();
        self.invoke(attacker, &attacker.bundle_command("run", &["--detach"])).success();
        wait_for("the attacker", 15, || (attacker.reported("rounds") > 0).then_some(()));
        attacker.pid()
    }

    /// Gives the attacker time to use what it has caught, now that nobody runs this copy.
    #[track_caller]
    fn assert_untouched(&self, attacker: &Bundle) {
        let rounds = attacker.reported("rounds");
        wait_for("the attacker's last tries", 20, || {
            (attacker.reported("rounds") >= rounds + 2).then_some(())
        });
        println!(
            "caught {} times, {} descriptors held, {} writes",
            attacker.reported("caught"),
            attacker.reported("held"),
            attacker.reported("written")
        );
        let mode = fs::metadata(&self.path).expect("stat").mode();
        assert!(fs::read(&self.path).expect("read") == self.content, "the runtime's binary was overwritten");
        assert_eq!(mode & 0o7777, 0o755, "the mode of the runtime's binary was changed");
    }
}

fn attacker() -> Result<(Bundle, Prey), String> {
    let bundle = Bundle::busybox()?.almighty();
    let prey = Prey::new(&bundle);
    let attack = format!("overwrite={}", prey.inode());
    Ok((bundle.attacker(&attack), prey))
}

macro_rules! attacker {
    () => {
        require!(attacker())
    };
}

/// What an image can have as a program so that the runtime becomes it itself.
fn disguises(bundle: &Bundle) -> Vec<&'static str> {
    bundle.make_program("bin/script", b"#!/proc/self/exe version\n", 0o755);
    bundle.make_program("bin/features", b"#!/proc/self/exe features\n", 0o755);
    symlink("/proc/self/exe", bundle.rootfs().join("bin/link")).expect("symlink");
    vec!["/proc/self/exe", "/bin/script", "/bin/features", "/bin/link", "/bin/true"]
}

#[test]
fn exec_into_the_attackers_container_does_not_lay_the_binary_open() {
    let (bundle, prey) = attacker!();
    let programs = disguises(&bundle);
    prey.attacked_by(&bundle);
    for _ in 0..12 {
        for program in &programs {
            prey.invoke(&bundle, &["exec", bundle.id(), program, "--help"]);
        }
    }
    prey.assert_untouched(&bundle);
    bundle.delete_forced().success();
}

#[test]
fn a_container_that_shares_the_attackers_pids_does_not_lay_the_binary_open() {
    let (bundle, prey) = attacker!();
    let pid = prey.attacked_by(&bundle);
    let mut victim = busybox!().almighty().namespace("pid", Some(&format!("/proc/{pid}/ns/pid")));
    for program in disguises(&victim) {
        victim = victim.args([program, "features"]);
        for _ in 0..8 {
            victim.write_config();
            prey.invoke(&victim, &victim.bundle_command("run", &[]));
        }
    }
    prey.assert_untouched(&bundle);
    bundle.delete_forced().success();
}

#[test]
fn a_link_that_changes_meanwhile_does_not_lay_the_binary_open() {
    let (bundle, prey) = attacker!();
    let bin = bundle.rootfs().join("bin");
    symlink("/proc/self/exe", bin.join("racing")).expect("symlink");
    symlink("/bin/true", bin.join("other")).expect("symlink");
    prey.attacked_by(&bundle);
    let swapper =
        busybox!().almighty().bind(&bin, "/prey", &["bind"]).attacker("swap=/prey/racing,/prey/other");
    swapper.run_detached();
    wait_for("the swaps", 15, || (swapper.reported("swaps") > 0).then_some(()));
    for _ in 0..40 {
        prey.invoke(&bundle, &["exec", bundle.id(), "/bin/racing", "features"]);
    }
    swapper.delete_forced().success();
    prey.assert_untouched(&bundle);
    bundle.delete_forced().success();
}

/// Between `create` and `start` the first process is still the runtime, and `exec` lets others in.
#[test]
fn a_container_that_waits_for_its_start_does_not_lay_the_binary_open() {
    let (bundle, prey) = attacker!();
    let args = bundle.config["process"].clone();
    let bundle = bundle.args(["sleep", "100"]);
    bundle.write_config();
    prey.invoke(&bundle, &bundle.bundle_command("create", &[])).success();
    let file = super::process_file(&bundle, "process.json", |process| *process = args);
    prey.invoke(&bundle, &["exec", "--detach", "--process", &file, bundle.id()]).success();
    wait_for("the attacker", 15, || (bundle.reported("rounds") > 1).then_some(()));
    prey.invoke(&bundle, &["start", bundle.id()]).success();
    prey.assert_untouched(&bundle);
    bundle.delete_forced().success();
}

/// The same where the attacker has no capability but those of any container.
#[test]
fn an_attacker_without_privileges_catches_nothing_either() {
    let (bundle, prey) = attacker!();
    let usual =
        json!(["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETUID"]);
    let sets = json!({"bounding": usual, "permitted": usual, "effective": usual});
    let bundle = bundle.set("/process/capabilities", sets);
    let programs = disguises(&bundle);
    prey.attacked_by(&bundle);
    for _ in 0..8 {
        for program in &programs {
            prey.invoke(&bundle, &["exec", bundle.id(), program, "--help"]);
        }
    }
    prey.assert_untouched(&bundle);
    bundle.delete_forced().success();
}

/// Root in an unprivileged user's container is that user, who may own the runtime's binary.
#[test]
fn a_users_own_binary_is_not_laid_open_to_the_users_container() {
    let bundle = require!(busybox!().rootless());
    let prey = Prey::of_the_user(&bundle);
    let program = bundle.file("attacker");
    let copied =
        Command::new("cp").arg(std::env::current_exe().expect("the test binary")).arg(&program).status();
    assert!(copied.expect("cp").success());
    let programs = disguises(&bundle);
    // The user cannot make these in root's directories.
    fs::write(bundle.rootfs().join("bin/attacker"), "").expect("write");
    fs::create_dir(bundle.rootfs().join("report")).expect("mkdir");
    let bundle = bundle.attacker_from(&program, &format!("overwrite={}", prey.inode()));
    chown(bundle.file("report"), Some(USER), Some(USER)).expect("chown");
    bundle.run_with(&["--detach"]).success();
    wait_for("the attacker", 15, || (bundle.reported("rounds") > 0).then_some(()));
    for _ in 0..6 {
        for program in &programs {
            bundle.exec(&[program, "--help"]);
        }
    }
    prey.assert_untouched(&bundle);
    bundle.delete_forced().success();
}
