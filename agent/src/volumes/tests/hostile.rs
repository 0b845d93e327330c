//! What a container may have put into its volumes.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::{Machine, mount_table, pod};
use crate::objects::Kind;

#[test]
fn a_part_of_a_volume_is_made_and_stays_what_it_was() {
    let Some(machine) = Machine::new() else { return };
    let pod = pod("u1", &json!({"emptyDir": {}}), &json!({"subPathExpr": "a/$(NAME)"}), &json!({}));
    let place = machine.prepare(&pod).expect("prepared");
    let mount = machine.mounts(&pod).expect("mounts").remove(0);
    assert_eq!(super::mode(&place.join("a/part")), 0o777);
    fs::write(place.join("a/part/file"), "mine").expect("write");
    assert_eq!(fs::read_to_string(mount.host_path.join("file")).expect("read"), "mine");
    // Another one swaps the directory for a link before the runtime has looked.
    fs::rename(place.join("a/part"), place.join("gone")).expect("rename");
    symlink("/etc", place.join("a/part")).expect("link");
    assert_eq!(fs::read_to_string(mount.host_path.join("file")).expect("read"), "mine");
    let error = machine.mounts(&pod).expect_err("out of the volume").to_string();
    assert!(error.contains("leads out of the volume"), "{error}");
    // The next start gets what is there then, at the same place.
    fs::remove_file(place.join("a/part")).expect("remove");
    symlink("../gone", place.join("a/part")).expect("link");
    assert_eq!(machine.mounts(&pod).expect("mounts")[0].host_path, mount.host_path);
    assert_eq!(fs::read_to_string(mount.host_path.join("file")).expect("read"), "mine");
    let path = mount.host_path.to_str().expect("UTF-8").to_owned();
    assert_eq!(mount_table().iter().filter(|at| **at == path).count(), 1);
    machine.tear_down(&pod);
}

#[test]
fn no_part_of_a_volume_is_outside_of_it() {
    let Some(machine) = Machine::new() else { return };
    let cases = [
        ("../x", "without .. is needed"),
        ("a/../../x", "without .. is needed"),
        ("/etc", "without .. is needed"),
        ("absolute", "leads out of the volume"),
        ("absolute/passwd", "leads out of the volume"),
        ("up/x", "leads out of the volume"),
        ("nothing", "leads out of the volume"),
        ("dangling", "symbolic links"),
        ("dangling/x", ""),
        ("file/x", "Not a directory"),
        ("magic/x", "leads out of the volume"),
    ];
    for (path, why) in cases {
        let pod = pod("u1", &json!({"emptyDir": {}}), &json!({"subPath": path}), &json!({}));
        let place = machine.prepare(&pod).expect("prepared");
        let _ = symlink("/etc", place.join("absolute"));
        let _ = symlink("../../..", place.join("up"));
        let _ = symlink("/nothing/at/all", place.join("nothing"));
        let _ = symlink("not-there", place.join("dangling"));
        let _ = symlink("/proc/self/root", place.join("magic"));
        let _ = fs::write(place.join("file"), "");
        let error = machine.mounts(&pod).expect_err(path).to_string();
        assert!(error.contains(why), "{path}: {error}");
        machine.tear_down(&pod);
    }
    assert!(!std::path::Path::new("/nothing").exists());
}

#[test]
fn a_part_may_be_a_file() {
    let Some(mut machine) = Machine::new() else { return };
    let host = machine.path("host");
    fs::create_dir(&host).expect("directory");
    fs::write(host.join("file"), "x").expect("write");
    let mounted = pod("u1", &json!({"hostPath": {"path": host}}), &json!({"subPath": "file"}), &json!({}));
    machine.prepare(&mounted).expect("prepared");
    let at = machine.mounts(&mounted).expect("mounts").remove(0).host_path;
    assert_eq!(fs::read_to_string(&at).expect("read"), "x");
    machine.tear_down(&mounted);
    assert!(host.join("file").exists());

    // Of files of the agent's own, the path says enough; it does not follow updates.
    let map = |value: &str| json!({"metadata": {"name": "m", "namespace": "web", "uid": "m", "resourceVersion": value}, "data": {"k": value}});
    machine.put(Kind::ConfigMap, map("1"));
    let of_map = pod("u2", &json!({"configMap": {"name": "m"}}), &json!({"subPath": "k"}), &json!({}));
    machine.prepare(&of_map).expect("prepared");
    let before = mount_table().len();
    let at = machine.mounts(&of_map).expect("mounts").remove(0).host_path;
    assert_eq!(mount_table().len(), before);
    let held = fs::File::open(&at).expect("as a container holds it");
    machine.put(Kind::ConfigMap, map("2"));
    machine.prepare(&of_map).expect("prepared again");
    assert_eq!(std::io::read_to_string(held).expect("read"), "1");
    let at = machine.mounts(&of_map).expect("mounts").remove(0).host_path;
    assert_eq!(fs::read_to_string(at).expect("read"), "2");
    let none = pod("u2", &json!({"configMap": {"name": "m"}}), &json!({"subPath": "none"}), &json!({}));
    let error = machine.mounts(&none).expect_err("no such key").to_string();
    assert!(error.contains("subPath none: it is not in the volume"), "{error}");
}

#[test]
fn nothing_but_the_volume_is_removed() {
    let Some(machine) = Machine::new() else { return };
    let pod = pod("u1", &json!({"emptyDir": {}}), &json!({}), &json!({}));
    let place = machine.prepare(&pod).expect("prepared");
    let outside = machine.path("outside");
    fs::create_dir_all(outside.join("d")).expect("directory");
    fs::write(outside.join("d/kept"), "x").expect("write");
    symlink(&outside, place.join("link")).expect("link");
    fs::create_dir_all(place.join("deep/mounted")).expect("directory");
    fs::write(place.join("deep/file"), "").expect("file");
    rustix::mount::mount_bind(&outside, place.join("deep/mounted")).expect("bind");
    rustix::mount::mount_bind(outside.join("d/kept"), place.join("deep/file")).expect("bind");
    rustix::mount::mount_bind(&outside, machine.directory(&pod).join("volumes")).expect("bind");
    machine.tear_down(&pod);
    assert_eq!(fs::read_to_string(outside.join("d/kept")).expect("read"), "x");
}

#[test]
fn a_link_in_place_of_a_directory_is_not_followed_to_what_others_mounted() {
    let Some(machine) = Machine::new() else { return };
    let outside = machine.path("outside");
    for place in ["volumes/mounted", "mounted/main/0"] {
        fs::create_dir_all(outside.join(place)).expect("directory");
        rustix::mount::mount_bind("/usr", outside.join(place)).expect("bind");
    }
    let mounts = mount_table().len();
    let whole = pod("u1", &json!({"emptyDir": {}}), &json!({}), &json!({}));
    let parts = pod("u2", &json!({"emptyDir": {}}), &json!({}), &json!({}));
    fs::create_dir_all(machine.directory(&parts)).expect("directory");
    symlink(&outside, machine.directory(&whole)).expect("link");
    symlink(outside.join("volumes"), machine.directory(&parts).join("volumes")).expect("link");
    symlink(&outside, machine.directory(&parts).join("sub-paths")).expect("link");
    machine.tear_down(&whole);
    machine.tear_down(&parts);
    assert_eq!(mount_table().len(), mounts);
}

/// Makes a directory within a directory, so often; the innermost.
fn nested(place: &std::path::Path, name: &str, times: usize) -> std::os::fd::OwnedFd {
    let mut at = fs::File::open(place).map(std::os::fd::OwnedFd::from).expect("open");
    for _ in 0..times {
        rustix::fs::mkdirat(&at, name, 0o700.into()).expect("mkdir");
        at = rustix::fs::openat(&at, name, super::super::file_system::DIRECTORY, 0.into()).expect("open");
    }
    at
}

#[test]
fn a_tree_deeper_than_any_path_is_measured_and_given_to_a_group() {
    let Some(machine) = Machine::new() else { return };
    let pod = pod("u1", &json!({"emptyDir": {"sizeLimit": "1Mi"}}), &json!({}), &json!({}));
    let place = machine.prepare(&pod).expect("prepared");
    let long = "d".repeat(200);
    // What is beside it is found, too, whichever comes first.
    for name in ["a", "z"] {
        fs::create_dir_all(place.join(name).join("in/it")).expect("directories");
    }
    let innermost = nested(&place, &long, 500);
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    let file = rustix::fs::openat(&innermost, "large", flags, 0o600.into()).expect("file");
    rustix::io::write(&file, &[1; 1 << 20]).expect("write");
    let mut entries = 0;
    super::super::walk::walk(&place, |_, _, _| {
        entries += 1;
        Ok(())
    })
    .expect("walked");
    assert_eq!(entries, 507);
    let directory = machine.directory(&pod);
    assert!(super::super::disk_usage(&directory) >= 1 << 20);
    let plan = super::super::empty_directories(&pod);
    assert_eq!(super::super::exceeded(&plan, &directory), None);
    rustix::io::write(&file, &[1; 1 << 16]).expect("write");
    let error = super::super::exceeded(&plan, &directory).expect("too much").to_string();
    assert!(error.contains("its sizeLimit is 1048576"), "{error}");
    let group = super::super::plan::Group { id: 4321, only_on_mismatch: false };
    super::super::ownership::give_all(&place, group).expect("given");
    for file in [&file, &innermost] {
        assert_eq!(rustix::fs::fstat(file).expect("status").st_gid, 4321);
    }
    machine.tear_down(&pod);
}

#[test]
fn a_tree_that_is_moved_while_it_is_walked_is_left_where_it_went() {
    let directory = tempfile::tempdir().expect("a directory");
    let (tree, away) = (directory.path().join("tree"), directory.path().join("away"));
    for name in ["a/b/c/d", "e/f"] {
        fs::create_dir_all(tree.join(name)).expect("directories");
    }
    let mut seen = Vec::new();
    super::super::walk::walk(&tree, |_, name, _| {
        seen.push(name.to_str().expect("UTF-8").to_owned());
        if name == c"d" {
            fs::rename(tree.join("a/b"), &away).expect("moved");
        }
        Ok(())
    })
    .expect("walked");
    seen.sort();
    assert_eq!(seen, ["a", "b", "c", "d", "e", "f"]);
}

#[test]
fn a_tree_deeper_than_any_path_is_removed() {
    let Some(machine) = Machine::new() else { return };
    let pod = pod("u1", &json!({"emptyDir": {}}), &json!({}), &json!({}));
    let place = machine.prepare(&pod).expect("prepared");
    let mut at = fs::File::open(&place).map(std::os::fd::OwnedFd::from).expect("open");
    for _ in 0..2000 {
        rustix::fs::mkdirat(&at, "directory", 0o700.into()).expect("mkdir");
        rustix::fs::mkdirat(&at, "..removed.1", 0o700.into()).expect("mkdir");
        at = rustix::fs::openat(&at, "directory", super::super::file_system::DIRECTORY, 0.into())
            .expect("open");
    }
    machine.tear_down(&pod);
}
