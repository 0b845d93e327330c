//! The six hooks: when they run, where, with what, and what becomes of the container if they fail.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Bundle, busybox, wait_for};

const STAGES: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Hooks of all stages that append their name to a file, reachable from the container too.
fn recording(bundle: Bundle) -> (Bundle, std::path::PathBuf) {
    let directory = bundle.file("log");
    fs::create_dir(&directory).expect("mkdir");
    let (log, inside) = (directory.join("log"), "/log/log");
    let mut bundle = bundle.bind(&directory, "/log", &["bind"]);
    for stage in STAGES {
        // createContainer runs in the container's namespaces with the host's root, startContainer in its root.
        let file = if stage == "startContainer" { inside.into() } else { log.display().to_string() };
        bundle = bundle.hook(stage, &format!("echo {stage} >>'{file}'"));
    }
    (bundle.script("echo process >>/log/log"), log)
}

#[test]
fn hooks_run_in_the_order_of_the_specification() {
    let (bundle, log) = recording(busybox!());
    bundle.run().success();
    let text = fs::read_to_string(&log).expect("the log");
    let mut lines: Vec<&str> = text.lines().collect();
    // The process and poststart run side by side.
    let process = lines.iter().position(|line| *line == "process").expect("the process");
    assert!((4..=5).contains(&process), "{lines:?}");
    lines.remove(process);
    assert_eq!(lines, STAGES);
}

#[test]
fn hooks_run_at_their_command() {
    let (bundle, log) = recording(busybox!());
    let seen = || fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    bundle.create().success();
    assert_eq!(seen(), STAGES[..3]);
    bundle.start().success();
    wait_for("the process and poststart", 5, || (seen().len() == 6).then_some(()));
    bundle.wait_for_status("stopped");
    bundle.delete().success();
    assert_eq!(seen().last().map(String::as_str), Some("poststop"));
}

#[test]
fn several_hooks_of_a_stage_run_one_after_the_other() {
    let bundle = busybox!();
    let log = bundle.file("log");
    let mut bundle = bundle;
    for n in 1..=3 {
        bundle = bundle.hook("createRuntime", &format!("sleep 0.0{}; echo {n} >>'{}'", 4 - n, log.display()));
    }
    bundle.run().success();
    assert_eq!(fs::read_to_string(log).expect("the log"), "1\n2\n3\n");
}

/// What a hook of `stage` gets on stdin in a whole life.
#[track_caller]
fn state_given_to(stage: &str) -> Option<(Bundle, Value)> {
    let bundle = Bundle::busybox().map_err(|reason| crate::support::skip(&reason)).ok()?;
    let directory = bundle.file("log");
    fs::create_dir(&directory).expect("mkdir");
    let path = if stage == "startContainer" { "/log".into() } else { directory.display().to_string() };
    let bundle = bundle.bind(&directory, "/log", &["bind"]).hook(stage, &format!("cat >'{path}/state'"));
    let bundle = bundle.set("/annotations", json!({"key": "value"})).script("sleep 0.3");
    bundle.run().success();
    let text = fs::read_to_string(directory.join("state")).expect("the state");
    Some((bundle, serde_json::from_str(&text).expect("JSON")))
}

#[test]
fn every_hook_gets_the_state_on_stdin() {
    let expected = ["creating", "creating", "creating", "created", "running", "stopped"];
    for (stage, status) in STAGES.iter().zip(expected) {
        let Some((bundle, state)) = state_given_to(stage) else { return };
        assert_eq!(state["id"], bundle.id(), "{stage}");
        assert_eq!(state["bundle"], bundle.path().to_str().expect("UTF-8"), "{stage}");
        assert_eq!(state["annotations"], json!({"key": "value"}), "{stage}");
        assert!(state["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")), "{stage}: {state}");
        assert_eq!(state["status"], status, "{stage}");
        let pid = state["pid"].as_i64().unwrap_or(0);
        assert_eq!(pid > 0, *stage != "poststop", "{stage}: {state}");
    }
}

#[test]
fn hooks_run_in_the_namespaces_of_their_stage() {
    let own = fs::read_link("/proc/self/ns/mnt").expect("link").display().to_string();
    for stage in STAGES {
        let bundle = busybox!();
        let directory = bundle.file("log");
        fs::create_dir(&directory).expect("mkdir");
        let path = if stage == "startContainer" { "/log".into() } else { directory.display().to_string() };
        let bundle = bundle.bind(&directory, "/log", &["bind"]);
        let bundle = bundle.hook(stage, &format!("readlink /proc/self/ns/mnt >'{path}/namespace'"));
        bundle.run().success();
        let of_hook = fs::read_to_string(directory.join("namespace")).expect("the link");
        let in_container = ["createContainer", "startContainer"].contains(&stage);
        assert_eq!(of_hook.trim() != own, in_container, "{stage}");
    }
}

#[test]
fn a_hooks_arguments_and_environment_are_as_configured() {
    let bundle = busybox!();
    let log = bundle.file("log");
    let script = format!("(echo \"$0 $1\"; echo $WORD; echo \"[$OF_THE_HOST]\") >'{}'", log.display());
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script, "zero", "one"], "env": ["WORD=hello"]});
    let bundle = bundle.hook_object("createRuntime", hook);
    bundle.run_invocation(&[]).env("OF_THE_HOST", "x").wait().success();
    assert_eq!(fs::read_to_string(log).expect("the log"), "zero one\nhello\n[]\n");
}

#[test]
fn create_runtime_hooks_find_the_root_in_the_containers_mount_namespace() {
    let bundle = busybox!();
    let log = bundle.file("log");
    let rootfs = bundle.rootfs();
    // The pid is in the state: "pid": 123
    let script = format!(
        "pid=$(tr -d ' ,\"' | tr '{{}}' '\\n\\n' | grep -o 'pid:[0-9]*' | cut -d : -f 2); \
         [ -n \"$pid\" ] || pid=0; nsenter -t $pid -m ls '{}' >'{}' 2>&1 || true",
        rootfs.join("bin/busybox").display(),
        log.display()
    );
    let bundle = bundle.hook("createRuntime", &script);
    bundle.run().success();
    let seen = fs::read_to_string(log).expect("the log");
    assert!(seen.contains("bin/busybox") && !seen.contains("cannot access"), "{seen}");
}

#[test]
fn a_failing_hook_is_named_and_undoes_the_create() {
    for stage in &STAGES[..3] {
        let bundle = busybox!().hook(stage, "echo sorry >&2; exit 3");
        bundle.create().refused(&["hook", stage, "3", "sorry"]);
        bundle.leaves_nothing();
    }
}

#[test]
fn a_failing_start_container_hook_is_named_and_stops_the_container() {
    let bundle = busybox!().args(["echo", "never"]).hook("startContainer", "exit 3");
    bundle.run().refused(&["hook", "startContainer", "3"]);
    bundle.leaves_nothing();
}

#[test]
fn a_failing_poststart_hook_is_named() {
    let bundle = busybox!().script("sleep 100").hook("poststart", "exit 3");
    let outcome = bundle.run_with(&["--detach"]);
    outcome.refused(&["hook", "poststart", "3"]);
    bundle.delete_forced();
}

#[test]
fn a_failing_poststop_hook_is_a_warning_and_does_not_keep_the_container() {
    let bundle = busybox!().hook("poststop", "exit 3");
    let log = bundle.file("log");
    let bundle = bundle.global("--log").global(&log);
    bundle.run().success();
    let text = fs::read_to_string(log).expect("the log");
    assert!(text.contains("level=warn") && text.contains("poststop"), "{text}");
    bundle.leaves_nothing();
}

#[test]
fn a_hanging_hook_is_killed_after_its_timeout_and_named() {
    let hook = json!({"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1});
    for stage in &STAGES[..3] {
        let bundle = busybox!().hook_object(stage, hook.clone());
        bundle.create().refused(&["hook", stage, "1 s"]);
        bundle.leaves_nothing();
    }
    let inside = json!({"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1});
    let bundle = busybox!().hook_object("startContainer", inside);
    bundle.run().refused(&["hook", "startContainer", "1 s"]);
    bundle.leaves_nothing();
}

#[test]
fn children_of_a_hanging_hook_are_killed_too_or_harm_nothing() {
    let script = "sleep 1000 & sleep 1000";
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 1});
    let bundle = busybox!().hook_object("createRuntime", hook);
    bundle.create().refused(&["hook", "createRuntime", "1 s"]);
    for pid in bundle.traces().processes() {
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        // Gone meanwhile is fine.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

#[test]
fn a_hook_that_is_not_there_is_named() {
    let bundle = busybox!().hook_object("createRuntime", json!({"path": "/not/here"}));
    bundle.create().refused(&["hook", "createRuntime", "/not/here", "no such file"]);
    bundle.leaves_nothing();
}

#[test]
fn a_hook_with_a_relative_path_is_refused() {
    let bundle = busybox!().hook_object("createRuntime", json!({"path": "bin/true"}));
    bundle.create().refused(&["hooks.createRuntime", "bin/true", "absolute"]);
}

#[test]
fn a_hanging_poststop_hook_of_a_foreground_run_can_be_interrupted() {
    let bundle = busybox!().script("exit 3").hook("poststop", "echo > $OUT; sleep 1000");
    let mark = bundle.file("began");
    let bundle = bundle.edit(|config| {
        config["hooks"]["poststop"][0]["env"] = json!([format!("OUT={}", mark.display())]);
    });
    let running = bundle.run_invocation(&[]).spawn();
    wait_for("the hook", 10, || mark.exists().then_some(()));
    running.signal(rustix::process::Signal::TERM);
    running.wait().exits_with(3);
    bundle.leaves_nothing();
}

#[test]
fn a_container_whose_hook_hangs_is_busy_until_its_maker_is_ended() {
    let bundle = busybox!().script("sleep 1000").hook("createRuntime", "echo > $OUT; sleep 1000");
    let mark = bundle.file("began");
    let bundle = bundle.edit(|config| {
        config["hooks"]["createRuntime"][0]["env"] = json!([format!("OUT={}", mark.display())]);
    });
    bundle.write_config();
    let running = bundle.invocation(&bundle.bundle_command("create", &[])).spawn();
    wait_for("the hook", 10, || mark.exists().then_some(()));
    bundle.delete_forced().refused(&[bundle.id(), "held by another rcrun"]);
    running.signal(rustix::process::Signal::TERM);
    running.wait().refused(&["interrupted"]);
    bundle.leaves_nothing();
}

#[test]
fn the_status_of_a_run_is_told_though_its_deletion_hangs() {
    let bundle = busybox!().script("echo ready; sleep 1000");
    let (mark, go) = (bundle.file("began"), bundle.file("go"));
    let (began, until) = (mark.display(), go.display());
    let bundle =
        bundle.hook("poststop", &format!("echo > '{began}'; while ! [ -e '{until}' ]; do sleep 0.1; done"));
    let mut running = bundle.run_invocation(&[]).limit(60).spawn();
    running.wait_for_output("ready");
    let deleting = bundle.invocation(&["delete", "--force", bundle.id()]).limit(60).spawn();
    wait_for("the hook", 10, || mark.exists().then_some(()));
    let outcome = running.wait().exits_with(137);
    assert!(outcome.stderr.contains("is left to another rcrun"), "{outcome}");
    fs::write(go, "").expect("write");
    deleting.wait().success();
    bundle.leaves_nothing();
}
