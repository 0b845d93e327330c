//! G: users, homes and the files that name them.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use rustix::fs::inotify;
use serde_json::{Value, json};

use super::process_file;
use crate::support::{Bundle, busybox};

/// Runs the container with this text as `field` of process.user, and shows who it is.
fn with_user(field: &str, value: &str) -> (Bundle, String) {
    let bundle = Bundle::busybox().expect("a bundle");
    let mut config = bundle.config.clone();
    config["process"]["args"] = json!(["sh", "-c", "echo ids $(id -u) $(id -g)"]);
    config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    config["process"]["user"][field] = json!("@");
    let bundle = bundle.with_raw_config(&config.to_string().replace("\"@\"", value));
    let stdout = bundle.run_or_refused().stdout;
    (bundle, stdout)
}

#[test]
fn no_number_that_does_not_fit_becomes_root() {
    drop(busybox!());
    let huge = "9".repeat(4000);
    let numbers = [
        "4294967295",
        "4294967296",
        "4294967297",
        "-1",
        "-4294967296",
        "18446744073709551616",
        "1e400",
        "4294967296.0",
        "0.5",
        "\"0\"",
        "\"root\"",
        "\"4294967296\"",
        "true",
        "[]",
        "00",
        "0x3e8",
        &huge,
    ];
    for number in numbers {
        for field in ["uid", "gid"] {
            let (_bundle, stdout) = with_user(field, number);
            assert_eq!(stdout, "", "process.user.{field}: {number}");
        }
    }
}

#[test]
fn no_additional_group_that_does_not_fit_becomes_another() {
    drop(busybox!());
    for number in ["[4294967295]", "[4294967296]", "[-1]", "[\"root\"]", "4294967296"] {
        let (_bundle, stdout) = with_user("additionalGids", number);
        assert_eq!(stdout, "", "process.user.additionalGids: {number}");
    }
}

#[test]
fn exec_takes_no_user_that_is_not_a_plain_number() {
    let bundle = busybox!().script("sleep 100");
    // Names that look like numbers, in the container's own file.
    let passwd = "0x3e8:x:0:0::/:/bin/sh\n4294967296:x:0:0::/:/bin/sh\n-1:x:0:0::/:/bin/sh\n";
    fs::write(bundle.rootfs().join("etc/passwd"), passwd).expect("write");
    bundle.run_detached();
    let huge = "1".repeat(4000);
    for user in [
        "-1",
        "4294967295",
        "4294967296",
        "1000:4294967296",
        "1000:-1",
        "0x3e8",
        "1000:",
        ":0",
        "+0",
        "18446744073709551616",
        "1000:0:0",
        "1e3",
        "\n0",
        &huge,
    ] {
        let outcome = bundle.exec_with(&["--user", user], &["id", "-u"]);
        assert!(!outcome.status.success(), "--user {user:?}: {outcome}");
    }
    let file = process_file(&bundle, "process.json", |process| {
        process["user"] = json!({"uid": u32::MAX, "gid": 0});
        process["args"] = json!(["id", "-u"]);
    });
    let outcome = bundle.rcrun(&["exec", "--process", &file, bundle.id()]);
    assert!(!outcome.status.success(), "{outcome}");
    bundle.delete_forced().success();
}

fn printing_home(bundle: Bundle) -> Bundle {
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000})).script("echo \"HOME=$HOME\"; env | wc -l")
}

/// HOME is `expected`, and as many variables are there as without the attack.
#[track_caller]
fn assert_home(bundle: &Bundle, expected: &[&str]) {
    let outcome = bundle.run_or_refused().success();
    let (home, count) = outcome.stdout.split_once('\n').expect("two lines");
    assert!(expected.iter().any(|path| home == format!("HOME={path}")), "{outcome}");
    let set = bundle.config["process"]["env"].as_array().map_or(0, Vec::len) + 1;
    // The shell adds PWD and SHLVL.
    assert!(count.trim().parse::<usize>().is_ok_and(|n| n <= set + 2), "{outcome}");
}

#[test]
fn a_passwd_without_an_end_does_not_hold_the_runtime_up() {
    let bundle = printing_home(busybox!());
    let passwd = bundle.rootfs().join("etc/passwd");
    // 1 GiB without a newline, and the entry behind it.
    let file = File::create(&passwd).expect("create");
    file.set_len(1 << 30).expect("a sparse file");
    assert_home(&bundle, &["/"]);
    // The same under a limit that reading all of it would break.
    bundle.write_config();
    let script = "ulimit -v 500000; exec \"$@\"";
    let command = bundle.bundle_command("run", &[]);
    let outcome = bundle.invocation_in_shell(script, &command).wait();
    assert!(outcome.stdout.starts_with("HOME=/\n"), "{outcome}");
}

#[test]
fn a_passwd_of_endless_lines_does_not_hold_the_runtime_up() {
    let bundle = printing_home(busybox!());
    let line = "x:x:7:7::/x:/bin/sh\n";
    let entry = "user:x:1000:1000::/late:/bin/sh\n";
    fs::write(bundle.rootfs().join("etc/passwd"), line.repeat(400_000) + entry).expect("write");
    // A runtime may read it all or stop somewhere; only in time.
    assert_home(&bundle, &["/", "/late"]);
}

#[test]
fn a_passwd_that_is_no_file_of_the_image_is_not_waited_for() {
    for kind in ["fifo", "zero", "loop", "directory", "outside"] {
        let bundle = printing_home(busybox!());
        let passwd = bundle.rootfs().join("etc/passwd");
        fs::remove_file(&passwd).expect("rm");
        match kind {
            "fifo" => {
                let status = std::process::Command::new("mkfifo").arg(&passwd).status();
                assert!(status.expect("mkfifo").success());
            }
            "zero" => symlink("/dev/zero", &passwd).expect("symlink"),
            "loop" => symlink("passwd", &passwd).expect("symlink"),
            "directory" => fs::create_dir(&passwd).expect("mkdir"),
            _ => {
                let file = bundle.file("passwd");
                fs::write(&file, "user:x:1000:1000::/outside:/bin/sh\n").expect("write");
                symlink(format!("../../../../../../../..{}", file.display()), &passwd).expect("symlink");
            }
        }
        let outcome = bundle.run_or_refused();
        assert!(!outcome.stdout.contains("outside"), "{kind}: {outcome}");
        assert!(outcome.status.success() || !outcome.stderr.is_empty(), "{kind}: {outcome}");
    }
}

/// Whether a runtime looks for groups there or not.
#[test]
fn a_group_file_that_is_no_file_or_has_no_end_is_not_waited_for() {
    for kind in ["fifo", "zero", "sparse", "lines"] {
        let bundle = busybox!().script("id -g; sleep 100");
        let bundle = bundle.set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [7]}));
        let group = bundle.rootfs().join("etc/group");
        fs::remove_file(&group).expect("rm");
        match kind {
            "fifo" => {
                let status = std::process::Command::new("mkfifo").arg(&group).status();
                assert!(status.expect("mkfifo").success());
            }
            "zero" => symlink("/dev/zero", &group).expect("symlink"),
            "sparse" => File::create(&group).expect("create").set_len(1 << 30).expect("a sparse file"),
            _ => fs::write(&group, "x:x:7:root\n".repeat(400_000)).expect("write"),
        }
        bundle.run_detached();
        for user in ["1000", "1000:1000"] {
            let outcome = bundle.exec_with(&["--user", user], &["id", "-u"]);
            assert!(!outcome.status.success() || outcome.stdout == "1000\n", "{kind}: {outcome}");
        }
        bundle.delete_forced().success();
    }
}

#[test]
fn a_device_in_the_place_of_passwd_is_not_opened() {
    // To open a device is to use it: a watchdog would be started and reset the machine.
    let bundle = printing_home(busybox!());
    let passwd = bundle.rootfs().join("etc/passwd");
    fs::remove_file(&passwd).expect("rm");
    let device = rustix::fs::makedev(1, 5);
    let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::from_raw_mode(0o666));
    rustix::fs::mknodat(rustix::fs::CWD, &passwd, kind, mode, device).expect("mknod");
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).expect("inotify");
    inotify::add_watch(&watch, &passwd, inotify::WatchFlags::OPEN).expect("watch");
    bundle.run_or_refused();
    let mut events = [0; 512];
    let read = rustix::io::read(&watch, &mut events);
    assert_eq!(read, Err(rustix::io::Errno::AGAIN), "the device was opened");
}

#[test]
fn a_home_of_more_than_a_path_adds_nothing_to_the_environment() {
    let homes = ["/root\nLD_PRELOAD=/evil.so", "/a\0LD_PRELOAD=/evil.so", "relative", "\t/x", "/a\r\nB=1"];
    for home in homes {
        let bundle = printing_home(busybox!());
        let text = format!("user:x:1000:1000::{home}:/bin/sh\n");
        fs::write(bundle.rootfs().join("etc/passwd"), text).expect("write");
        let outcome = bundle.script("env").run_or_refused();
        assert!(!outcome.stdout.contains("evil"), "{home:?}: {outcome}");
        assert!(!outcome.stdout.contains("HOME=relative"), "{home:?}: {outcome}");
    }
}

#[test]
fn a_home_of_the_configuration_is_one_variable_whatever_is_in_it() {
    let bundle = busybox!().edit(|config| {
        let env = config["process"]["env"].as_array_mut().expect("env");
        env.push(Value::from("HOME=/a\nLD_PRELOAD=/evil.so"));
    });
    let bundle = bundle.script("echo \"preload=$LD_PRELOAD\"");
    assert!(bundle.run_or_refused().success().stdout.contains("preload=\n"));
}
