//! Bind mounts: of files and directories, alone and with what is mounted below.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::support::busybox;

#[test]
fn a_directory_appears_in_the_container_and_is_writable() {
    let bundle = busybox!().script("cat /mnt/word; echo back >/mnt/answer");
    let source = bundle.data();
    let bundle = bundle.bind(&source, "/mnt", &["bind"]);
    bundle.run().prints("hello");
    assert_eq!(fs::read_to_string(source.join("answer")).expect("the answer"), "back\n");
}

#[test]
fn a_file_systems_settings_say_nothing_to_a_bind_mount() {
    let bundle = busybox!().args(["cat", "/mnt/word"]);
    let source = bundle.data();
    bundle.bind(&source, "/mnt", &["bind", "mode=755", "size=1k"]).run().prints("hello");
}

#[test]
fn a_mistyped_flag_of_a_bind_mount_is_refused() {
    let bundle = busybox!().args(["cat", "/mnt/word"]);
    let source = bundle.data();
    let outcome = bundle.bind(&source, "/mnt", &["bind", "roo"]).run();
    assert!(outcome.exits_with(1).stderr.contains("\"roo\" is no option of a bind mount"));
}

#[test]
fn a_file_appears_in_the_container() {
    let bundle = busybox!().args(["cat", "/etc/word"]);
    let source = bundle.data().join("word");
    bundle.bind(source, "/etc/word", &["bind", "ro"]).run().prints("hello");
}

#[test]
fn missing_targets_are_made_of_the_sources_kind() {
    let bundle = busybox!().script("cat /a/b/c/word; cat /d/e/file");
    let source = bundle.data();
    let bundle = bundle.bind(&source, "/a/b/c", &["bind"]).bind(source.join("word"), "/d/e/file", &["bind"]);
    bundle.run().prints("hello\nhello");
    assert!(bundle.rootfs().join("a/b/c").is_dir() && bundle.rootfs().join("d/e/file").is_file());
}

#[test]
fn a_readonly_bind_cannot_be_written_and_its_source_can() {
    let bundle = busybox!().script("cat /mnt/word; touch /mnt/file");
    let source = bundle.data();
    let bundle = bundle.bind(&source, "/mnt", &["bind", "ro"]);
    let outcome = bundle.run().exits_with(1);
    assert!(outcome.stdout == "hello\n" && outcome.stderr.contains("Read-only file system"), "{outcome}");
    fs::write(source.join("file"), "").expect("still writable on the host");
}

#[test]
fn a_binds_options_are_attributes_of_the_mount() {
    let bundle = busybox!().script("grep ' /mnt ' /proc/mounts");
    let source = bundle.data();
    let outcome =
        bundle.bind(source, "/mnt", &["rbind", "nosuid", "nodev", "noexec", "noatime"]).run().success();
    for option in ["rw", "nosuid", "nodev", "noexec", "noatime"] {
        assert!(outcome.stdout.split([' ', ',']).any(|word| word == option), "{option}: {outcome}");
    }
}

#[test]
fn the_bind_option_alone_makes_a_bind_mount_whatever_the_type() {
    for typ in ["none", "bind", ""] {
        let bundle = busybox!().args(["cat", "/mnt/word"]);
        let source = bundle.data();
        bundle.mount("/mnt", typ, source, &["bind"]).run().prints("hello");
    }
}

#[test]
fn a_bind_without_a_type_in_the_configuration_works() {
    let bundle = busybox!().args(["cat", "/mnt/word"]);
    let source = bundle.data();
    let mount = json!({"destination": "/mnt", "source": source, "options": ["rbind"]});
    bundle.edit(|config| config["mounts"].as_array_mut().expect("mounts").push(mount)).run().prints("hello");
}

#[test]
fn a_relative_source_is_relative_to_the_bundle() {
    let bundle = busybox!().args(["cat", "/mnt/etc/passwd"]);
    let outcome = bundle.bind("rootfs", "/mnt", &["bind", "ro"]).run().success();
    assert!(outcome.stdout.starts_with("root:x:0:0:"), "{outcome}");
}

#[test]
fn a_source_may_be_a_symbolic_link() {
    let bundle = busybox!().args(["cat", "/mnt/word"]);
    let link = bundle.file("link");
    std::os::unix::fs::symlink(bundle.data(), &link).expect("symlink");
    bundle.bind(link, "/mnt", &["bind"]).run().prints("hello");
}

#[test]
fn a_source_may_have_spaces_in_its_path() {
    let bundle = busybox!().args(["cat", "/a target with spaces/word"]);
    let source = bundle.file("a source with spaces");
    fs::rename(bundle.data(), &source).expect("rename");
    bundle.bind(source, "/a target with spaces", &["bind"]).run().prints("hello");
}

#[test]
fn rbind_brings_what_is_mounted_below_and_bind_does_not() {
    for (option, expected) in [("rbind", "inner"), ("bind", "")] {
        let bundle = busybox!().script("ls /mnt/below");
        let source = bundle.data();
        fs::create_dir(source.join("below")).expect("mkdir");
        let bundle = bundle.bind(&source, "/mnt", &[option]);
        bundle.write_config();
        let below = source.join("below");
        let inside = "mount -t tmpfs tmpfs \"$0\" && touch \"$0/inner\" && exec \"$@\"";
        let script = format!("exec unshare -m sh -c '{inside}' '{}' \"$@\"", below.display());
        bundle.invocation_in_shell(&script, &bundle.bundle_command("run", &[])).wait().prints(expected);
    }
}

#[test]
fn recursive_readonly_covers_what_is_mounted_below() {
    let bundle = busybox!().script("touch /mnt/below/file");
    let source = bundle.data();
    fs::create_dir(source.join("below")).expect("mkdir");
    let bundle = bundle.bind(&source, "/mnt", &["rbind", "rro"]);
    bundle.write_config();
    let inside = "mount -t tmpfs tmpfs \"$0\" && exec \"$@\"";
    let script = format!("exec unshare -m sh -c '{inside}' '{}' \"$@\"", source.join("below").display());
    let outcome =
        bundle.invocation_in_shell(&script, &bundle.bundle_command("run", &[])).wait().exits_with(1);
    assert!(outcome.stderr.contains("Read-only file system"), "{outcome}");
}

#[test]
fn a_device_and_a_socket_can_be_bound() {
    let bundle = busybox!().script("ls -l /dev/mine | cut -c 1; ls -l /run/sock | cut -c 1");
    let socket = bundle.file("sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("bind");
    let bundle = bundle.bind("/dev/zero", "/dev/mine", &["bind"]).bind(socket, "/run/sock", &["bind"]);
    bundle.run().prints("c\ns");
}

#[test]
fn a_bind_over_a_file_of_the_root_covers_it() {
    let bundle = busybox!().args(["cat", "/etc/passwd"]);
    let source = bundle.data().join("word");
    bundle.bind(source, "/etc/passwd", &["bind"]).run().prints("hello");
}

#[test]
fn mounts_made_in_the_container_do_not_reach_the_source() {
    let bundle = busybox!()
        .script("mkdir -p /mnt/inner && mount -t tmpfs tmpfs /mnt/inner && touch /mnt/inner/file; sleep 100");
    let source = bundle.data();
    let all = json!(["CAP_SYS_ADMIN", "CAP_KILL"]);
    let bundle = bundle.bind(&source, "/mnt", &["rbind"]).edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = all.clone();
        }
    });
    bundle.run_detached();
    crate::support::wait_for("the inner mount", 5, || {
        bundle.exec(&["ls", "/mnt/inner/file"]).status.success().then_some(())
    });
    assert_eq!(bundle.traces().mounts(), Vec::<PathBuf>::new());
    assert!(!source.join("inner/file").exists());
    bundle.delete_forced().success();
}
