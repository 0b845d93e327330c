//! What callers that were written for runc may rely on: its ways to write a flag, its statuses, and
//! the words that they look for in an error.

use serde_json::json;

use crate::support::busybox;

#[test]
fn flags_may_be_written_as_go_takes_them() {
    let bundle = busybox!().args(["sleep", "1000"]);
    bundle.write_config();
    let path = bundle.path();
    let directory = path.to_str().expect("UTF-8");
    let create = ["create", bundle.id(), "-bundle", "/nowhere", "--b", directory, "-no-pivot=false"];
    bundle.rcrun(&[&create[..], &["--console-socket", "", "--pid-file="]].concat()).success();
    assert_eq!(bundle.status(), "created");
    bundle.start().success();
    bundle.rcrun(&["list", "-quiet"]).prints(bundle.id());
    bundle.exec_with(&["-cwd", "/tmp", "-no-new-privs=false"], &["pwd"]).prints("/tmp");
    bundle.rcrun(&["delete", "-force=true", bundle.id()]).success();
}

#[test]
fn statuses_of_mistakes_are_those_of_runc() {
    let bundle = busybox!();
    for (args, status) in [
        (&["help", "create"][..], 0),
        (&["--v"], 0),
        (&["help", "nonsense"], 3),
        (&["nonsense"], 3),
        (&["exec"], 1),
        (&["create", "--bundle"], 1),
        (&["list", "--nonsense"], 1),
        (&["state", "nobody"], 1),
        (&["exec", "nobody", "true"], 255),
        (&["delete", "nobody"], 1),
        (&["delete", "--force", "nobody"], 0),
    ] {
        bundle.rcrun(args).exits_with(status);
    }
}

#[test]
fn a_stopped_container_is_called_not_running() {
    let bundle = busybox!().args(["true"]);
    bundle.run_with(&["--detach"]).success();
    bundle.wait_for_status("stopped");
    bundle.kill("TERM").refused(&["container not running"]);
    bundle.rcrun(&["kill", "--all", bundle.id(), ""]).success();
    bundle.delete().success();
    bundle.kill("TERM").refused(&["does not exist"]);
}

#[test]
fn errors_are_in_the_json_log_in_the_words_that_podman_and_docker_look_for() {
    let bundle = busybox!().args(["/bin/nope"]);
    let log = bundle.file("log.json");
    let bundle = bundle.global("--log").global(&log).global("--log-format").global("json");
    bundle.run().exits_with(1);
    let bundle = bundle.set("/process/args", json!(["nope"]));
    bundle.run().exits_with(1);
    let bundle = bundle.set("/process/args", json!(["/etc"]));
    bundle.run().exits_with(1);
    let text = std::fs::read_to_string(&log).expect("the log");
    let entries: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let words = ["no such file or directory", "executable file not found in $PATH", "permission denied"];
    assert_eq!(entries.len(), words.len(), "{text}");
    for (entry, words) in entries.iter().zip(words) {
        assert_eq!(entry["level"], "error", "{entry}");
        assert!(entry["time"].is_string(), "{entry}");
        // In small letters: docker looks for these alone.
        assert!(entry["msg"].as_str().expect("a message").contains(words), "{entry}");
    }
}
