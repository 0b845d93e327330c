//! Id-mapped mounts: other owners of the same files, in this mount alone.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{Bundle, NamespaceHolder, busybox, kernel_version, require};

fn mapping(container: u32, host: u32, size: u32) -> Value {
    json!([{"containerID": container, "hostID": host, "size": size}])
}

/// Can the file system of the bundle be id-mapped? Err is a reason to skip: tmpfs learnt it in 6.3, and an
/// overlay cannot.
pub fn mappable(bundle: &Bundle) -> Result<(), String> {
    const TMPFS: u64 = 0x0102_1994;
    const OVERLAY: u64 = 0x794c_7630;
    match rustix::fs::statfs(bundle.path()).expect("statfs").f_type as u64 {
        TMPFS => mappable_tmpfs(),
        OVERLAY => Err("the test's directory is on an overlay, which cannot be id-mapped".into()),
        _ => Ok(()),
    }
}

/// Can a new tmpfs be id-mapped?
pub fn mappable_tmpfs() -> Result<(), String> {
    match kernel_version() {
        version if version < (6, 3) => Err(format!("tmpfs cannot be id-mapped on Linux {version:?}")),
        _ => Ok(()),
    }
}

/// The bundle's data, with `word` owned by `owner`.
fn data_of(bundle: &Bundle, owner: u32) -> PathBuf {
    let data = bundle.data();
    chown(&data, Some(owner), Some(owner)).expect("chown");
    chown(data.join("word"), Some(owner), Some(owner)).expect("chown");
    data
}

fn with_mapped(bundle: Bundle, mount: Value) -> Bundle {
    bundle.edit(|config| config["mounts"].as_array_mut().expect("mounts").push(mount))
}

#[test]
fn the_mounts_own_mapping_changes_owners_both_ways() {
    let bundle = busybox!().script("stat -c %u:%g /mnt/word; touch /mnt/new; stat -c %u:%g /mnt/new");
    require!(mappable(&bundle));
    let data = data_of(&bundle, 1000);
    let mount = json!({"destination": "/mnt", "source": data, "options": ["bind"],
        "uidMappings": mapping(1000, 0, 10), "gidMappings": mapping(1000, 7, 10)});
    let bundle = with_mapped(bundle, mount).set("/process/user", json!({"uid": 0, "gid": 7}));
    bundle.run().prints("0:7\n0:7");
    let made = fs::metadata(data.join("new")).expect("the file");
    assert_eq!((made.uid(), made.gid()), (1000, 1000));
}

#[test]
fn idmap_takes_the_mapping_of_the_containers_user_namespace() {
    for option in ["idmap", "ridmap"] {
        let bundle = busybox!().user_namespace();
        let bundle = bundle.script("stat -c %u:%g /mnt/word; touch /mnt/new && stat -c %u:%g /mnt/new");
        require!(mappable(&bundle));
        let data = data_of(&bundle, 0);
        let bundle = bundle.bind(&data, "/mnt", &["rbind", option]);
        bundle.run().prints("0:0\n0:0");
        let made = fs::metadata(data.join("new")).expect("the file");
        assert_eq!((made.uid(), made.gid()), (0, 0));
    }
}

#[test]
fn idmap_takes_the_mapping_of_a_joined_user_namespace() {
    let holder = require!(NamespaceHolder::new(&["--user"], "user"));
    for file in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{file}", holder.pid()), "0 100000 65536").expect("a mapping");
    }
    let bundle = busybox!().user_namespace().args(["stat", "-c", "%u:%g", "/mnt/word"]);
    require!(mappable(&bundle));
    let data = data_of(&bundle, 5);
    let bundle = bundle.namespace("user", Some(&holder.path("user"))).edit(|config| {
        let linux = config["linux"].as_object_mut().expect("linux");
        linux.remove("uidMappings");
        linux.remove("gidMappings");
    });
    bundle.bind(&data, "/mnt", &["rbind", "idmap"]).run().prints("5:5");
}

#[test]
fn the_mapping_may_stand_in_the_option_as_crun_has_it() {
    let bundle = busybox!().args(["stat", "-c", "%u:%g", "/mnt/word"]);
    require!(mappable(&bundle));
    let data = data_of(&bundle, 1000);
    let option = "idmap=uids=0-100-10#1000-3-10;gids=1000-4-10";
    bundle.bind(&data, "/mnt", &["bind", option]).run().prints("3:4");
    let bundle = busybox!().user_namespace().args(["stat", "-c", "%u:%g", "/mnt/word"]);
    require!(mappable(&bundle));
    let data = data_of(&bundle, 1000);
    bundle.bind(&data, "/mnt", &["bind", "idmap=uids=@1000-3-10;gids=@1000-4-10"]).run().prints("3:4");
}

#[test]
fn idmap_maps_the_top_and_ridmap_all_that_is_mounted_below() {
    for (option, below) in [("idmap", "1000"), ("ridmap", "0")] {
        let bundle = busybox!().args(["stat", "-c", "%u", "/mnt/word", "/mnt/below"]);
        require!(mappable(&bundle));
        let data = data_of(&bundle, 1000);
        fs::create_dir(data.join("below")).expect("mkdir");
        let mount = json!({"destination": "/mnt", "source": data, "options": ["rbind", option],
            "uidMappings": mapping(1000, 0, 10), "gidMappings": mapping(1000, 0, 10)});
        let bundle = with_mapped(bundle, mount);
        bundle.write_config();
        let inside = "mount -t tmpfs -o uid=1000 tmpfs \"$0\" && exec \"$@\"";
        let script = format!("exec unshare -m sh -c '{inside}' '{}' \"$@\"", data.join("below").display());
        let outcome = bundle.invocation_in_shell(&script, &bundle.bundle_command("run", &[])).wait();
        if outcome.stderr.contains("cannot be id-mapped on this kernel") {
            return crate::support::skip("this kernel's tmpfs cannot be id-mapped");
        }
        outcome.prints(&format!("0\n{below}"));
    }
}

#[test]
fn a_file_is_id_mapped_and_read_only_too() {
    let bundle = busybox!().script("stat -c %u /mnt; echo x >/mnt");
    require!(mappable(&bundle));
    let data = data_of(&bundle, 1000);
    let mount = json!({"destination": "/mnt", "source": data.join("word"), "options": ["bind", "ro"],
        "uidMappings": mapping(1000, 0, 1), "gidMappings": mapping(1000, 0, 1)});
    let outcome = with_mapped(bundle, mount).run().exits_with(1);
    assert!(outcome.stdout == "0\n" && outcome.stderr.contains("Read-only file system"), "{outcome}");
}

/// A tmpfs whose ids 1000 to 1009 are the container's 0 to 9.
fn tmpfs(options: &[&str]) -> Value {
    json!({"destination": "/mnt", "type": "tmpfs", "source": "shm", "options": options,
        "uidMappings": mapping(1000, 0, 10), "gidMappings": mapping(1000, 0, 10)})
}

const SHOW: &str = "stat -c %u:%g:%a /mnt && grep -c ' /mnt .*idmapped' /proc/self/mountinfo";

#[test]
fn a_new_tmpfs_is_id_mapped() {
    require!(mappable_tmpfs());
    let options = ["uid=1000", "gid=1003", "mode=750", "size=64k", "nosuid", "ridmap"];
    let bundle = with_mapped(busybox!(), tmpfs(&options));
    let script =
        format!("{SHOW}; touch /mnt/new && stat -c %u:%g /mnt/new; grep ' /mnt ' /proc/self/mountinfo");
    let outcome = bundle.script(&script).run().success();
    assert!(outcome.stdout.starts_with("0:3:750\n1\n0:0\n"), "{outcome}");
    assert!(outcome.stdout.contains(" rw,nosuid,relatime,idmapped - tmpfs shm "), "{outcome}");
    assert!(outcome.stdout.contains("size=64k") && outcome.stdout.contains("uid=1000"), "{outcome}");
}

#[test]
fn a_container_without_the_ids_of_a_tmpfs_makes_nothing_there() {
    require!(mappable_tmpfs());
    let bundle = with_mapped(busybox!(), tmpfs(&["mode=777", "size=64k"]));
    let bundle = bundle.set("/process/user", json!({"uid": 20, "gid": 20}));
    let outcome = bundle.script("stat -c %u:%g /mnt; touch /mnt/new").run().exits_with(1);
    assert!(outcome.stdout == "65534:65534\n" && outcome.stderr.contains("Value too large"), "{outcome}");
}

#[test]
fn idmap_maps_a_new_tmpfs_to_the_containers_user_namespace() {
    require!(mappable_tmpfs());
    let bundle =
        busybox!().user_namespace().script(&format!("{SHOW}; echo x >/mnt/new && stat -c %u:%g /mnt/new"));
    bundle.mount("/mnt", "tmpfs", "tmpfs", &["idmap", "mode=700"]).run().prints("0:0:700\n1\n0:0");
}

#[test]
fn an_id_mapped_tmpfs_looks_like_what_it_covers() {
    require!(mappable_tmpfs());
    let bundle = with_mapped(busybox!(), tmpfs(&["uid=1000", "gid=1000", "ro", "tmpcopyup"]));
    let covered = bundle.rootfs().join("mnt");
    fs::create_dir(&covered).expect("mkdir");
    fs::write(covered.join("word"), "hello").expect("write");
    fs::set_permissions(&covered, fs::Permissions::from_mode(0o710)).expect("chmod");
    let script = format!("{SHOW}; cat /mnt/word; echo; stat -c %u:%g /mnt/word; touch /mnt/new 2>&1");
    let outcome = bundle.script(&script).run().exits_with(1);
    assert!(outcome.stdout.starts_with("0:0:710\n1\nhello\n0:0\n"), "{outcome}");
    assert!(outcome.stdout.contains("Read-only file system"), "{outcome}");
}

#[test]
fn a_tmpfs_of_ids_outside_of_its_mapping_must_have_a_mode() {
    require!(mappable_tmpfs());
    let bundle = with_mapped(busybox!(), tmpfs(&[]));
    fs::create_dir(bundle.rootfs().join("mnt")).expect("mkdir");
    bundle.run().refused(&["id-mapped file system on /mnt", "not in its mapping: give it a mode"]);
    bundle.leaves_nothing();
}

#[test]
fn a_file_system_that_cannot_be_mapped_is_named() {
    let mount = json!({"destination": "/mnt", "source": "/proc/sys", "options": ["bind"],
        "uidMappings": mapping(0, 1, 1), "gidMappings": mapping(0, 1, 1)});
    let bundle = with_mapped(busybox!(), mount);
    bundle.run().refused(&["/proc/sys", "file system cannot be id-mapped"]);
    bundle.leaves_nothing();
    let mount = json!({"destination": "/mnt", "type": "devpts", "options": ["newinstance", "mode=0620"],
        "uidMappings": mapping(0, 1, 1), "gidMappings": mapping(0, 1, 1)});
    let bundle = with_mapped(busybox!(), mount);
    bundle.run().refused(&[
        "make devpts for /mnt",
        "cannot be id-mapped on this kernel",
        "leave its mappings",
    ]);
    bundle.leaves_nothing();
}

#[test]
fn mappings_that_cannot_be_are_refused_by_name() {
    let bind = |more: Value| {
        let mut mount = json!({"destination": "/mnt", "source": "/etc", "options": ["bind"]});
        mount.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        mount
    };
    let range = mapping(0, 1, 1);
    let new =
        |fstype| json!({"destination": "/mnt", "type": fstype, "uidMappings": range, "gidMappings": range});
    for (mount, words) in [
        (bind(json!({"uidMappings": range})), "gidMappings"),
        (bind(json!({"gidMappings": range})), "uidMappings"),
        (bind(json!({"uidMappings": mapping(0, 1, 0), "gidMappings": range})), "uidMappings[0].size"),
        (bind(json!({"options": ["bind", "idmap"]})), "needs uidMappings"),
        (bind(json!({"options": ["bind", "idmap=uids=1-2;gids=1-2-3"]})), "\"1-2\""),
        (bind(json!({"options": ["bind", "idmap=uids=1-2-3"]})), "gids"),
        (bind(json!({"options": ["remount", "ro"], "uidMappings": range, "gidMappings": range})), "remount"),
        (new("proc"), "type proc"),
        (new("sysfs"), "type sysfs"),
        (new("mqueue"), "type mqueue"),
        (new("cgroup"), "type cgroup"),
        (new(""), "type: missing"),
    ] {
        let bundle = with_mapped(busybox!(), mount);
        let index = bundle.config["mounts"].as_array().expect("mounts").len() - 1;
        bundle.run().refused(&[&format!("mounts[{index}]"), words]);
        bundle.leaves_nothing();
    }
    let twice =
        json!([{"containerID": 0, "hostID": 1, "size": 5}, {"containerID": 2, "hostID": 9, "size": 5}]);
    let bundle = with_mapped(busybox!(), bind(json!({"uidMappings": twice, "gidMappings": range})));
    bundle.run().refused(&["/etc", "uid_map"]);
    bundle.leaves_nothing();
}
