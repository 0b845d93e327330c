//! `--dry-run` and `--timings`: the plan in words, and what each of its steps cost.

use std::fs;

use serde_json::Value;

use crate::support::busybox;

#[test]
fn a_dry_run_prints_one_line_a_step_and_does_nothing() {
    let bundle = busybox!().args(["sh", "-c", "echo never"]).bind("/etc", "/host etc", &["bind", "ro"]);
    bundle.write_config();
    let path = format!("{}/", bundle.path().display());
    let outcome = bundle.rcrun(&["run", "--dry-run", &path]).success();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    for fragment in [
        "clone3",
        "cgroup",
        "proc on /proc",
        "/dev/pts",
        "/host etc",
        "/dev/null",
        "pivot",
        "hostname rcrun",
        "capabilities",
        "execute sh",
    ] {
        assert!(lines.iter().any(|line| line.contains(fragment)), "no line with {fragment:?}: {outcome}");
    }
    let position = |fragment: &str| lines.iter().position(|line| line.contains(fragment)).expect("a line");
    assert!(position("clone3") < position("proc on /proc") && position("proc on /proc") < position("pivot"));
    assert!(position("pivot") < position("execute sh"));
    assert!(!outcome.stdout.contains("never\n") && lines.iter().all(|line| !line.is_empty()));
    assert!(!bundle.state_directory().exists());
    assert!(!bundle.rootfs().join("host etc").exists());
}

#[test]
fn a_dry_run_prints_json() {
    let bundle = busybox!();
    let text = bundle.run_with(&["--dry-run"]).success().stdout;
    let plan = bundle.run_with(&["--dry-run", "--format", "json"]).success().json();
    let steps = plan.as_array().or_else(|| plan["steps"].as_array()).expect("a list of steps");
    assert_eq!(steps.len(), text.lines().count(), "{plan:#}");
    for (step, line) in steps.iter().zip(text.lines()) {
        assert!(line.contains(step["step"].as_str().expect("a step in words")), "{step}: {line}");
        assert!(["parent", "child"].contains(&step["process"].as_str().expect("a process")), "{step}");
    }
}

#[test]
fn a_dry_run_refuses_what_a_run_refuses() {
    let bundle = busybox!().args(["true"]).set("/process/cwd", serde_json::json!("relative"));
    bundle.run_with(&["--dry-run"]).refused(&["process.cwd"]);
}

/// Names and microseconds of a table on stderr.
fn has_a_number(line: &str) -> bool {
    line.split_whitespace().any(|word| word.trim_end_matches("µs").parse::<f64>().is_ok())
}

#[test]
fn timings_are_printed_after_the_run() {
    let bundle = busybox!().args(["echo", "hello"]);
    let outcome = bundle.run_with(&["--timings"]).success();
    assert_eq!(outcome.stdout, "hello\n");
    for fragment in ["clone3", "proc on /proc", "pivot", "parent", "child"] {
        assert!(outcome.stderr.contains(fragment), "no {fragment:?}: {outcome}");
    }
    assert!(outcome.stderr.lines().filter(|line| has_a_number(line)).count() > 20, "{outcome}");
}

#[test]
fn timings_are_written_as_json() {
    let bundle = busybox!().args(["echo", "hello"]);
    let file = bundle.file("timings.json");
    let outcome = bundle.run_with(&[&format!("--timings={}", file.display())]).success();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("hello\n", ""));
    let timings: Value = serde_json::from_str(&fs::read_to_string(file).expect("the file")).expect("JSON");
    let text = timings.to_string();
    for fragment in ["clone3", "proc on /proc", "pivot", "parent", "child"] {
        assert!(text.contains(fragment), "no {fragment:?}: {timings:#}");
    }
}

#[test]
fn timings_keep_the_exit_status() {
    busybox!().script("exit 3").run_with(&["--timings"]).exits_with(3);
}
