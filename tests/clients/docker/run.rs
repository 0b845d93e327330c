//! What `docker run` gives a container.

use super::*;

#[test]
fn run_passes_output_and_exit_status_on() {
    let docker = require!(Docker::without_network());
    let outcome = docker.run(&[], &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((outcome.code(), &*outcome.stdout, &*outcome.stderr), (7, "out\n", "err\n"), "{outcome}");
    let options = ["--env", "WORD=hello", "--workdir", "/var/tmp", "--user", "user"];
    docker.run(&options, &["sh", "-c", "echo $WORD $FROM $PWD; id -u"]).prints("hello image /var/tmp\n1000");
}

#[test]
fn run_on_a_terminal() {
    let docker = require!(Docker::without_network());
    let (mut pty, slave) = Pty::open();
    pty.resize(33, 99);
    let script = "tty; until stty size | grep '33 99'; do sleep 0.1; done; read word; echo got $word; exit 5";
    let run = docker.run_command(&["--rm", "--interactive", "--tty"], &["sh", "-c", script]);
    let run = run.on_terminal(&slave).spawn();
    drop(slave);
    pty.wait_for("/dev/pts/0");
    pty.wait_for("33 99");
    pty.write("hello\n");
    pty.wait_for("got hello");
    run.wait().exits_with(5);
}

#[test]
fn a_missing_and_a_forbidden_executable_have_their_exit_statuses() {
    let docker = require!(Docker::without_network());
    for (program, status, words) in [
        ("nope", 127, "exec \"nope\": executable file not found in $PATH"),
        ("/bin/nope", 127, "exec \"/bin/nope\": no such file or directory"),
        ("/etc", 126, "exec \"/etc\": permission denied"),
    ] {
        let outcome = docker.run(&[], &[program]).exits_with(status);
        assert!(outcome.stderr.contains(words), "{outcome}");
    }
    docker.run_detached(&[], "sleep 1000");
    let outcome = docker.docker(&["exec", "one", "nope"]).exits_with(126);
    assert!(outcome.stdout.contains("executable file not found in $PATH"), "{outcome}");
    docker.remove();
}

#[test]
fn mounts_and_a_read_only_root_are_as_asked_for() {
    let docker = require!(Docker::without_network());
    docker.daemon.view.write("/run/data/word", "hello\n");
    let options = ["--read-only", "--volume", "/run/data:/data:ro", "--tmpfs", "/scratch"];
    let script = "cat /data/word; touch /scratch/file && touch /file || touch /data/file";
    let outcome = docker.run(&options, &["sh", "-c", script]).exits_with(1);
    assert_eq!(outcome.stdout, "hello\n", "{outcome}");
    assert_eq!(outcome.stderr.matches("Read-only file system").count(), 2, "{outcome}");
}

#[test]
fn an_init_of_dockers_reaps() {
    let docker = require!(Docker::without_network());
    docker.run(&["--init"], &["cat", "/proc/1/comm"]).prints("docker-init");
}

#[test]
fn containers_reach_each_other_and_the_host_over_a_network() {
    let docker = require!(Docker::new());
    docker.run_detached(&[], "while :; do echo hello | nc -l -p 80; done");
    let address = docker.inspect("/NetworkSettings/IPAddress");
    let address = address.as_str().expect("an address");
    // A server whose `echo` is late hears the end of our input first, and says nothing.
    let ask = |address: &str| format!("until nc {address} 80 </dev/null | grep hello; do sleep 0.1; done");
    docker.run(&[], &["sh", "-c", &ask(address)]).prints("hello");
    docker.run(&["--network", "container:one"], &["sh", "-c", &ask("127.0.0.1")]).prints("hello");
    docker.daemon.view.run(&["busybox", "sh", "-c", &ask(address)]).prints("hello");
    docker.remove();
}
