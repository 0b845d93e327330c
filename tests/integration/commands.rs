//! spec, features, version, help: commands without a container.

use std::fs;

use serde_json::json;

use crate::support::busybox;

#[test]
fn spec_writes_a_configuration_that_runs() {
    let bundle = busybox!();
    let path = bundle.path();
    bundle.invocation(&["spec"]).current_dir(&path).wait().prints("");
    let text = fs::read_to_string(path.join("config.json")).expect("config.json");
    let config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&config["process"]["args"], &config["process"]["terminal"]), (&json!(["sh"]), &json!(true)));
    assert_eq!(config["root"], json!({"path": "rootfs", "readonly": true}));
    // As it is, but for the terminal that a test has not.
    fs::write(path.join("config.json"), text.replace("\"terminal\": true", "\"terminal\": false"))
        .expect("write");
    let invocation = bundle.invocation(&["run", bundle.id()]).current_dir(&path);
    invocation.stdin("echo $0 $$; hostname").wait().prints("sh 1\nrcrun");
}

#[test]
fn spec_does_not_overwrite() {
    let bundle = busybox!();
    bundle.write_config();
    let before = fs::read_to_string(bundle.path().join("config.json")).expect("config.json");
    let path = bundle.path();
    let outcome = bundle.rcrun(&["spec", "--bundle", path.to_str().expect("UTF-8")]);
    outcome.refused(&["config.json", "exists"]);
    assert_eq!(fs::read_to_string(bundle.path().join("config.json")).expect("config.json"), before);
}

#[test]
fn a_rootless_spec_has_a_user_namespace() {
    let bundle = busybox!();
    let path = bundle.path();
    bundle.rcrun(&["spec", "--rootless", "--bundle", path.to_str().expect("UTF-8")]).success();
    let text = fs::read_to_string(path.join("config.json")).expect("config.json");
    let config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let namespaces = config["linux"]["namespaces"].as_array().expect("namespaces");
    assert!(namespaces.contains(&json!({"type": "user"})), "{config:#}");
    assert_eq!(config["linux"]["uidMappings"][0]["containerID"], 0);
    fs::write(path.join("config.json"), text.replace("\"terminal\": true", "\"terminal\": false"))
        .expect("write");
    let invocation = bundle.invocation(&["run", bundle.id()]).current_dir(&path);
    invocation.stdin("id -u").wait().prints("0");
}

#[test]
fn features_names_what_is_implemented() {
    let bundle = busybox!();
    let features = bundle.rcrun(&["features"]).success().json();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert!(features["ociVersionMax"].as_str().is_some_and(|v| v.starts_with("1.")), "{features:#}");
    let hooks =
        json!(["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]);
    assert_eq!(features["hooks"], hooks);
    assert_eq!(features["linux"]["cgroup"]["v2"], true);
    assert_eq!(features["linux"]["cgroup"]["v1"], false);
    for option in ["ro", "rbind", "nosuid", "rro"] {
        assert!(features["mountOptions"].as_array().expect("options").contains(&json!(option)), "{option}");
    }
}

#[test]
fn every_mount_option_of_features_is_taken() {
    let bundle = busybox!();
    let features = bundle.rcrun(&["features"]).success().json();
    for option in features["mountOptions"].as_array().expect("options") {
        let option = option.as_str().expect("a name");
        let bundle = busybox!().mount("/mnt", "tmpfs", bundle.rootfs(), &[option]);
        let outcome = bundle.run();
        // Some make no sense on a new tmpfs, but none is unknown.
        assert!(outcome.status.success() || !outcome.stderr.contains("unknown"), "{option}: {outcome}");
    }
}

#[test]
fn version_prints_what_callers_parse() {
    let bundle = busybox!();
    let text = bundle.rcrun(&["--version"]).success().stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("rcrun version ") && lines[1].starts_with("spec: 1."), "{text}");
    assert_eq!(bundle.rcrun(&["version"]).success().stdout, text);
    assert_eq!(bundle.rcrun(&["-v"]).success().stdout, text);
}

#[test]
fn help_lists_every_command() {
    let bundle = busybox!();
    let text = bundle.rcrun(&["--help"]).success().stdout;
    for command in [
        "create",
        "start",
        "state",
        "kill",
        "delete",
        "exec",
        "list",
        "ps",
        "pause",
        "resume",
        "update",
        "events",
        "spec",
        "features",
        "version",
        "run",
        "checkpoint",
        "restore",
        "bench",
    ] {
        assert!(text.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {text}");
        let help = bundle.rcrun(&[command, "--help"]).success().stdout;
        assert!(help.contains("Usage: rcrun") || help.contains("not supported"), "{command}: {help}");
    }
}

#[test]
fn global_options_are_taken_before_the_command() {
    let bundle = busybox!().args(["echo", "hello"]);
    let mut bundle = bundle;
    for option in ["--log-level", "warning", "--rootless", "false", "--log-format", "text"] {
        bundle = bundle.global(option);
    }
    bundle.run().prints("hello");
}
