//! Labels of security modules. AppArmor is on in the VM; SELinux in a boot of its own, where
//! `security=selinux` takes AppArmor's place (see tests/bin/suites).

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::bundle;
use crate::support::{Bundle, ConsoleSocket, program, require};

fn succeeds(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// Loads AppArmor profiles. Err is a reason to skip.
fn profiles(bundle: &Bundle, names: [&str; 2]) -> Result<(), String> {
    profiles_in(&bundle.file(""), names)
}

/// The same with files in this directory.
pub fn profiles_in(directory: &Path, names: [&str; 2]) -> Result<(), String> {
    program("apparmor_parser")?;
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    if !enabled.starts_with('Y') {
        return Err("AppArmor is not on".into());
    }
    if !fs::exists("/sys/kernel/security/apparmor").expect("sysfs") {
        succeeds("mount", &["-t", "securityfs", "none", "/sys/kernel/security"])?;
    }
    for name in names {
        let file = directory.join(name);
        // Everything but one file.
        let rules =
            "file, capability, network, signal, ptrace, mount, umount, pivot_root, deny /etc/group r,";
        let text = format!("profile {name} flags=(attach_disconnected,mediate_deleted) {{ {rules} }}\n");
        fs::write(&file, text).expect("write");
        succeeds("apparmor_parser", &["--replace", "--skip-cache", file.to_str().expect("UTF-8")])
            .expect("load a profile");
    }
    Ok(())
}

fn checkpoint(bundle: &Bundle) {
    let images = bundle.file("images");
    let args = ["checkpoint", "--image-path", images.to_str().expect("UTF-8"), bundle.id()];
    bundle.invocation(&args).limit(60).wait().success();
}

/// What this file of /proc/PID says of the restored process, which is deleted then.
fn of_restored(bundle: &Bundle, options: &[&str], file: &str) -> String {
    let images = bundle.file("images");
    let options = [&["--detach", "--image-path", images.to_str().expect("UTF-8")], options].concat();
    bundle.invocation(&bundle.bundle_command("restore", &options)).limit(60).wait().success();
    let text = fs::read_to_string(format!("/proc/{}/{file}", bundle.pid())).expect("a file of /proc");
    bundle.delete_forced().success();
    text
}

const SHOW: &str = "cat /proc/self/attr/apparmor/current; cat /etc/group 2>&1; cat /etc/passwd | head -n 1";

#[test]
fn apparmor_confines_the_process_and_further_ones() {
    let bundle = bundle!();
    require!(profiles(&bundle, ["rcrun-one", "rcrun-two"]));
    let bundle = bundle.set("/process/apparmorProfile", json!("rcrun-one"));
    let confined = |name: &str| {
        format!(
            "{name} (enforce)\ncat: can't open '/etc/group': Permission denied\nroot:x:0:0:root:/root:/bin/sh"
        )
    };
    let bundle = bundle.script(&format!("{SHOW}; echo ready; sleep 1000"));
    let mut running = bundle.run_invocation(&[]).spawn();
    running.wait_for_output("ready\n");
    assert_eq!(running.stdout(), format!("{}\nready\n", confined("rcrun-one")));
    bundle.exec(&["sh", "-c", SHOW]).prints(&confined("rcrun-one"));
    bundle.exec_with(&["--apparmor", "rcrun-two"], &["sh", "-c", SHOW]).prints(&confined("rcrun-two"));
    bundle
        .exec_with(&["--apparmor", "rcrun-none"], &["true"])
        .exits_with(255)
        .explains(&["rcrun-none", "loaded"]);
    bundle.kill("KILL").success();
    running.wait().exits_with(137);
}

#[test]
fn apparmor_confines_a_process_of_a_user_namespace() {
    let bundle = bundle!().user_namespace();
    require!(profiles(&bundle, ["rcrun-one", "rcrun-two"]));
    let bundle = bundle.set("/process/apparmorProfile", json!("rcrun-two"));
    bundle.args(["cat", "/proc/self/attr/apparmor/current"]).run().prints("rcrun-two (enforce)");
}

#[test]
fn apparmors_profile_is_set_where_the_container_covers_its_proc() {
    let bundle = bundle!();
    require!(profiles(&bundle, ["rcrun-one", "rcrun-two"]));
    // A tmpfs with files of those names: what a write through the container's /proc would reach.
    let fake = bundle.data();
    fs::create_dir_all(fake.join("self/attr/apparmor")).expect("mkdir");
    for file in ["self/attr/exec", "self/attr/apparmor/exec"] {
        fs::write(fake.join(file), "untouched").expect("write");
    }
    let bundle = bundle.set("/process/apparmorProfile", json!("rcrun-one")).bind(&fake, "/proc", &["rbind"]);
    let bundle = bundle.set("/linux/maskedPaths", json!([])).set("/linux/readonlyPaths", json!([]));
    let bundle = bundle.script("cat /proc/self/attr/apparmor/exec; echo; cat /etc/group 2>&1; :");
    bundle.run().prints("untouched\ncat: can't open '/etc/group': Permission denied");
}

/// A container covers its /proc with a volume and lays it open again, all the time: an exec into it, and a
/// container that starts in its mount namespace, are confined all the same (CVE-2019-16884, CVE-2025-52881).
#[test]
fn apparmors_profile_is_set_while_the_containers_proc_changes() {
    let bundle = bundle!();
    require!(profiles(&bundle, ["rcrun-one", "rcrun-two"]));
    let fake = bundle.data();
    let files = ["self/attr/exec", "self/attr/apparmor/exec"].map(|name| fake.join(name));
    fs::create_dir_all(fake.join("self/attr/apparmor")).expect("mkdir");
    for file in &files {
        fs::write(file, "untouched").expect("write");
    }
    let untouched = |outcome: &crate::support::Outcome| {
        for file in &files {
            assert_eq!(fs::read_to_string(file).expect("read"), "untouched", "{outcome}");
        }
    };
    let sets = json!(["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_DAC_OVERRIDE"]);
    let sets = json!({"bounding": sets, "permitted": sets, "effective": sets});
    let attacker = bundle
        .set("/process/capabilities", sets)
        .set("/root/readonly", json!(false))
        .bind(&fake, "/fake", &["bind"])
        .mount("/real", "proc", "proc", &[])
        .script("echo ready; while :; do mount --bind /fake /proc && echo covered && umount /proc; done");
    let mut running = attacker.run_invocation(&[]).spawn();
    running.wait_for_output("covered\n");
    let pid = attacker.state()["pid"].clone();
    let current = ["cat", "/real/self/attr/apparmor/current"];
    let victim = bundle!()
        .without_namespace("mount")
        .without_namespace("pid")
        .namespace("mount", Some(&format!("/proc/{pid}/ns/mnt")))
        .namespace("pid", Some(&format!("/proc/{pid}/ns/pid")))
        .set("/root/path", json!("/"))
        .set("/root/readonly", json!(false))
        .set("/mounts", json!([]))
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]))
        .set("/process/apparmorProfile", json!("rcrun-one"))
        .args(current);
    for _ in 0..20 {
        let outcome = attacker.exec_with(&["--apparmor", "rcrun-two"], &current);
        untouched(&outcome);
        outcome.prints("rcrun-two (enforce)");
        let outcome = victim.run();
        untouched(&outcome);
        outcome.prints("rcrun-one (enforce)");
    }
    attacker.kill("KILL").success();
    running.wait().exits_with(137);
}

#[test]
fn a_restored_process_has_its_profile_or_another_that_is_asked_for() {
    let bundle = bundle!();
    require!(program("criu"));
    require!(profiles(&bundle, ["rcrun-one", "rcrun-two"]));
    let bundle = bundle.set("/process/apparmorProfile", json!("rcrun-one")).args(["sleep", "1000"]);
    bundle.run_detached();
    checkpoint(&bundle);
    let restored = |options: &[&str]| of_restored(&bundle, options, "attr/apparmor/current");
    assert_eq!(restored(&[]), "rcrun-one (enforce)\n");
    assert_eq!(restored(&["--lsm-profile", "apparmor:rcrun-two"]), "rcrun-two (enforce)\n");
}

#[test]
fn an_apparmor_profile_that_is_not_loaded_is_named() {
    let bundle = bundle!().set("/process/apparmorProfile", json!("rcrun-none"));
    bundle.run().refused(&["AppArmor profile rcrun-none", "no such profile is loaded"]);
    bundle.leaves_nothing();
}

/// Loads a policy that labels and forbids nothing. Err is a reason to skip.
fn selinux(bundle: &Bundle) -> Result<(), String> {
    let known = fs::read_to_string("/proc/filesystems").expect("file systems");
    if !known.contains("\tselinuxfs") {
        return Err("SELinux is not on: boot with security=selinux".into());
    }
    program("checkpolicy")?;
    if fs::exists("/sys/fs/selinux/load").expect("sysfs") {
        return Ok(());
    }
    succeeds("mount", &["-t", "selinuxfs", "none", "/sys/fs/selinux"])?;
    let compiled = bundle.file("policy");
    let compiled = compiled.to_str().expect("UTF-8");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vm/selinux.policy");
    succeeds("checkpolicy", &["-U", "allow", "-o", compiled, source]).expect("compile the policy");
    let policy = fs::read(compiled).expect("the policy");
    fs::write("/sys/fs/selinux/load", policy).expect("load the policy");
    Ok(())
}

const CONTEXT: &str = "test_u:test_r:container_t";
const OTHER: &str = "test_u:test_r:other_t";

#[test]
fn selinux_labels_the_process_its_mounts_and_further_processes() {
    let bundle = bundle!();
    require!(selinux(&bundle));
    // A policy allows it with no_new_privs by the class process2, which this one does not have.
    let bundle = bundle.set("/process/noNewPrivileges", json!(false));
    let bundle = bundle.set("/process/selinuxLabel", json!(CONTEXT)).set("/linux/mountLabel", json!(OTHER));
    let bundle = bundle
        .script("tr -d '\\0' </proc/self/attr/current; echo; grep ' /dev ' /proc/self/mountinfo; sleep 1000");
    let mut running = bundle.run_invocation(&[]).spawn();
    running.wait_for_output(" /dev ");
    let (context, mount) = running
        .stdout()
        .trim_end()
        .split_once('\n')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .expect("lines");
    assert_eq!(context, CONTEXT);
    assert!(mount.contains(&format!("context={OTHER}")), "{mount}");
    let current = ["sh", "-c", "tr -d '\\0' </proc/self/attr/current"];
    bundle.exec(&current).prints(CONTEXT);
    bundle.exec_with(&["--process-label", OTHER], &current).prints(OTHER);
    bundle
        .exec_with(&["--process-label", "no:such:context"], &["true"])
        .exits_with(255)
        .explains(&["no:such:context"]);
    bundle.kill("KILL").success();
    running.wait().exits_with(137);
}

/// Debian's criu is built without SELinux, and says nothing of the contexts that it leaves out.
#[test]
fn no_selinux_context_is_lost_with_a_criu_that_cannot_keep_it() {
    let bundle = bundle!().set("/process/noNewPrivileges", json!(false)).args(["sleep", "1000"]);
    require!(program("criu"));
    require!(selinux(&bundle));
    let (images, id) = (bundle.file("images"), bundle.id().to_owned());
    let dump = ["checkpoint", "--image-path", images.to_str().expect("UTF-8"), &id];
    let bundle = bundle.set("/process/selinuxLabel", json!(CONTEXT));
    bundle.run_detached();
    bundle.invocation(&dump).limit(60).wait().refused(&["process.selinuxLabel", "libselinux"]);
    assert_eq!(bundle.state()["status"], "running");
    bundle.delete_forced().success();
    // One that was made without it is not brought back as one that has it.
    let bundle = bundle.set("/process/selinuxLabel", json!(""));
    bundle.run_detached();
    checkpoint(&bundle);
    let bundle = bundle.set("/process/selinuxLabel", json!(CONTEXT));
    bundle.write_config();
    let options = ["--detach", "--image-path", images.to_str().expect("UTF-8")];
    let restored = bundle.invocation(&bundle.bundle_command("restore", &options)).limit(60).wait();
    restored.refused(&["SELinux context", CONTEXT]);
    bundle.leaves_nothing();
}

/// The context of a file as a process sees it, with its masks and mounts.
fn context_of(bundle: &Bundle, path: &str) -> String {
    let path = format!("/proc/{}/root{path}", bundle.pid());
    let mut value = [0; 256];
    let length = rustix::fs::getxattr(&path, "security.selinux", &mut value)
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    String::from_utf8_lossy(&value[..length]).trim_end_matches('\0').to_owned()
}

#[test]
fn selinux_labels_new_file_systems_masks_and_the_terminal() {
    for user_namespace in [false, true] {
        let mut bundle = bundle!();
        require!(selinux(&bundle));
        if user_namespace {
            bundle = bundle.user_namespace();
        }
        let masked = bundle.rootfs().join("masked");
        fs::create_dir(&masked).expect("mkdir");
        let bundle = bundle
            .set("/linux/mountLabel", json!(OTHER))
            .set("/linux/maskedPaths", json!(["/masked", "/proc/fs"]))
            .set("/process/terminal", json!(true))
            .script("echo ready; sleep 1000");
        let path = bundle.file("console");
        let socket = ConsoleSocket::bind(&path);
        bundle.run_with(&["--detach", "--console-socket", path.to_str().expect("UTF-8")]).success();
        let (mut pty, _) = socket.receive();
        pty.wait_for("ready");
        for path in ["/dev", "/dev/shm", "/dev/pts/ptmx", "/dev/pts/0", "/dev/console", "/masked", "/proc/fs"]
        {
            assert_eq!(context_of(&bundle, path), OTHER, "{path}, user namespace: {user_namespace}");
        }
        // Its root is no user's of the namespace.
        assert_eq!(context_of(&bundle, "/dev/mqueue") == OTHER, !user_namespace);
        for path in ["/", "/proc/1", "/bin"] {
            assert_ne!(context_of(&bundle, path), OTHER, "{path}");
        }
        let mount = json!([{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}]);
        let file = bundle.file("mounts.json");
        fs::write(&file, mount.to_string()).expect("write");
        bundle.rcrun(&["mounts", "add", bundle.id(), file.to_str().expect("UTF-8")]).success();
        assert_eq!(context_of(&bundle, "/tmp"), OTHER);
        bundle.delete_forced().success();
    }
}

#[test]
fn selinux_refuses_an_apparmor_profile() {
    let bundle = bundle!();
    require!(selinux(&bundle));
    bundle
        .set("/process/apparmorProfile", json!("p"))
        .run()
        .refused(&["process.apparmorProfile", "AppArmor"]);
}
