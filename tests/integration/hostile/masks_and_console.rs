//! D: masked and read-only paths, and the console, through a /dev that the attacker has prepared
//! (CVE-2025-31133, CVE-2025-52565).

use std::fs;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::json;

use super::Tries;
use crate::support::{Bundle, ConsoleSocket, Pty, busybox};

fn without_dev_mounts(bundle: Bundle) -> Bundle {
    bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| !mount["destination"].as_str().is_some_and(|d| d.starts_with("/dev")));
    })
}

fn node(path: &std::path::Path, minor: u32) {
    mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, minor))
        .expect("mknod");
}

/// A file of which the mask is what /dev/null of the image is.
#[test]
fn a_mask_is_never_what_the_image_calls_dev_null() {
    for kind in ["link", "file", "zero", "directory", "loop"] {
        for bound in [false, true] {
            let bundle = without_dev_mounts(busybox!().writable());
            fs::write(bundle.rootfs().join("etc/shadow"), "to be hidden\n").expect("write");
            fs::write(bundle.rootfs().join("etc/prey"), "uncovered\n").expect("write");
            let dev = if bound { bundle.file("dev") } else { bundle.rootfs().join("dev") };
            fs::create_dir_all(&dev).expect("mkdir");
            let null = dev.join("null");
            match kind {
                "link" => symlink("/etc/prey", &null).expect("symlink"),
                "file" => fs::write(&null, "uncovered\n").expect("write"),
                "zero" => node(&null, 5),
                "directory" => fs::create_dir(&null).expect("mkdir"),
                _ => symlink("null", &null).expect("symlink"),
            }
            let script =
                "head -c 20 /etc/shadow | tr '\\0' z; echo x 2>/dev/null >/etc/shadow; cat /etc/prey";
            let bundle = bundle.script(script).set("/linux/maskedPaths", json!(["/etc/shadow"]));
            let bundle = if bound { bundle.bind(&dev, "/dev", &["bind"]) } else { bundle };
            let outcome = bundle.run_or_refused();
            assert!(matches!(outcome.stdout.as_str(), "" | "uncovered\n"), "{kind}: {outcome}");
            let prey = fs::read_to_string(bundle.rootfs().join("etc/prey")).expect("the prey");
            assert_eq!(prey, "uncovered\n", "{kind}: {outcome}");
        }
    }
}

#[test]
fn a_mask_is_never_what_dev_null_becomes_meanwhile() {
    let bundle = without_dev_mounts(busybox!());
    let dev = bundle.file("dev");
    fs::create_dir(&dev).expect("mkdir");
    node(&dev.join("null"), 3);
    symlink("/etc/prey", dev.join("other")).expect("symlink");
    for (name, text) in [("shadow", "to be hidden\n"), ("prey", "uncovered\n")] {
        fs::write(bundle.rootfs().join("etc").join(name), text).expect("write");
    }
    let attacker = busybox!().almighty().bind(&dev, "/prey", &["bind"]);
    let attacker = attacker.attacker("swap=/prey/null,/prey/other");
    attacker.run_detached();
    let masked = json!(["/etc/shadow", "/proc/timer_list", "/proc/keys"]);
    let bundle = bundle.bind(&dev, "/dev", &["bind"]).args(["cat", "/etc/shadow"]);
    let bundle = bundle.set("/linux/maskedPaths", masked);
    let mut tries = Tries::of(&attacker);
    while tries.go_on(&attacker, 10_000, 25, None) {
        let outcome = bundle.run_or_refused();
        assert_eq!(outcome.stdout, "", "{outcome}");
    }
    assert!(attacker.reported("swaps") >= 10_000, "only {} swaps", attacker.reported("swaps"));
    attacker.delete_forced().success();
}

/// Runs on a terminal; the container's program says whether its file is still a file.
#[track_caller]
fn assert_console_elsewhere(bundle: &Bundle) {
    let path = bundle.file("console");
    let _ = fs::remove_file(&path);
    let socket = ConsoleSocket::bind(&path);
    let options = ["--console-socket", path.to_str().expect("UTF-8"), "--detach"];
    let outcome = bundle.run_with(&options);
    if outcome.status.success() {
        let (mut pty, _): (Pty, String) = socket.receive();
        let text = pty.wait_for("end");
        assert!(!text.contains("covered"), "{text}");
        bundle.delete_forced().success();
    }
    let prey = fs::read_to_string(bundle.rootfs().join("etc/prey")).expect("the prey");
    assert_eq!(prey, "prey\n", "{outcome}");
}

fn on_console(bundle: Bundle) -> Bundle {
    fs::write(bundle.rootfs().join("etc/prey"), "prey\n").expect("write");
    bundle
        .script("test -f /etc/prey || echo covered; test -f /proc/sys/kernel/panic || echo covered; echo end; sleep 100")
        .set("/process/terminal", json!(true))
}

#[test]
fn the_console_covers_nothing_but_the_console() {
    for target in ["/etc/prey", "/proc/sys/kernel/panic", "../etc/prey", "../../../../../../etc/hostname"] {
        let bundle = on_console(without_dev_mounts(busybox!().writable()));
        let bundle = bundle.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"]);
        symlink(target, bundle.rootfs().join("dev/console")).expect("symlink");
        assert_console_elsewhere(&bundle);
    }
}

#[test]
fn a_terminal_is_of_the_devpts_and_not_of_an_image() {
    let bundle = on_console(without_dev_mounts(busybox!().writable()));
    let pts = bundle.rootfs().join("dev/pts");
    fs::create_dir_all(&pts).expect("mkdir");
    for name in ["ptmx", "0"] {
        symlink("/etc/prey", pts.join(name)).expect("symlink");
    }
    symlink("pts/ptmx", bundle.rootfs().join("dev/ptmx")).expect("symlink");
    assert_console_elsewhere(&bundle);
}

#[test]
fn a_pts_that_changes_meanwhile_gives_no_other_terminal() {
    let bundle = on_console(without_dev_mounts(busybox!().writable()));
    let dev = bundle.file("dev");
    for name in ["pts", "other"] {
        fs::create_dir_all(dev.join(name)).expect("mkdir");
    }
    for name in ["ptmx", "0"] {
        symlink("/etc/prey", dev.join("other").join(name)).expect("symlink");
    }
    fs::write(dev.join("console"), "").expect("write");
    let attacker = busybox!().almighty().bind(&dev, "/prey", &["bind"]);
    let attacker = attacker.attacker("swap=/prey/pts,/prey/other");
    attacker.run_detached();
    let bundle = bundle.bind(&dev, "/dev", &["bind"]).mount(
        "/dev/pts",
        "devpts",
        "devpts",
        &["newinstance", "ptmxmode=0666"],
    );
    let mut tries = Tries::of(&attacker);
    while tries.go_on(&attacker, 10_000, 20, None) {
        assert_console_elsewhere(&bundle);
    }
    assert!(attacker.reported("swaps") >= 10_000, "only {} swaps", attacker.reported("swaps"));
    attacker.delete_forced().success();
}
