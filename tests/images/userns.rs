//! User namespaces: `--userns auto`, and rcrun as an ordinary user.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::fixtures::{Image, Layer, Node, Packing, header};
use super::run::{node_with, script};
use super::support::{self, Outcome, require};

fn owned() -> Layer {
    let mut file = header(tar::EntryType::Regular, 0o644);
    file.set_uid(1000);
    file.set_gid(50);
    Layer::new().directory("d").entry(file, b"d/ada", b"", b"hers").file("d/root", "his")
}

#[test]
fn a_container_may_have_ids_of_its_own() {
    let node = require!(node_with(Image::busybox().layer(owned(), Packing::Plain)));
    let found = script(
        &node,
        &["--userns", "auto"],
        "id -u; stat -c '%u %g' /d/ada /d/root / /etc/hosts; touch /new /d/root; stat -c %u /new /d/root; cat /proc/self/uid_map | tr -s ' '",
    );
    let found = found.success();
    let lines: Vec<&str> = found.stdout.lines().collect();
    assert_eq!(lines[..7], ["0", "1000 50", "0 0", "0 0", "0 0", "0", "0"], "{found}");
    let map: Vec<u32> = lines[7].split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert!(map[0] == 0 && map[1] >= 65536 && map[2] == 65536, "{map:?}");
    assert_eq!(node.stored("containers"), [""; 0]);
}

#[test]
fn two_containers_have_different_ids_and_files_of_theirs_are_removed() {
    let node = require!(node_with(Image::busybox()));
    let (one, two) = (format!("{}a", node.marker()), format!("{}b", node.marker()));
    let mut running = Vec::new();
    for id in [&one, &two] {
        let words = [
            "run",
            "--userns",
            "auto",
            "--name",
            id,
            "app",
            "sh",
            "-c",
            "mkdir -m 0 /mine; echo ready; sleep 100",
        ];
        let mut started = node.rcrun(&words).spawn();
        started.wait_for_output("ready");
        running.push(started);
    }
    let owner = |id: &str| {
        std::fs::metadata(node.storage().join("containers").join(id).join("upper/mine")).unwrap().uid()
    };
    assert_ne!(owner(&one), owner(&two));
    assert!(owner(&one) > 65536);
    for (id, running) in [&one, &two].into_iter().zip(running) {
        node.rcrun(&["exec", id, "stat", "-c", "%u", "/mine"]).wait().prints("0");
        node.rcrun(&["kill", id, "KILL"]).wait().success();
        running.wait().exits_with(137);
        node.rcrun(&["delete", id]).wait().success();
    }
    assert_eq!(node.stored("containers"), [""; 0]);
}

/// A node whose files are an ordinary user's, and rcrun's binary where that user can execute it.
fn users_node(image: Image) -> Result<Node, String> {
    support::program("setpriv")?;
    let node = node_with(image)?;
    support::copy_program(&support::binary(), &node.file("rcrun"), 0o755);
    let probe = as_user(Path::new("unshare")).args(["--user", "true"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        return Err("this host lets no unprivileged user make a user namespace".into());
    }
    let everything = node.storage().parent().unwrap().to_owned();
    let owner = format!("{0}:{0}", support::USER);
    assert!(Command::new("chown").args(["-R", &owner]).arg(everything).status().unwrap().success());
    Ok(node)
}

fn as_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        format!("--reuid={}", support::USER),
        format!("--regid={}", support::USER),
        "--clear-groups".into(),
    ]);
    command.args(["--inh-caps=-all", "--bounding-set=-all", "--"]).arg(program);
    command
}

fn by_user(node: &Node, words: &[&str]) -> support::Invocation {
    let mut command = as_user(&node.file("rcrun"));
    command.arg("--storage").arg(node.storage()).arg("--root").arg(node.state()).args(words);
    node.invocation(command)
}

fn script_of_user(node: &Node, options: &[&str], script: &str) -> Outcome {
    let words = ["app", "sh", "-c", script];
    let all = ["run", "--rm"].iter().chain(options).chain(&words);
    by_user(node, &all.copied().collect::<Vec<_>>()).wait()
}

#[test]
fn a_user_without_further_ids_runs_images() {
    let node = require!(users_node(Image::busybox()));
    let found = script_of_user(
        &node,
        &[],
        "id -u; echo x >/file; cat /file; ls /sys/class/net; hostname | wc -c; echo >/etc/passwd",
    );
    found.success();
    let out = script_of_user(&node, &[], "id -u; wc -l </etc/passwd; cat /proc/self/uid_map | tr -s ' '");
    assert_eq!(out.stdout.trim(), format!("0\n2\n 0 {} 1", support::USER), "{out}");
    assert!(out.stderr.contains("single id"), "{out}");
    assert_eq!(node.stored("containers"), [""; 0]);
}

#[test]
fn a_users_container_is_listed_entered_killed_and_deleted_from_outside() {
    let node = require!(users_node(Image::busybox()));
    let id = node.marker();
    let mut running =
        by_user(&node, &["run", "--name", id, "app", "sh", "-c", "mkdir -m 0 /mine; echo ready; sleep 100"])
            .spawn();
    running.wait_for_output("ready");
    let state = by_user(&node, &["state", id]).wait().success().json();
    assert_eq!(state["status"], "running");
    by_user(&node, &["exec", id, "id", "-u"]).wait().prints("0");
    by_user(&node, &["kill", id, "KILL"]).wait().success();
    running.wait().exits_with(137);
    by_user(&node, &["delete", id]).wait().success();
    assert_eq!(node.stored("containers"), [""; 0]);
}

#[test]
fn a_user_unpacks_a_bundle_that_runs() {
    let node = require!(users_node(Image::busybox()));
    let bundle = node.file("bundle");
    let path = format!("{}/", bundle.display());
    by_user(&node, &["unpack", "app", &path]).wait().success();
    assert_eq!(std::fs::metadata(bundle.join("rootfs/bin/sh")).unwrap().uid(), support::USER);
    by_user(&node, &["run", &path]).stdin("id -u").wait().prints("0");
}

/// rcrun of a user who has ids from 200000 on, in a view of the machine where /etc says so.
fn by_user_with_ids(node: &Node, words: &[&str]) -> support::Invocation {
    for (name, text) in [
        ("subid", format!("{}:200000:65536\n", support::USER)),
        ("passwd", format!("root:x:0:0::/:/bin/sh\nperson:x:{0}:{0}::/:/bin/sh\n", support::USER)),
    ] {
        std::fs::write(node.file(name), text).unwrap();
    }
    let bind = "d=$1; shift; for f in subuid subgid; do mount --bind $d/subid /etc/$f || exit 99; done; \
                mount --bind $d/passwd /etc/passwd || exit 99; exec \"$@\"";
    let directory = node.file("").display().to_string();
    let user = support::USER.to_string();
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", bind, "sh", &directory, "setpriv"]);
    // newuidmap(1) has file capabilities or a setuid bit: the bounding set stays.
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]).arg(node.file("rcrun"));
    command.arg("--storage").arg(node.storage()).arg("--root").arg(node.state()).args(words);
    node.invocation(command)
}

#[test]
fn a_user_with_further_ids_has_files_of_many_owners() {
    require!(support::program("newuidmap"));
    let node = require!(users_node(Image::busybox().layer(owned(), Packing::Plain)));
    for layer in node.stored("layers/sha256") {
        let file = node.storage().join("layers/sha256").join(layer).join("diff/d/ada");
        if file.exists() {
            std::os::unix::fs::lchown(file, Some(200_999), Some(200_049)).unwrap();
        }
    }
    let id = node.marker();
    let script = "stat -c '%u %g' /d/ada /d/root; touch /mine; chown 7:8 /mine; mkdir -m 0 /closed; chown 9 /closed; \
                  cat /proc/self/uid_map | tr -s ' '; cat /proc/self/setgroups; id -G";
    let options = ["run", "--name", id, "--group-add", "50", "app", "sh", "-c", script];
    by_user_with_ids(&node, &options)
        .wait()
        .prints(&format!("1000 50\n0 0\n 0 {} 1\n 1 200000 65536\nallow\n0 50", support::USER));
    let upper = node.storage().join("containers").join(id).join("upper");
    assert_eq!(std::fs::metadata(upper.join("mine")).unwrap().uid(), 200_006);
    by_user_with_ids(&node, &["delete", id]).wait().success();
    assert_eq!(node.stored("containers"), [""; 0]);
    let bundle = node.file("bundle");
    let path = format!("{}/", bundle.display());
    by_user_with_ids(&node, &["unpack", "app", &path]).wait().success();
    assert_eq!(std::fs::metadata(bundle.join("rootfs/d/ada")).unwrap().uid(), 200_999);
    by_user_with_ids(&node, &["run", &path]).stdin("stat -c %u /d/ada").wait().prints("1000");
    // The removal of the test's directory is root's.
}
