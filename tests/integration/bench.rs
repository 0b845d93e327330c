//! bench: figures for any bundle and any runtime, and nothing left afterwards.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::support::{Bundle, Outcome, binary, busybox, cgroup_of, wait_for};

/// `bench`, on the bundle, with these options.
fn bench(bundle: &Bundle, options: &[&str]) -> Outcome {
    bundle.write_config();
    let path = bundle.path();
    let words = [&["bench", path.to_str().expect("UTF-8")], options].concat();
    bundle.invocation(&words).limit(120).wait()
}

/// A program that is called like a runtime.
fn runtime(bundle: &Bundle, name: &str, script: &str) -> String {
    bundle.make_program("../runtime", format!("#!/bin/sh\n{script}\n").as_bytes(), 0o755);
    let path = bundle.file(name);
    fs::rename(bundle.path().join("runtime"), &path).expect("rename");
    path.to_str().expect("UTF-8").to_owned()
}

/// Directories of state that a benchmark has left.
fn left(bundle: &Bundle) -> Vec<PathBuf> {
    let root = bundle.state_directory();
    let entries = fs::read_dir(root.parent().expect("a parent")).expect("read the test's directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.to_string_lossy().contains("-bench-")).collect()
}

#[test]
fn figures_of_two_runtimes_are_side_by_side() {
    let bundle = busybox!();
    let calls = bundle.file("calls");
    let script = format!("echo \"$@\" >>{}; exec '{}' \"$@\"", calls.display(), binary().display());
    let other = runtime(&bundle, "other", &script);
    let options = ["--runtime", &other, "--count", "5", "--parallel", "2", "--format", "json"];
    let report = bench(&bundle, &options).success().json();
    let rows = report["rows"].as_array().expect("rows");
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["rcrun", "other"]);
    for (row, samples) in rows.iter().zip(report["wall_ms"].as_array().expect("samples")) {
        assert_eq!((&row["samples"], samples.as_array().map(Vec::len)), (&10.into(), Some(10)));
        let figures = [&row["wall_ms"]["median"], &row["system_ms"], &row["peak_kib"]];
        assert!(figures.iter().all(|figure| figure.as_f64().expect("a number") >= 0.0), "{row:#}");
        // Below zero where the machine had other things to do while `true` ran.
        assert!(row["less_true_ms"].is_number(), "{row:#}");
        assert!(row["wall_ms"]["median"].as_f64() > row["less_true_ms"].as_f64(), "{row:#}");
        assert!(row["wall_ms"]["p99"].is_null(), "of 10 samples: {row:#}");
    }
    assert_eq!(rows[0]["ratios"]["wall"], 1.0);
    // Two turns to warm up and five that count, two containers each, and no id twice.
    let calls = fs::read_to_string(calls).expect("the calls");
    let mut ids: Vec<_> = calls.lines().map(|line| line.rsplit(' ').next().expect("an id")).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((calls.lines().count(), ids.len()), (14, 14), "{calls}");
    assert_eq!(left(&bundle), [] as [PathBuf; 0]);
    // cargo's development build is many times as large.
    if std::env::var_os("RCRUN").is_some() {
        let peak = report["spawner_peak_kib"].as_u64().expect("a number");
        assert!((1..2048).contains(&peak), "{peak} KiB");
    }
}

#[test]
fn a_table_is_for_people() {
    let bundle = busybox!();
    let text = bench(&bundle, &["--count", "2"]).success().stdout;
    let mut lines = text.lines();
    assert!(lines.next().is_some_and(|line| line.contains("wall") && line.contains("peak")), "{text}");
    assert!(
        lines.next().is_some_and(|line| line.starts_with("rcrun  2 ") && line.contains("(1.00)")),
        "{text}"
    );
    assert!(lines.next().is_some_and(|line| line.starts_with("true alone: ")), "{text}");
    assert!(lines.next().is_some_and(|line| line.contains("processors, load")), "{text}");
}

#[test]
fn a_runtime_that_fails_is_named_with_what_it_said() {
    let bundle = busybox!();
    let deleted = bundle.file("deleted");
    let script = format!(
        "case $3 in delete) echo \"$@\" >{}; exit 0;; esac\necho 'no such feature' >&2; echo more >&2; exit 5",
        deleted.display()
    );
    let other = runtime(&bundle, "other", &script);
    let outcome = bench(&bundle, &["--runtime", &other]);
    outcome.refused(&[&other, "run --bundle", "failed: exit status 5: no such feature"]);
    let deleted = fs::read_to_string(deleted).expect("the call of delete");
    assert!(deleted.contains("delete --force bench-"), "{deleted}");
    assert_eq!(left(&bundle), [] as [PathBuf; 0]);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let bundle = busybox!();
    bench(&bundle, &["--runtime", "no-such-runtime"]).refused(&["no-such-runtime", "$PATH"]);
    bench(&bundle, &["--runtime", "/nowhere/crun"]).refused(&["start /nowhere/crun: No such file"]);
    bench(&bundle, &["--count", "0"]).refused(&["--count", "0"]);
    let bundle = bundle.args(["false"]);
    bench(&bundle, &[]).refused(&["rcrun", "exit status 1"]);
    let bundle = bundle.set("/process/terminal", true.into());
    bench(&bundle, &[]).refused(&["config.json", "process.terminal", "false"]);
    assert_eq!(left(&bundle), [] as [PathBuf; 0]);
}

#[test]
fn a_bundle_may_be_called_like_a_command() {
    let bundle = busybox!().in_directory("run");
    bundle.write_config();
    let path = bundle.path();
    let invocation = bundle.invocation(&["bench", "run", "--count", "1"]);
    let text = invocation.current_dir(path.parent().expect("a parent")).limit(60).wait().success().stdout;
    assert!(text.contains("\nrcrun  1 "), "{text}");
}

#[test]
fn a_user_measures_without_root() {
    let bundle = match busybox!().rootless() {
        Ok(bundle) => bundle,
        Err(reason) => return crate::support::skip(&reason),
    };
    let report = bench(&bundle, &["--count", "1", "--format", "json"]).success().json();
    assert_eq!(report["rows"][0]["samples"], 1, "{report:#}");
    assert_eq!(left(&bundle), [] as [PathBuf; 0]);
}

#[test]
fn a_runtime_that_hangs_is_killed() {
    let bundle = busybox!().args(["sleep", "1000"]);
    // Enough for what does not hang, `true` and delete.
    let outcome = bench(&bundle, &["--timeout", "10"]);
    outcome.refused(&["run --bundle", "has not ended after 10 s and was killed"]);
    // Dropping the bundle sees that the container is gone, too.
}

#[test]
fn a_signal_ends_it_and_its_containers() {
    let bundle = busybox!().args(["sleep", "1000"]);
    bundle.write_config();
    let path = bundle.path();
    let running = bundle.invocation(&["bench", path.to_str().expect("UTF-8")]).limit(60).spawn();
    let program =
        |pid: &i32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.starts_with(b"sleep\0"));
    let pid = wait_for("the container", 15, || bundle.traces().processes().into_iter().find(program));
    let cgroup = cgroup_of(pid);
    assert!(cgroup.to_string_lossy().contains("bench-"), "{}", cgroup.display());
    running.signal(Signal::TERM);
    running.wait().refused(&["ended by signal 15"]);
    assert!(!cgroup.exists(), "{}", cgroup.display());
    assert_eq!(left(&bundle), [] as [PathBuf; 0]);
}
