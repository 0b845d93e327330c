//! Mount targets in a root file system that means harm: symbolic links never lead out of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::support::{Bundle, busybox};

#[test]
fn a_link_inside_the_root_is_followed() {
    let bundle = busybox!().script("cat /link/word; cat /real/word");
    fs::create_dir(bundle.rootfs().join("real")).expect("mkdir");
    symlink("real", bundle.rootfs().join("link")).expect("symlink");
    let source = bundle.data();
    bundle.bind(source, "/link", &["bind"]).run().prints("hello\nhello");
}

#[test]
fn an_absolute_link_is_meant_inside_the_root() {
    // As in every Debian: /var/run is a link to /run.
    let bundle = busybox!().script("cat /var/run/data/word; cat /run/data/word");
    symlink("/run", bundle.rootfs().join("var/run")).expect("symlink");
    let source = bundle.data();
    bundle.bind(source, "/var/run/data", &["bind"]).run().prints("hello\nhello");
}

/// Links that lead to `outside`, or would if the host resolved them.
fn escapes(bundle: &Bundle) -> [(String, PathBuf); 2] {
    let outside = bundle.file("outside");
    fs::create_dir(&outside).expect("mkdir");
    let up = "../".repeat(40);
    let from_root = format!("{up}{}", outside.strip_prefix("/").expect("absolute").display());
    [(from_root, outside.clone()), ("../../files/outside".into(), outside)]
}

#[test]
fn a_target_escaping_through_a_link_is_refused_and_nothing_is_made_outside() {
    for n in 0..2 {
        let bundle = busybox!();
        let (link, outside) = escapes(&bundle)[n].clone();
        symlink(&link, bundle.rootfs().join("escape")).expect("symlink");
        let source = bundle.data();
        let bundle = bundle.bind(source, "/escape/made", &["bind"]);
        bundle.run().refused(&["/escape/made", "leaves the root file system"]);
        assert_eq!(fs::read_dir(&outside).expect("outside").count(), 0, "{link}");
        bundle.leaves_nothing();
    }
}

#[test]
fn a_target_with_parent_steps_stays_inside_or_is_refused() {
    let bundle = busybox!().script("cat /escaped/word");
    let source = bundle.data();
    let bundle = bundle.bind(source, "/../../../escaped", &["bind"]);
    let outcome = bundle.run();
    if !outcome.status.success() {
        outcome.refused(&["/../../../escaped"]);
    }
    assert!(!bundle.path().join("escaped").exists() && !PathBuf::from("/escaped").exists());
}

#[test]
fn a_loop_of_links_is_refused() {
    let bundle = busybox!();
    symlink("two", bundle.rootfs().join("one")).expect("symlink");
    symlink("one", bundle.rootfs().join("two")).expect("symlink");
    let source = bundle.data();
    bundle.bind(source, "/one/file", &["bind"]).run().refused(&["/one", "symbolic link"]);
}

#[test]
fn a_file_where_a_directory_must_be_is_named() {
    let bundle = busybox!();
    let source = bundle.data();
    bundle.bind(source, "/etc/passwd", &["bind"]).run().refused(&["/etc/passwd", "not a directory"]);
}

#[test]
fn masked_and_readonly_paths_follow_no_link_out() {
    let bundle = busybox!().args(["echo", "hello"]);
    let outside = bundle.file("outside");
    fs::write(&outside, "text").expect("write");
    symlink(&outside, bundle.rootfs().join("mask")).expect("symlink");
    let paths = serde_json::json!(["/mask"]);
    let bundle = bundle.set("/linux/maskedPaths", paths.clone()).set("/linux/readonlyPaths", paths);
    let outcome = bundle.run();
    assert!(outcome.stdout == "hello\n" || outcome.stderr.contains("/mask"), "{outcome}");
    fs::write(&outside, "more").expect("still writable");
}

#[test]
fn a_working_directory_that_is_a_link_stays_inside() {
    let bundle = busybox!().args(["pwd"]).set("/process/cwd", serde_json::json!("/way"));
    symlink("/tmp", bundle.rootfs().join("way")).expect("symlink");
    bundle.run().prints("/tmp");
}
