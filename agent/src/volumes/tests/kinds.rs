//! Each kind of volume as a container finds it.

use std::fs;

use serde_json::json;

use super::{Machine, group, mode, pod};
use crate::objects::Kind;

#[test]
fn an_empty_directory_is_everybodys() {
    let Some(machine) = Machine::new() else { return };
    let pod = pod("u1", &json!({"emptyDir": {}}), &json!({"readOnly": true}), &json!({}));
    let place = machine.prepare(&pod).expect("prepared");
    assert_eq!(mode(&place), 0o777);
    fs::write(place.join("kept"), "x").expect("write");
    // The agent was restarted.
    assert_eq!(machine.prepare(&pod), Ok(place.clone()));
    assert!(place.join("kept").exists());
    let mounts = machine.mounts(&pod).expect("mounts");
    assert_eq!((&mounts[0].host_path, mounts[0].readonly), (&place, true));
    assert_eq!(mounts[0].container_path, "/v");
    machine.tear_down(&pod);
    // Once more, as after a crash.
    machine.tear_down(&pod);
}

#[test]
fn a_volume_in_memory_holds_what_its_limit_says() {
    let Some(machine) = Machine::new() else { return };
    let volume = json!({"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}});
    let pod = pod("u1", &volume, &json!({}), &json!({"fsGroup": 2000}));
    let place = machine.prepare(&pod).expect("prepared");
    assert_eq!((mode(&place), group(&place)), (0o2777, 2000));
    fs::write(place.join("kept"), "x").expect("write");
    machine.prepare(&pod).expect("prepared again");
    assert!(place.join("kept").exists(), "mounted twice");
    let error = fs::write(place.join("big"), vec![0; 2 << 20]).expect_err("full");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    // Somebody is in it.
    let busy = fs::File::open(place.join("kept")).expect("open");
    machine.tear_down(&pod);
    drop(busy);
}

#[test]
fn a_pod_that_is_over_leaves_none_but_what_is_remembered_of_it() {
    let Some(mut machine) = Machine::new() else { return };
    let secret = json!({"metadata": {"name": "s", "namespace": "web"}, "data": {"a": "MQ=="}});
    machine.put(Kind::Secret, secret);
    let volumes = [
        json!({"emptyDir": {}}),
        json!({"emptyDir": {"medium": "Memory"}}),
        json!({"secret": {"secretName": "s"}}),
    ];
    for (index, volume) in volumes.iter().enumerate() {
        let part = if index < 2 { json!({"subPath": "part"}) } else { json!({}) };
        let pod = pod(&format!("u{index}"), volume, &part, &json!({}));
        let place = machine.prepare(&pod).expect("prepared");
        let mount = machine.mounts(&pod).expect("mounts").remove(0).host_path;
        let directory = machine.directory(&pod);
        let words = directory.join("containers/c/0");
        fs::create_dir_all(words.parent().expect("a parent")).expect("mkdir");
        fs::write(&words, "last words").expect("write");
        // Once more, as after a start of the agent.
        for _ in 0..2 {
            crate::volumes::release(&directory).expect("released");
            assert!(!place.exists() && !mount.exists(), "{volume}");
            assert_eq!(fs::read_to_string(&words).expect("read"), "last words");
        }
        machine.tear_down(&pod);
    }
}

#[test]
fn a_volume_on_disk_that_grew_too_big_is_noticed() {
    let Some(machine) = Machine::new() else { return };
    let pod = pod("u1", &json!({"emptyDir": {"sizeLimit": "64Ki"}}), &json!({}), &json!({}));
    let place = machine.prepare(&pod).expect("prepared");
    let plan = machine.plan(&pod).expect("a plan");
    fs::create_dir(place.join("d")).expect("a directory");
    fs::write(place.join("d/f"), vec![1; 32 << 10]).expect("write");
    // The same file is not counted again.
    fs::hard_link(place.join("d/f"), place.join("g")).expect("link");
    fs::hard_link(place.join("d/f"), place.join("h")).expect("link");
    let directory = machine.directory(&pod);
    assert_eq!(crate::volumes::exceeded(&plan, &directory), None);
    fs::write(place.join("i"), vec![1; 64 << 10]).expect("write");
    let error = crate::volumes::exceeded(&plan, &directory).expect("too much");
    assert!(error.to_string().contains("its sizeLimit is 65536"), "{error}");
    machine.tear_down(&pod);
}

#[test]
fn files_have_the_modes_that_are_asked() {
    let Some(mut machine) = Machine::new() else { return };
    machine.put(
        Kind::Secret,
        json!({"metadata": {"name": "s", "namespace": "web"}, "data": {"a": "MQ==", "b": "Mg=="}}),
    );
    let volume = json!({"secret": {"secretName": "s", "defaultMode": 0o400, "items": [
        {"key": "a", "path": "a"}, {"key": "b", "path": "deep/b", "mode": 0o750},
    ]}});
    let plain = pod("u1", &volume, &json!({}), &json!({}));
    let place = machine.prepare(&plain).expect("prepared");
    assert_eq!(fs::read_to_string(place.join("deep/b")).expect("read"), "2");
    let real = |path: &str| fs::canonicalize(place.join(path)).expect("real");
    assert_eq!((mode(&real("a")), mode(&real("deep/b")), mode(&real("deep"))), (0o400, 0o750, 0o755));
    let grouped = pod("u2", &volume, &json!({}), &json!({"fsGroup": 3000}));
    let place = machine.prepare(&grouped).expect("prepared");
    let real = |path: &str| fs::canonicalize(place.join(path)).expect("real");
    assert_eq!((mode(&real("a")), group(&real("a"))), (0o440, 3000));
    assert_eq!((mode(&place), group(&real("deep"))), (0o2755, 3000));
    assert!(machine.mounts(&grouped).expect("mounts")[0].readonly);
    // One tmpfs for both.
    let secrets = machine.state().join("secrets");
    let of_secrets =
        super::mount_table().iter().filter(|path| path.as_str() == secrets.to_str().unwrap()).count();
    assert_eq!(of_secrets, 1);
    let status = rustix::fs::statfs(&place).expect("statfs");
    assert_eq!(status.f_type, 0x0102_1994, "not a tmpfs");
    machine.tear_down(&plain);
    assert!(place.join("a").exists());
    // The machine was rebooted.
    rustix::mount::unmount(&secrets, rustix::mount::UnmountFlags::DETACH).expect("unmount");
    assert!(!place.join("a").exists());
    machine.prepare(&grouped).expect("prepared again");
    assert_eq!(fs::read_to_string(place.join("a")).expect("read"), "1");
    machine.tear_down(&grouped);
}

#[test]
fn a_path_of_the_host_is_what_its_type_says() {
    let Some(machine) = Machine::new() else { return };
    fs::create_dir(machine.path("directory")).expect("directory");
    fs::write(machine.path("file"), "").expect("file");
    let socket = std::os::unix::net::UnixListener::bind(machine.path("socket")).expect("socket");
    let cases = [
        ("directory", "Directory", None),
        ("directory", "File", Some("it is not a file")),
        ("directory", "FileOrCreate", Some("it is not a file")),
        ("file", "File", None),
        ("file", "DirectoryOrCreate", Some("it is not a directory")),
        ("none", "Directory", Some("there is nothing; a directory is needed")),
        ("none", "File", Some("there is nothing; a file is needed")),
        ("none", "", None),
        ("new/directory", "DirectoryOrCreate", None),
        ("new/directory", "Directory", None),
        ("new/file", "FileOrCreate", None),
        ("new/file", "File", None),
        ("absent/file", "FileOrCreate", Some("cannot make it")),
        ("socket", "Socket", None),
        ("file", "Socket", Some("it is not a socket")),
        ("file", "CharDevice", Some("it is not a character device")),
        ("file", "BlockDevice", Some("it is not a block device")),
    ];
    for (path, kind, error) in cases {
        let volume = json!({"hostPath": {"path": machine.path(path), "type": kind}});
        let done = machine.prepare(&pod("u1", &volume, &json!({}), &json!({})));
        match error {
            None => assert_eq!(done, Ok(machine.path(path)), "{path} {kind}"),
            Some(why) => {
                let error = done.expect_err("an error").to_string();
                assert!(error.contains(why) && error.contains(path), "{path} {kind}: {error}");
            }
        }
    }
    let volume = json!({"hostPath": {"path": "/dev/null", "type": "CharDevice"}});
    assert!(machine.prepare(&pod("u1", &volume, &json!({}), &json!({}))).is_ok());
    drop(socket);
}

#[test]
fn a_claims_files_are_given_to_the_group_once() {
    let Some(mut machine) = Machine::new() else { return };
    let data = machine.path("data");
    fs::create_dir_all(data.join("sub")).expect("directory");
    fs::write(data.join("sub/file"), "x").expect("file");
    let outside = machine.path("outside");
    fs::write(&outside, "x").expect("file");
    std::os::unix::fs::symlink(&outside, data.join("link")).expect("link");
    machine.put(
        Kind::PersistentVolume,
        json!({"metadata": {"name": "disk", "uid": "d1"}, "spec": {
            "local": {"path": data}, "claimRef": {"namespace": "web", "name": "c", "uid": "c1"}}}),
    );
    machine.put(
        Kind::PersistentVolumeClaim,
        json!({"metadata": {"name": "c", "namespace": "web", "uid": "c1"}, "spec": {"volumeName": "disk"}}),
    );
    let volume = json!({"persistentVolumeClaim": {"claimName": "c"}});
    let user = pod("u1", &volume, &json!({}), &json!({"fsGroup": 4000}));
    assert_eq!(machine.prepare(&user), Ok(data.clone()));
    assert_eq!((group(&data), mode(&data) & 0o2770), (4000, 0o2770));
    let file = data.join("sub/file");
    assert_eq!((group(&file), mode(&file) & 0o660), (4000, 0o660));
    assert_ne!(group(&outside), 4000, "a link was followed");
    // Not again for this Pod.
    std::os::unix::fs::chown(&file, None, Some(0)).expect("chown");
    machine.prepare(&user).expect("prepared again");
    assert_eq!(group(&file), 0);
    // For the next one, but where the root says that all is right.
    let lazy = json!({"fsGroup": 4000, "fsGroupChangePolicy": "OnRootMismatch"});
    machine.prepare(&pod("u2", &volume, &json!({}), &lazy)).expect("prepared");
    assert_eq!(group(&file), 0);
    machine.prepare(&pod("u3", &volume, &json!({}), &json!({"fsGroup": 4000}))).expect("prepared");
    assert_eq!(group(&file), 4000);
    machine.tear_down(&user);
    assert!(file.exists());
    fs::remove_dir_all(&data).expect("remove");
    let error = machine.prepare(&user).expect_err("no directory").to_string();
    assert!(error.contains("it is not a directory"), "{error}");
}

#[test]
fn an_image_is_the_runtimes_business() {
    let Some(machine) = Machine::new() else { return };
    let volume = json!({"image": {"reference": "example.org/data:1", "pullPolicy": "Always"}});
    let pod = pod("u1", &volume, &json!({"subPath": "a/b"}), &json!({}));
    let plan = machine.plan(&pod).expect("a plan");
    let images: Vec<_> = plan.images().collect();
    assert_eq!(images, [("v", "example.org/data:1", Some("Always"))]);
    let mounts = machine.mounts(&pod).expect("mounts");
    assert_eq!(mounts[0].image.as_deref(), Some("example.org/data:1"));
    assert_eq!((mounts[0].image_sub_path.as_str(), mounts[0].readonly), ("a/b", true));
}

#[test]
fn a_server_that_cannot_be_used_is_said_to_be_so() {
    let Some(machine) = Machine::new() else { return };
    let volume = json!({"nfs": {"server": "127.0.0.1", "path": "/x"}});
    let error =
        machine.prepare(&pod("u1", &volume, &json!({}), &json!({}))).expect_err("no server").to_string();
    assert!(error.starts_with("volume v: nfs 127.0.0.1:/x: "), "{error}");
    assert!(error.contains("no NFS client") || error.contains("cannot reach the server"), "{error}");
}
