//! What `ctr run` gives a container.

use super::*;

#[test]
fn run_passes_output_and_exit_status_on() {
    let containerd = require!(Containerd::new());
    let outcome = containerd.run(&[], &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((outcome.code(), &*outcome.stdout, &*outcome.stderr), (7, "out\n", "err\n"), "{outcome}");
    containerd.run(&[], &["true"]).prints("");
}

#[test]
fn environment_and_working_directory_are_those_asked_for() {
    let containerd = require!(Containerd::new());
    let options = ["--env", "WORD=hello", "--cwd", "/var/tmp"];
    containerd.run(&options, &["sh", "-c", "echo $WORD $FROM $PWD"]).prints("hello image /var/tmp");
    // A directory that is not there is made.
    containerd.run(&["--cwd", "/new/directory"], &["pwd"]).prints("/new/directory");
}

#[test]
fn the_user_is_that_of_the_image() {
    let containerd = require!(Containerd::new());
    let image = "localhost/busybox:user";
    containerd.import(image, &json!({"Env": ["PATH=/bin"], "User": "user"}));
    let args = ["run", "--rm", "--runc-binary", RCRUN, image, "one", "sh", "-c", "id -u; id -g"];
    containerd.ctr(&args).prints("1000\n1000");
}

#[test]
fn a_directory_of_the_host_is_mounted_with_its_options() {
    let containerd = require!(Containerd::new());
    containerd.daemon.view.write("/run/data/word", "hello\n");
    let read_only = "type=bind,src=/run/data,dst=/data,options=rbind:ro";
    let script = "cat /data/word; echo other >/data/word";
    let outcome = containerd.run(&["--mount", read_only], &["sh", "-c", script]).exits_with(1);
    assert_eq!(outcome.stdout, "hello\n", "{outcome}");
    assert!(outcome.stderr.contains("Read-only file system"), "{outcome}");
    let writable = "type=bind,src=/run/data,dst=/data,options=rbind:rw";
    containerd.run(&["--mount", writable], &["sh", "-c", "echo other >/data/word"]).success();
    assert_eq!(containerd.daemon.view.read("/run/data/word"), "other\n");
}

#[test]
fn a_root_file_system_can_be_read_only() {
    let containerd = require!(Containerd::new());
    containerd.run(&[], &["touch", "/file"]).success();
    let outcome = containerd.run(&["--read-only"], &["touch", "/file"]).exits_with(1);
    assert!(outcome.stderr.contains("Read-only file system"), "{outcome}");
}

#[test]
fn containerds_seccomp_profile_is_applied() {
    let containerd = require!(Containerd::new());
    let script = "grep Seccomp: /proc/self/status; hostname other";
    let outcome = containerd.run(&["--seccomp", "--cap-add", "CAP_SYS_ADMIN"], &["sh", "-c", script]);
    assert_eq!(outcome.stdout, "Seccomp:\t2\n", "{outcome}");
    outcome.success();
    containerd.run(&[], &["grep", "Seccomp:", "/proc/self/status"]).prints("Seccomp:\t0");
}

#[test]
fn run_on_a_terminal() {
    let containerd = require!(Containerd::new());
    let (mut pty, slave) = Pty::open();
    pty.resize(33, 99);
    let script = format!("tty; {SIZE}; read word; echo got $word; exit 5");
    let run = containerd.run_command(&["--rm", "--tty"], "one", &["sh", "-c", &script]);
    let run = run.on_terminal(&slave).spawn();
    drop(slave);
    let shown = pty.wait_for("/dev/pts/0");
    assert!(!shown.contains("not a tty"), "{shown}");
    pty.wait_for("33 99");
    pty.write("hello\n");
    pty.wait_for("got hello");
    run.wait().exits_with(5);
}

#[test]
fn a_missing_executable_is_named() {
    let containerd = require!(Containerd::new());
    let outcome = containerd.run(&[], &["nope"]).exits_with(1);
    assert!(outcome.stderr.contains("exec \"nope\": executable file not found in $PATH"), "{outcome}");
    let outcome = containerd.run(&[], &["/bin/nope"]).exits_with(1);
    assert!(outcome.stderr.contains("exec \"/bin/nope\": no such file or directory"), "{outcome}");
    containerd.run_detached("one", "sleep 1000");
    let outcome = containerd.exec(&[], "one", &["nope"]).exits_with(1);
    assert!(outcome.stderr.contains("exec \"nope\": executable file not found in $PATH"), "{outcome}");
    assert_eq!(containerd.status("one"), "RUNNING");
    containerd.end("one");
}

#[test]
fn two_run_at_once() {
    let containerd = require!(Containerd::new());
    let script = |mine: &str, other: &str| {
        format!("touch /data/{mine}; while [ ! -e /data/{other} ]; do sleep 0.1; done; echo {mine}")
    };
    containerd.daemon.view.write("/run/data/word", "");
    let mount = ["--rm", "--mount", "type=bind,src=/run/data,dst=/data,options=rbind:rw"];
    let [one, two] = [("one", "two"), ("two", "one")].map(|(mine, other)| {
        containerd.run_command(&mount, mine, &["sh", "-c", &script(mine, other)]).spawn()
    });
    one.wait().prints("one");
    two.wait().prints("two");
}
