//! Images by name, in the foreground: what the process finds, and what is left.

use std::os::unix::fs::MetadataExt;

use serde_json::json;

use super::fixtures::{Image, Layer, Packing, Registry, node_with, nothing_is_left, run, script};
use super::support::{self, Pty, require};

#[test]
fn a_command_of_an_image_runs_and_nothing_is_left() {
    let node = require!(node_with(Image::busybox()));
    run(&node, &[], &["echo", "hello", "world"]).prints("hello world");
    run(&node, &[], &["sh", "-c", "exit 7"]).exits_with(7);
    nothing_is_left(&node);
}

#[test]
fn words_after_the_image_belong_to_the_program() {
    let node = require!(node_with(Image::busybox().config(|c| c["config"]["Entrypoint"] = json!(["echo"]))));
    run(&node, &[], &["-x", "--rm", "--bundle", "-it", "--"]).prints("-x --rm --bundle -it --");
    run(&node, &["--entrypoint", "cat"], &["/etc/group"]).success();
}

#[test]
fn layers_are_merged_and_shared_and_stay_as_they_are() {
    let lower =
        Layer::new().directory("data").file("data/old", "old").file("data/gone", "gone").file("top", "1");
    let upper = Layer::new().directory("data").whiteout("data/gone").file("top", "2");
    let same = || Layer::new().file("same", "same");
    let image = Image::busybox()
        .layer(same(), Packing::Plain)
        .layer(lower, Packing::Gzip)
        .layer(upper, Packing::Plain)
        .layer(same(), Packing::Plain);
    let node = require!(node_with(image));
    script(&node, &[], "ls /data; cat /top /same; echo changed >/data/old; rm /top; cat /data/old")
        .prints("old\n2samechanged");
    script(&node, &[], "cat /data/old").prints("old");
    nothing_is_left(&node);
}

#[test]
fn a_container_has_what_docker_gives_it() {
    let node = require!(node_with(Image::busybox()));
    let found = script(
        &node,
        &["--hostname", "web"],
        "hostname; cat /etc/hostname; echo $HOSTNAME; grep -c localhost /etc/hosts; \
         grep -E 'CapEff|CapBnd|Seccomp:|NoNewPrivs' /proc/self/status; \
         mount | grep -E ' /(proc|dev|dev/shm|dev/pts|dev/mqueue|sys|sys/fs/cgroup) ' | wc -l; \
         df /dev/shm | tail -n 1 | tr -s ' ' | cut -d' ' -f2; cat /proc/kcore | wc -c; pwd; id -u; ls /sys/class/net",
    );
    found.prints(
        "web\nweb\nweb\n2\nNoNewPrivs:\t0\nSeccomp:\t2\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb"
            .split('\n')
            .take(4)
            .chain([
                "CapEff:\t00000000a80425fb",
                "CapBnd:\t00000000a80425fb",
                "NoNewPrivs:\t0",
                "Seccomp:\t2",
            ])
            .chain(["7", "65536", "0", "/", "0", "lo"])
            .collect::<Vec<_>>()
            .join("\n")
            .as_str(),
    );
    script(&node, &[], "touch /proc/sys/x 2>&1; echo a >/proc/sysrq-trigger").exits_with(1);
    // The loopback device is up.
    let ping = "echo pong >/pong; nc -l -p 80 </pong & until nc 127.0.0.1 80 </dev/null; do sleep 0.1; done";
    script(&node, &[], ping).prints("pong");
    let name = script(&node, &[], "hostname").success().stdout;
    assert!(name.trim().len() == 12 && name.trim().bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
}

#[test]
fn the_root_looks_as_the_highest_layer_has_it() {
    let mut top = super::fixtures::header(tar::EntryType::Directory, 0o711);
    top.set_uid(7);
    top.set_size(0);
    let layer = Layer::new().entry(top, b"./", b"", b"");
    let node = require!(node_with(Image::busybox().layer(layer, Packing::Plain)));
    script(&node, &[], "stat -c '%a %u' /").prints("711 7");
}

#[test]
fn standard_input_is_the_callers_only_with_interactive() {
    let node = require!(node_with(Image::busybox()));
    let with = |options: &[&str]| {
        let all = ["run", "--rm"].iter().chain(options).chain(&["app", "cat"]);
        node.rcrun(&all.collect::<Vec<_>>()).stdin("typed\n").wait()
    };
    with(&[]).prints("");
    with(&["-i"]).prints("typed");
    with(&["-it"]).exits_with(125).explains(&["no terminal"]);
}

#[test]
fn a_terminal_is_relayed() {
    let node = require!(node_with(Image::busybox()));
    let found = run(&node, &["-t"], &["sh", "-c", "tty; echo $TERM; stty size"]).success();
    assert!(found.stdout.starts_with("/dev/pts/0\r\nxterm\r\n"), "{found}");
    let (mut pty, slave) = Pty::open();
    let running = node.rcrun(&["run", "--rm", "-it", "app", "sh", "-c", "echo ready; read x; echo got $x"]);
    let running = running.on_terminal(&slave).spawn();
    drop(slave);
    pty.wait_for("ready");
    pty.write("word\n");
    running.wait().success();
    pty.wait_for("got word");
}

#[test]
fn without_rm_the_container_stays_until_it_is_deleted() {
    let node = require!(node_with(Image::busybox()));
    let id = node.marker();
    node.rcrun(&["run", "--name", id, "app", "sh", "-c", "echo kept >/file"]).wait().success();
    let upper = node.storage().join("containers").join(id).join("upper/file");
    assert_eq!(std::fs::read_to_string(&upper).unwrap(), "kept\n");
    let state = node.rcrun(&["state", id]).wait().success().json();
    assert_eq!(state["status"], "stopped");
    assert_eq!(state["annotations"]["org.rcrun.image"], "app");
    node.rcrun(&["run", "--name", id, "app", "true"]).wait().exits_with(125).explains(&["in use"]);
    assert!(upper.exists());
    node.rcrun(&["delete", id]).wait().success();
    nothing_is_left(&node);
}

#[test]
fn exec_and_kill_find_the_container() {
    let node = require!(node_with(Image::busybox()));
    let id = node.marker();
    let running = node.rcrun(&["run", "--rm", "--name", id, "app", "sleep", "100"]).spawn();
    support::wait_for("the container", 10, || {
        node.rcrun(&["exec", id, "true"]).wait().status.success().then_some(())
    });
    node.rcrun(&["exec", id, "cat", "/etc/passwd"]).wait().success();
    node.rcrun(&["kill", id, "KILL"]).wait().success();
    running.wait().exits_with(137);
    nothing_is_left(&node);
}

#[test]
fn exit_statuses_are_dockers() {
    let node = require!(node_with(Image::busybox().layer(Layer::new().file("text", "text"), Packing::Plain)));
    run(&node, &[], &["nonesuch"]).exits_with(127).explains(&["nonesuch", "not found"]);
    run(&node, &[], &["/bin/nonesuch"]).exits_with(127).explains(&["no such file"]);
    run(&node, &[], &["/text"]).exits_with(126).explains(&["permission denied"]);
    run(&node, &["--user", "nobody"], &["true"]).exits_with(125).explains(&["nobody", "/etc/passwd"]);
    node.rcrun(&["run", "--pull", "never", "other"])
        .wait()
        .exits_with(125)
        .explains(&["other", "not in the store"]);
    nothing_is_left(&node);
}

#[test]
fn users_are_those_of_the_image() {
    let image = Image::busybox().config(|config| config["config"]["User"] = json!("ada"));
    let node = require!(node_with(image));
    script(&node, &[], "id -u; id -g; id -G; grep CapEff /proc/self/status; echo $HOME")
        .prints("1000\n1000\n1000 50\nCapEff:\t0000000000000000\n/tmp");
    script(&node, &["-u", "0:staff", "--group-add", "77"], "id -u; id -G").prints("0\n50 77");
    run(&node, &["-u", "4294967296"], &["true"]).exits_with(125).explains(&["4294967296", "no id"]);
}

#[test]
fn a_bad_configuration_is_one_line_and_leaves_nothing() {
    for (change, fragment) in [
        (json!({"Cmd": ["sh"], "Env": ["BROKEN"]}), "BROKEN"),
        (json!({"Cmd": ["sh"], "User": "4294967295"}), "4294967295"),
        (json!({"Cmd": ["sh"], "User": "who"}), "who"),
        (json!({"Cmd": ["sh"], "Volumes": {"/a/../../b": {}}}), "Volumes"),
        (json!({"Cmd": ["sh"], "Labels": {"org.rcrun.x": "y"}}), "org.rcrun."),
        (json!({"Cmd": ["sh"], "StopSignal": "NOPE"}), "NOPE"),
        (json!({}), "neither Entrypoint nor Cmd"),
    ] {
        let node = require!(node_with(Image::busybox().config(|config| config["config"] = change.clone())));
        run(&node, &[], &[]).exits_with(125).explains(&[fragment, "app"]);
        nothing_is_left(&node);
    }
}

#[test]
fn a_volume_of_the_image_has_the_images_content_and_ends_with_the_container() {
    let mut file = super::fixtures::header(tar::EntryType::Regular, 0o4755);
    file.set_uid(1000);
    let layer = Layer::new().directory("data").entry(file, b"data/file", b"", b"content");
    let image = Image::busybox()
        .layer(layer, Packing::Plain)
        .config(|config| config["config"]["Volumes"] = json!({"/data": {}, "/new/one": {}}));
    let node = require!(node_with(image));
    script(&node, &["--read-only"], "stat -c '%a %u' /data/file; cat /data/file; echo x >/data/file; ls /new/one; touch /new/one/y; mount | grep -c -E ' /(data|new/one) '")
        .prints("4755 1000\ncontent2");
    script(&node, &[], "cat /data/file").prints("content");
    script(&node, &["-v", "/etc:/data:ro"], "test -e /data/passwd").success();
    nothing_is_left(&node);
}

#[test]
fn a_volume_does_not_cover_the_root_directory() {
    let layer = Layer::new().symlink("data", "/").symlink("up", "../../..");
    for path in ["/data", "/up", "/bin/../."] {
        let image = Image::busybox().layer(layer.clone(), Packing::Plain);
        let node =
            require!(node_with(image.config(|config| config["config"]["Volumes"] = json!({path: {}}))));
        run(&node, &[], &["true"]).exits_with(125).explains(&[path]);
        nothing_is_left(&node);
    }
}

#[test]
fn users_enter_a_root_that_no_layer_describes_whatever_the_umask() {
    let node = require!(node_with(Image::busybox()));
    let layout = node.file("layout");
    Image::busybox()
        .layer(Layer::new().file("a", "b"), Packing::Plain)
        .build()
        .write_layout(&layout, "app:2");
    let narrow = |words: &[&str]| {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(support::binary());
        shell.arg("--storage").arg(node.storage()).arg("--root").arg(node.state()).args(words);
        node.invocation(shell).wait()
    };
    narrow(&["load", "-q", "-i", layout.to_str().unwrap()]).success();
    narrow(&["run", "--rm", "-u", "1000", "app:2", "stat", "-c", "%a", "/", "/etc/hosts"]).prints("755\n644");
}

#[test]
fn an_image_of_many_layers_runs() {
    let mut image = Image::busybox();
    for number in 0..130 {
        image = image.layer(Layer::new().file(&format!("l/{number}"), "x"), Packing::Plain);
    }
    let node = require!(node_with(image));
    script(&node, &[], "ls /l | wc -l").prints("130");
}

#[test]
fn the_store_keeps_what_a_container_uses() {
    let node = require!(node_with(Image::busybox()));
    let id = node.marker();
    let running = node.rcrun(&["run", "--rm", "--name", id, "app", "sleep", "100"]).spawn();
    support::wait_for("the container", 10, || {
        node.rcrun(&["exec", id, "true"]).wait().status.success().then_some(())
    });
    node.rcrun(&["rmi", "app"]).wait();
    node.rcrun(&["image", "prune", "-a", "-f"]).wait();
    node.rcrun(&["exec", id, "cat", "/etc/passwd"]).wait().success();
    assert_eq!(node.stored("layers/sha256").len(), 1);
    node.rcrun(&["kill", id, "KILL"]).wait().success();
    running.wait().exits_with(137);
    let metadata = std::fs::metadata(node.storage().join("containers")).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o700);
}

#[test]
fn what_a_killed_rcrun_leaves_is_deleted_or_collected() {
    let node = require!(node_with(Image::busybox()));
    let id = node.marker();
    let start = || {
        let mut running =
            node.rcrun(&["run", "--rm", "--name", id, "app", "sh", "-c", "echo ready; sleep 100"]).spawn();
        running.wait_for_output("ready");
        running.signal(rustix::process::Signal::KILL);
        running.wait();
    };
    start();
    assert_eq!(node.stored("containers"), [id]);
    node.rcrun(&["delete", "--force", id]).wait().success();
    nothing_is_left(&node);
    start();
    // As after a reboot: nothing is left of the container but its files.
    let pid = node.rcrun(&["state", id]).wait().success().json()["pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    support::wait_for("the end", 10, || (!support::process_exists(pid.as_raw_nonzero().get())).then_some(()));
    let kept = node.file("kept");
    std::fs::rename(node.state().join(id), &kept).unwrap();
    run(&node, &["--name", id], &["true"]).success();
    nothing_is_left(&node);
    std::fs::rename(kept, node.state().join(id)).unwrap();
    node.rcrun(&["delete", id]).wait().success();
}

#[test]
fn a_missing_image_is_pulled_and_always_pulls_a_newer_one() {
    let node = require!(node_with(Image::busybox()));
    let registry = require!(Registry::start());
    node.insecure(&[registry.address()]);
    let version =
        |text: &str| Image::busybox().layer(Layer::new().file("version", text), Packing::Gzip).build();
    registry.push("team/app", "1", &version("one"));
    let name = registry.name("team/app:1");
    let read = |options: &[&str]| {
        let all = ["run", "--rm"].iter().chain(options).copied().chain([name.as_str(), "cat", "/version"]);
        node.rcrun(&all.collect::<Vec<_>>()).wait()
    };
    read(&["--pull", "never"]).exits_with(125).explains(&["not in the store"]);
    assert_eq!(read(&[]).success().stdout, "one");
    registry.push("team/app", "1", &version("two"));
    assert_eq!(read(&[]).success().stdout, "one");
    assert_eq!(read(&["--pull", "always"]).success().stdout, "two");
    node.rcrun(&["run", "--rm", &registry.name("team/none"), "true"]).wait().exits_with(125);
    node.verifies();
}

#[test]
fn paths_that_are_no_text_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let node = require!(node_with(Image::busybox()));
    let odd = node.file("").join(std::ffi::OsStr::from_bytes(b"odd\xff"));
    std::fs::create_dir(&odd).unwrap();
    let run = |words: &[&str]| node.rcrun(words).current_dir(&odd).wait();
    run(&["run", "--rm", "-v", ".:/v", "app", "true"]).exits_with(125).explains(&["odd", "not UTF-8"]);
    run(&["--root", "state", "run", "--rm", "app", "true"]).exits_with(125).explains(&["odd", "not UTF-8"]);
    run(&["run", "--rm", "app", "true"]).success();
    run(&["unpack", "app", "bundle"]).success();
    assert!(odd.join("bundle/config.json").exists());
    nothing_is_left(&node);
}
