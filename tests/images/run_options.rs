//! docker's options of `run`, one by one.

use serde_json::json;

use super::fixtures::{Image, Node, node_with, run, script};
use super::support::{self, require};

#[test]
fn variables_come_from_options_files_and_the_caller() {
    let image = Image::busybox()
        .config(|config| config["config"]["Env"] = json!(["PATH=/bin", "A=image", "B=image"]));
    let mut node = require!(node_with(image));
    node.set_env("MINE", "caller's");
    let file = node.file("env");
    std::fs::write(&file, "# comment\n\nC=file\nA=file\nMINE\n").unwrap();
    let file = file.to_str().unwrap();
    script(
        &node,
        &["--env-file", file, "-e", "A=option", "-e", "B", "--env=D=d=d"],
        "echo $A,$B,$C,$MINE,$D",
    )
    .prints("option,,file,caller's,d=d");
    std::fs::write(node.file("env"), "a b=c\n").unwrap();
    run(&node, &["--env-file", file], &["true"]).exits_with(125).explains(&["--env-file", "a b=c"]);
    run(&node, &["-e", "=x"], &["true"]).exits_with(125).explains(&["no name"]);
    for option in ["--env-file=/dev/zero", "--security-opt=seccomp=/dev/zero"] {
        run(&node, &[option], &["true"]).exits_with(125).explains(&["/dev/zero", "more than 4 MiB"]);
    }
}

#[test]
fn volumes_and_mounts_are_the_hosts() {
    let node = require!(node_with(Image::busybox()));
    std::fs::create_dir(node.file("data")).unwrap();
    std::fs::write(node.file("data/word"), "hello").unwrap();
    let (data, made) = (node.file("data"), node.file("made/deep"));
    let volume = |target: &str| format!("{}:{target}", data.display());
    script(
        &node,
        &["-v", &volume("/data"), "-v", &volume("/ro:ro")],
        "cat /data/word; echo x >/data/new; touch /ro/y",
    )
    .exits_with(1);
    assert!(node.file("data/new").exists() && !node.file("data/y").exists());
    run(&node, &["-v", &format!("{}:/made", made.display())], &["touch", "/made/file"]).success();
    assert!(made.join("file").exists());
    let mount = format!("type=bind,source={},target=/deep/er/word,readonly", data.join("word").display());
    script(&node, &["--mount", &mount], "cat /deep/er/word").prints("hello");
    run(&node, &["--mount", "type=bind,source=/nonesuch,target=/x"], &["true"])
        .exits_with(125)
        .explains(&["/nonesuch", "No such file"]);
    run(&node, &["-v", "na/me:/x"], &["true"]).exits_with(125).explains(&["a volume's name"]);
    script(
        &node,
        &["--tmpfs", "/t:size=1m,mode=700"],
        "stat -c %a /t; df /t | tail -n 1 | tr -s ' ' | cut -d' ' -f2",
    )
    .prints("700\n1024");
}

#[test]
fn capabilities_and_privileges() {
    let node = require!(node_with(Image::busybox()));
    let bounding = |options: &[&str]| {
        script(&node, options, "grep CapBnd /proc/self/status | cut -f2").success().stdout.trim().to_owned()
    };
    assert_eq!(bounding(&["--cap-drop", "ALL"]), "0000000000000000");
    assert_eq!(bounding(&["--cap-drop", "all", "--cap-add", "net_bind_service"]), "0000000000000400");
    assert_eq!(bounding(&["--cap-add", "SYS_PTRACE"]), "00000000a80c25fb");
    run(&node, &["--cap-add", "WORLD"], &["true"]).exits_with(125).explains(&["WORLD"]);
    script(&node, &["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status")
        .prints("NoNewPrivs:\t1");
    script(&node, &["--security-opt", "seccomp=unconfined"], "grep Seccomp: /proc/self/status")
        .prints("Seccomp:\t0");
    script(&node, &[], "mount -t tmpfs x /tmp").exits_with(1);
    script(&node, &["--cap-add", "SYS_ADMIN"], "mount -t tmpfs x /tmp").success();
    let profile = node.file("profile.json");
    let rules = json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]);
    std::fs::write(&profile, json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}).to_string())
        .unwrap();
    let option = format!("seccomp={}", profile.display());
    script(&node, &["--security-opt", &option], "mkdir /x").exits_with(1);
    script(&node, &["--security-opt", "systempaths=unconfined"], "mount | grep -c /proc/kcore || true")
        .prints("0");
}

#[test]
fn networks() {
    let node = require!(node_with(Image::busybox()));
    script(&node, &[], "ls /sys/class/net").prints("lo");
    let host = std::fs::read_link("/proc/self/ns/net").unwrap();
    let options = ["--network", "host", "--add-host", "db:10.0.0.7", "--dns", "9.9.9.9"];
    let found = script(
        &node,
        &options,
        "readlink /proc/self/ns/net; grep db /etc/hosts; grep name /etc/resolv.conf; hostname",
    );
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    found.prints(&format!("{}\n10.0.0.7\tdb\nnameserver 9.9.9.9\n{name}", host.display()));
    run(&node, &["--network", "mine"], &["true"]).exits_with(1).explains(&["no networks with names"]);
}

#[test]
fn the_root_may_be_read_only_and_directories_are_made() {
    let node = require!(node_with(Image::busybox()));
    script(&node, &["--read-only"], "touch /x 2>/dev/null; echo $?; touch /dev/shm/x; echo $?")
        .prints("1\n0");
    script(&node, &["-w", "/new/place"], "pwd").prints("/new/place");
    run(&node, &["-w", "relative"], &["true"]).exits_with(125).explains(&["relative", "absolute"]);
}

#[test]
fn limits_and_devices() {
    let node = require!(node_with(Image::busybox()));
    script(&node, &["--ulimit", "nofile=100:200"], "ulimit -Sn; ulimit -Hn").prints("100\n200");
    script(&node, &["--shm-size", "1m"], "df /dev/shm | tail -n 1 | tr -s ' ' | cut -d' ' -f2")
        .prints("1024");
    script(&node, &["--sysctl", "net.ipv4.ip_forward=1"], "cat /proc/sys/net/ipv4/ip_forward").prints("1");
    script(&node, &["--device", "/dev/null:/dev/mine:r"], "stat -c '%t %T' /dev/mine").prints("1 3");
    script(&node, &["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj").prints("500");
    run(&node, &["--memory", "lots"], &["true"]).exits_with(1).explains(&["lots"]);
    run(&node, &["--sysctl", "kernel.panic=1"], &["true"]).exits_with(125).explains(&["kernel.panic"]);
    if support::controller("memory").is_err() {
        run(&node, &["-m", "64m"], &["true"]).exits_with(125).explains(&["memory"]);
    }
}

#[test]
fn options_for_bundles_and_for_images_are_told_apart() {
    let node = require!(node_with(Image::busybox()));
    run(&node, &["--dry-run"], &["true"]).exits_with(1).explains(&["--dry-run", "unpack"]);
    let bundle = node.file("bundle");
    std::fs::create_dir(&bundle).unwrap();
    std::fs::write(bundle.join("config.json"), "{}").unwrap();
    let path = bundle.to_str().unwrap();
    let given = |words: &[&str]| Node::rcrun(&node, words).wait();
    given(&["run", "-e", "A=b", path]).exits_with(1).explains(&["--env is for images", "config.json"]);
    given(&["run", path, "ls"]).exits_with(1).explains(&["\"ls\" is one too many"]);
}
