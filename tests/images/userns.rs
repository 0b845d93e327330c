//! User namespaces: `--userns auto`, and rcrun as an ordinary user.

use std::os::unix::fs::MetadataExt;

use super::fixtures::{
    Image, Layer, Node, Packing, by_user, by_user_with_ids, given_to_user, header, node_with,
    nothing_is_left, script,
};
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

/// They are nobody's there, as with docker: what others may do, the container may.
#[test]
fn files_of_the_host_keep_their_owners_in_a_container_with_ids_of_its_own() {
    let node = require!(node_with(Image::busybox()));
    let hidden = node.file("hidden");
    for (directory, mode) in [("hidden", 0o700), ("hidden/data", 0o755), ("hidden/shared", 0o777)] {
        std::fs::create_dir(node.file(directory)).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(node.file(directory), mode).unwrap();
    }
    std::fs::write(hidden.join("data/word"), "hello\n").unwrap();
    let volume = |source: &str, target: &str| format!("{}:{target}", hidden.join(source).display());
    let volumes = [
        volume("data", "/data"),
        volume("shared", "/shared"),
        volume("data/word", "/word:ro"),
        volume("made", "/made"),
    ];
    let mut options = vec!["--userns", "auto", "--tmpfs", "/t", "--device", "/dev/null:/dev/mine"];
    options.extend(volumes.iter().flat_map(|volume| ["-v", volume]));
    let found = script(
        &node,
        &options,
        "stat -c %u /data/word /made; cat /data/word /word; touch /data/x /made/x 2>/dev/null || echo refused; \
         touch /shared/mine /t/mine; stat -c %u /shared/mine /t/mine; echo x >/dev/mine",
    );
    found.prints("65534\n65534\nhello\nhello\nrefused\n0\n0");
    assert!(std::fs::metadata(hidden.join("shared/mine")).unwrap().uid() > 65536);
    nothing_is_left(&node);
}

fn script_of_user(node: &Node, options: &[&str], script: &str) -> Outcome {
    let words = ["app", "sh", "-c", script];
    let all = ["run", "--rm"].iter().chain(options).chain(&words);
    by_user(node, &all.copied().collect::<Vec<_>>()).wait()
}

/// A node whose files are an ordinary user's.
fn users_node(image: Image) -> Result<Node, String> {
    given_to_user(node_with(image)?)
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
    assert_eq!(out.stderr, "", "{out}");
    let bundle = format!("{}/", node.file("bundle").display());
    // Said where files are made, whose owners are lost.
    by_user(&node, &["unpack", "app", &bundle]).wait().success().explains(&["single id", "/etc/subuid"]);
    assert_eq!(node.stored("containers"), [""; 0]);
    script_of_user(
        &node,
        &["--device", "/dev/null:/dev/mine"],
        "echo x >/dev/mine && ls -l /dev/mine | cut -c1",
    )
    .prints("c");
}

#[test]
fn a_user_gets_no_further_user_namespace() {
    let node = require!(users_node(Image::busybox()));
    by_user(&node, &["run", "--userns", "auto", "app", "true"])
        .wait()
        .exits_with(125)
        .explains(&["--userns auto", "root"]);
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
