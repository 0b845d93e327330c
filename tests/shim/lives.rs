//! A container's life under a shim: it starts, writes, is signalled, ends.

use serde_json::json;

use crate::bundle::script;

#[test]
fn a_container_runs_writes_its_log_and_leaves_its_exit_code() {
    let bundle = script!("echo hello; echo oops >&2; printf tail; exit 7");
    let exit = bundle.run();
    assert_eq!(exit.code, Some(7));
    assert!(exit.started > 0 && exit.finished >= exit.started && !exit.oom_killed, "{exit:?}");
    let mut lines = bundle.log();
    lines.sort();
    assert_eq!(lines, ["stderr F oops", "stdout F hello", "stdout F tail"]);
}

#[test]
fn a_signal_is_an_exit_code_above_128() {
    let bundle = script!("sleep 1000");
    let started = bundle.launch();
    assert!(std::path::Path::new(&format!("/proc/{}", started.pid)).exists());
    assert_eq!(bundle.kill().code, Some(137));
}

#[test]
fn a_signal_can_be_handled() {
    let bundle = script!("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    bundle.launch();
    crate::bundle::wait_for("ready", || bundle.log().contains(&"stdout F ready".into()).then_some(()));
    let mut watch = bundle.monitor().watch().unwrap();
    bundle.monitor().kill(15, false).unwrap();
    assert_eq!(bundle.end(&mut watch).code, Some(3));
    assert_eq!(bundle.log(), ["stdout F ready", "stdout F bye"]);
}

#[test]
fn a_program_that_is_missing_is_an_error_and_leaves_nothing() {
    let bundle = script!("").set("/process/args", json!(["/bin/nothing-here"]));
    let error = bundle.try_launch().unwrap_err().to_string();
    assert_eq!(error, "exec \"/bin/nothing-here\": no such file or directory");
    assert!(!bundle.settings.bundle.join("shim.json").exists());
    assert!(!bundle.settings.run.exists());
}

#[test]
fn what_the_first_process_leaves_behind_ends_with_it_and_is_heard() {
    let bundle = script!("(trap '' HUP; while :; do echo still; sleep 0.02; done) & sleep 0.1; exit 4")
        .set("/linux/namespaces", json!([{"type": "mount"}, {"type": "uts"}, {"type": "ipc"}]));
    assert_eq!(bundle.run().code, Some(4));
    assert!(bundle.log().contains(&"stdout F still".into()));
}
