//! `rcrun exec`: one more process in a running container.

use std::fs;

use serde_json::json;

use crate::support::{Bundle, busybox, cgroup_of, process_exists, process_status_field, wait_for};

fn sleeping(bundle: Bundle) -> Bundle {
    let bundle = bundle.script("sleep 1000");
    bundle.run_detached();
    bundle
}

#[test]
fn a_process_joins_every_namespace_of_the_container() {
    let bundle = sleeping(busybox!());
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "uts", "user"];
    let pid = bundle.pid();
    let expected: Vec<String> = kinds
        .iter()
        .map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("link").display().to_string())
        .collect();
    let script = format!("for kind in {}; do readlink /proc/self/ns/$kind; done", kinds.join(" "));
    bundle.exec(&["sh", "-c", &script]).prints(&expected.join("\n"));
    bundle.exec(&["pwd"]).prints("/");
    bundle.delete_forced().success();
}

#[test]
fn a_process_is_in_the_containers_cgroup() {
    let bundle = sleeping(busybox!());
    bundle.exec(&["cat", "/proc/self/cgroup"]).success();
    let file = bundle.file("pid");
    bundle
        .exec_with(&["--detach", "--pid-file", file.to_str().expect("UTF-8")], &["sleep", "1000"])
        .success();
    let pid: i32 = fs::read_to_string(&file).expect("the pid file").parse().expect("a pid");
    assert!(process_exists(pid));
    assert_eq!(cgroup_of(pid), cgroup_of(bundle.pid()));
    bundle.delete_forced().success();
    assert!(!process_exists(pid));
}

#[test]
fn the_exit_status_and_streams_are_those_of_the_process() {
    let bundle = sleeping(busybox!());
    let outcome = bundle.exec(&["sh", "-c", "echo out; echo err >&2; exit 5"]).exits_with(5);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\n", "err\n"));
    bundle.exec(&["sh", "-c", "kill -KILL $$"]).exits_with(137);
    bundle.invocation(&["exec", bundle.id(), "cat"]).stdin("word\n").wait().prints("word");
    bundle.delete_forced().success();
}

#[test]
fn words_after_the_id_belong_to_the_program() {
    let bundle = sleeping(busybox!());
    bundle.exec(&["echo", "-x", "--cwd", "/tmp", "--", "-u"]).prints("-x --cwd /tmp -- -u");
    bundle.delete_forced().success();
}

#[test]
fn cwd_env_and_user_are_set_by_flags() {
    let bundle = sleeping(busybox!());
    let options = ["--cwd", "/tmp", "--env", "A=one", "--env", "B=two words", "--user", "1000:1001"];
    let script = "pwd; echo $A; echo $B; echo $TERM; id -u; id -g; id -G";
    let outcome = bundle.exec_with(&options, &["sh", "-c", script]);
    outcome.prints("/tmp\none\ntwo words\nxterm\n1000\n1001\n1001");
    let options = ["-u", "1000", "-g", "7", "-g", "8"];
    let outcome = bundle.exec_with(&options, &["sh", "-c", "id -u; id -G"]).success();
    let groups: Vec<&str> = outcome.stdout.lines().nth(1).expect("a line").split(' ').collect();
    assert!(
        outcome.stdout.starts_with("1000\n") && groups.contains(&"7") && groups.contains(&"8"),
        "{outcome}"
    );
    bundle.delete_forced().success();
}

#[test]
fn a_missing_working_directory_of_exec_is_refused_or_made() {
    let bundle = sleeping(busybox!().writable());
    let outcome = bundle.exec_with(&["--cwd", "/not/here"], &["pwd"]);
    match outcome.status.success() {
        true => assert_eq!(outcome.stdout, "/not/here\n"),
        false => drop(outcome.exits_with(255).explains(&["/not/here", "no such file"])),
    }
    bundle.delete_forced().success();
}

#[test]
fn capabilities_are_added_by_flag() {
    let bundle = sleeping(busybox!());
    let effective = |options: &[&str]| {
        let outcome = bundle.exec_with(options, &["grep", "CapEff", "/proc/self/status"]).success();
        u64::from_str_radix(outcome.stdout.trim_start_matches("CapEff:").trim(), 16).expect("a mask")
    };
    let default = effective(&[]);
    assert_eq!(default, 1 << 29 | 1 << 5 | 1 << 10, "{default:x}");
    // CAP_NET_ADMIN is 12.
    assert_eq!(effective(&["--cap", "CAP_NET_ADMIN"]), default | 1 << 12);
    bundle.delete_forced().success();
}

#[test]
fn a_whole_process_is_taken_from_a_file() {
    let bundle = sleeping(busybox!());
    let file = bundle.file("process.json");
    let process = json!({
        "args": ["sh", "-c", "pwd; echo $WORD; id -u; umask"],
        "cwd": "/tmp",
        "env": ["PATH=/bin", "WORD=hello"],
        "user": {"uid": 12, "gid": 13, "umask": 0o27},
    });
    fs::write(&file, process.to_string()).expect("write");
    let command = ["exec", "--process", file.to_str().expect("UTF-8"), bundle.id()];
    bundle.rcrun(&command).prints("/tmp\nhello\n12\n0027");
    bundle.delete_forced().success();
}

#[test]
fn no_new_privileges_can_be_asked_for() {
    let bundle = sleeping(busybox!().set("/process/noNewPrivileges", json!(false)));
    bundle.exec(&["grep", "NoNewPrivs", "/proc/self/status"]).prints("NoNewPrivs:\t0");
    bundle
        .exec_with(&["--no-new-privs"], &["grep", "NoNewPrivs", "/proc/self/status"])
        .prints("NoNewPrivs:\t1");
    bundle.delete_forced().success();
}

#[test]
fn a_detached_process_runs_on() {
    let bundle = sleeping(busybox!());
    let file = bundle.file("pid");
    let options = ["--detach", "--pid-file", file.to_str().expect("UTF-8")];
    bundle.exec_with(&options, &["sleep", "1000"]).success();
    let pid: i32 = fs::read_to_string(&file).expect("the pid file").parse().expect("a pid");
    assert_ne!(pid, bundle.pid());
    // execve(2) closes what rcrun waits for before it gives the process its new name.
    wait_for("the program's name", 5, || (process_status_field(pid, "Name") == "sleep").then_some(()));
    bundle.delete_forced().success();
}

#[test]
fn many_run_at_the_same_time() {
    let bundle = sleeping(busybox!());
    let running: Vec<_> = (0..8)
        .map(|n| {
            bundle.invocation(&["exec", bundle.id(), "sh", "-c", &format!("sleep 0.2; exit {n}")]).spawn()
        })
        .collect();
    for (n, one) in running.into_iter().enumerate() {
        one.wait().exits_with(n as i32);
    }
    bundle.delete_forced().success();
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let bundle = sleeping(busybox!());
    bundle.exec(&["nope"]).exits_with(255).explains(&["nope", "PATH"]);
    bundle.exec(&["/etc/passwd"]).exits_with(255).explains(&["/etc/passwd", "permission denied"]);
    assert_eq!(bundle.status(), "running");
    bundle.delete_forced().success();
}

#[test]
fn only_a_running_container_takes_a_process() {
    let bundle = busybox!().script("sleep 1000");
    bundle.exec(&["true"]).exits_with(255).explains(&[bundle.id(), "does not exist"]);
    bundle.run_detached();
    bundle.kill("KILL").success();
    bundle.wait_for_status("stopped");
    bundle.exec(&["true"]).exits_with(255).explains(&[bundle.id(), "stopped"]);
    bundle.delete().success();
}

#[test]
fn a_paused_container_takes_no_process_unless_asked() {
    let bundle = sleeping(busybox!());
    bundle.rcrun(&["pause", bundle.id()]).success();
    bundle.exec(&["true"]).exits_with(255).explains(&[bundle.id(), "paused"]);
    let running = bundle.invocation(&["exec", "--ignore-paused", bundle.id(), "echo", "hello"]).spawn();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(running.stdout(), "");
    bundle.rcrun(&["resume", bundle.id()]).success();
    running.wait().prints("hello");
    bundle.delete_forced().success();
}

#[test]
fn a_process_of_a_user_namespace_gets_ids_of_its_mapping() {
    let bundle = sleeping(busybox!().user_namespace());
    bundle.exec(&["id", "-u"]).prints("0");
    let file = bundle.file("pid");
    let options = ["--detach", "--user", "5:6", "--pid-file", file.to_str().expect("UTF-8")];
    bundle.exec_with(&options, &["sleep", "1000"]).success();
    let pid: i32 = fs::read_to_string(&file).expect("the pid file").parse().expect("a pid");
    assert!(process_status_field(pid, "Uid").starts_with("100005\t"));
    assert!(process_status_field(pid, "Gid").starts_with("100006\t"));
    bundle.delete_forced().success();
}

#[test]
fn signals_are_forwarded_to_the_executed_process() {
    let bundle = sleeping(busybox!());
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done";
    let mut running = bundle.invocation(&["exec", bundle.id(), "sh", "-c", script]).spawn();
    running.wait_for_output("ready");
    running.signal(rustix::process::Signal::TERM);
    running.wait().exits_with(7);
    wait_for("one process", 5, || {
        (bundle.rcrun(&["ps", "--format", "json", bundle.id()]).json().as_array()?.len() == 1).then_some(())
    });
    bundle.delete_forced().success();
}

#[test]
fn a_variable_of_exec_replaces_the_containers() {
    let bundle = busybox!().script("sleep 100").set("/process/env", json!(["PATH=/bin", "WORD=old"]));
    bundle.run_detached();
    let outcome = bundle.exec_with(&["--env", "WORD=new"], &["cat", "/proc/self/environ"]);
    let words: Vec<_> = outcome.stdout.split('\0').filter(|word| word.starts_with("WORD")).collect();
    assert_eq!(words, ["WORD=new"]);
    bundle.delete_forced().success();
}
