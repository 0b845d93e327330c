//! kubectl's verbs on Pods that run: logs, exec, attach, port-forward, describe, top. With rcrun-cri and with containerd.

use std::collections::BTreeSet;

use rustix::process::Signal;

use crate::cluster::Cluster;
use crate::support::{Pty, Running, require, wait_for};

const WEB: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: server
    image: busybox:1
    command: [sh, -c, "mkdir /tmp/www; echo hello >/tmp/www/index.html; echo ready; exec httpd -f -p 8080 -h /tmp/www"]
    ports: [{name: http, containerPort: 8080}]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, timeoutSeconds: 30}
  - name: side
    image: busybox:1
    command: [sh, -c, "echo side; exec sleep 1000"]
"#;

#[test]
fn commands_run_in_containers_and_their_status_is_passed_on() {
    commands_run(&cluster!());
}

#[test]
fn commands_run_in_containers_of_containerd_too() {
    commands_run(&require!(Cluster::on_containerd()));
}

fn commands_run(cluster: &Cluster) {
    cluster.apply(WEB);
    cluster.ready("web");
    assert_eq!(cluster.ok(&["exec", "web", "-c", "server", "--", "cat", "/tmp/www/index.html"]), "hello\n");
    let outcome = cluster.verb(&["exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    let outcome = outcome.exits_with(7);
    assert_eq!(outcome.stdout, "out\n");
    assert!(outcome.stderr.contains("err\n"), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("Defaulted container \"server\" out of: server, side"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("exit code 7"), "{}", outcome.stderr);
    cluster.verb(&["exec", "web", "-c", "none", "--", "true"]).refused(&["none", "server, side"]);
    let outcome = cluster.verb(&["exec", "web", "-q", "--", "/no/such/program"]);
    assert!(!outcome.status.success() && outcome.stderr.contains("/no/such/program"), "{outcome}");
    cluster.verb(&["exec", "gone", "--", "true"]).refused(&["pods \"gone\" not found"]);
}

#[test]
fn input_of_a_command_ends() {
    let cluster = cluster!();
    cluster.apply(WEB);
    cluster.ready("web");
    // More than pipes and sockets hold, in both directions.
    let text = "0123456789abcdef\n".repeat(64 << 10);
    let outcome = cluster.program(&["exec", "-i", "web", "-q", "--", "cat"]).stdin(&text).wait().success();
    assert_eq!(outcome.stdout.len(), text.len());
    assert_eq!(outcome.stdout, text);
}

#[test]
fn logs_are_followed_until_the_container_ends() {
    logs_are_followed(&cluster!());
}

#[test]
fn logs_of_containerd_are_followed_until_the_container_ends() {
    logs_are_followed(&require!(Cluster::on_containerd()));
}

fn logs_are_followed(cluster: &Cluster) {
    cluster.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: job}
spec:
  restartPolicy: Never
  containers:
  - name: job
    image: busybox:1
    command: [sh, -c, "echo one; echo two; until [ -e /tmp/go ]; do sleep 0.1; done; printf three"]
"#,
    );
    cluster.ready("job");
    let mut followed = cluster.program(&["logs", "-f", "job"]).limit(300).spawn();
    followed.wait_for_output("two\n");
    // The container may end, and touch be killed with it, before touch itself has.
    let _ = cluster.verb(&["exec", "job", "--", "touch", "/tmp/go"]);
    let outcome = followed.wait().success();
    assert!(outcome.stdout.starts_with("one\ntwo\nthree"), "{:?}", outcome.stdout);
    assert_eq!(cluster.ok(&["logs", "job", "--tail=1"]).trim_end(), "three");
    assert_eq!(cluster.ok(&["logs", "job", "--limit-bytes=5"]), "one\nt");
    let times = cluster.ok(&["logs", "job", "--timestamps"]);
    assert!(times.lines().next().is_some_and(|line| line.contains('T') && line.ends_with(" one")), "{times}");
    cluster.verb(&["logs", "job", "--previous"]).refused(&["previous terminated container \"job\""]);
    let completed = cluster.ok(&["get", "pod", "job", "--no-headers"]);
    assert!(completed.contains("Completed"), "{completed}");
}

#[test]
fn logs_of_all_containers_and_the_one_before() {
    let cluster = cluster!();
    cluster.apply(WEB);
    cluster.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: crash}
spec:
  containers:
  - {name: c, image: "busybox:1", command: [sh, -c, "echo $$ $(cat /proc/sys/kernel/random/uuid); exit 3"]}
"#,
    );
    // Of whichever attempts are seen: each of them runs but once, and is the one before for some seconds only.
    let mut seen = BTreeSet::new();
    wait_for("a log, and later the same one as that before", 120, || {
        let current = cluster.verb(&["logs", "crash"]).stdout;
        let previous = cluster.verb(&["logs", "crash", "--previous"]).stdout;
        let is_known = seen.contains(&previous) && previous != current;
        seen.extend(Some(current).filter(|log| !log.is_empty()));
        is_known.then_some(())
    });
    // The log is asked of the runtime, the status is what the agent has seen there so far.
    cluster.wait("pod", "crash", "restarted", |pod| {
        pod["status"]["containerStatuses"][0]["restartCount"].as_u64() >= Some(1)
    });
    cluster.ready("web");
    let logs = || cluster.ok(&["logs", "web", "--all-containers", "--prefix"]);
    wait_for("both logs", 20, || (logs() == "[pod/web/server] ready\n[pod/web/side] side\n").then_some(()));
    assert_eq!(cluster.ok(&["logs", "-l", "app=web", "-c", "side"]), "side\n");
    wait_for("CrashLoopBackOff", 20, || {
        cluster.ok(&["get", "pods"]).contains("CrashLoopBackOff").then_some(())
    });
    // It may run again by now, and waits again after that.
    for words in ["Exit Code:", "CrashLoopBackOff", "Restart Count:", "Events:"] {
        wait_for(&format!("{words} in describe"), 20, || {
            cluster.ok(&["describe", "pod", "crash"]).contains(words).then_some(())
        });
    }
}

#[test]
fn ports_are_forwarded() {
    ports_are_forwarded_to(&cluster!());
}

#[test]
fn ports_are_forwarded_by_containerd() {
    ports_are_forwarded_to(&require!(Cluster::on_containerd()));
}

fn ports_are_forwarded_to(cluster: &Cluster) {
    cluster.apply(WEB);
    cluster.ready("web");
    let mut forward = cluster.program(&["port-forward", "web", "18080:http"]).limit(300).spawn();
    forward.wait_for_output("Forwarding from 127.0.0.1:18080 -> 8080");
    for _ in 0..3 {
        let got = cluster.node.command(&["busybox", "wget", "-q", "-O-", "http://127.0.0.1:18080/"]).wait();
        assert_eq!(got.success().stdout, "hello\n");
    }
    end(cluster, forward);
    cluster.verb(&["port-forward", "web", "18080:nope"]).refused(&["nope"]);
}

#[test]
fn a_terminal_is_one_and_attach_sees_output() {
    let cluster = cluster!();
    cluster.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: clock}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: "busybox:1", command: [sh, -c, "while :; do echo tick; sleep 0.2; done"]}
"#,
    );
    cluster.ready("clock");
    let mut attached = cluster.program(&["attach", "clock"]).limit(300).spawn();
    attached.wait_for_output("tick");
    end(&cluster, attached);
    let (mut terminal, slave) = Pty::open();
    terminal.resize(33, 99);
    let shell = cluster.program(&["exec", "-it", "clock", "--", "sh"]).limit(300).on_terminal(&slave).spawn();
    drop(slave);
    // What is typed may be there before the size is.
    terminal.write("until stty size | grep 99; do sleep 0.1; done; tty\n");
    terminal.wait_for("33 99");
    terminal.wait_for("/dev/pts/");
    terminal.write("exit 5\n");
    shell.wait().exits_with(5);
}

/// Ends a verb that goes on.
fn end(cluster: &Cluster, verb: Running) {
    let inner = rustix::process::Pid::from_raw(cluster.node.child_of(verb.pid())).expect("a pid");
    rustix::process::kill_process(inner, Signal::TERM).expect("kill");
    verb.wait();
}

#[test]
fn usage_is_shown() {
    let cluster = cluster!();
    cluster.apply(WEB);
    cluster.ready("web");
    let top = cluster.ok(&["top", "pods", "--containers", "--no-headers"]);
    assert_eq!(
        top.lines().filter(|line| line.starts_with("web ") && line.contains("Mi")).count(),
        2,
        "{top}"
    );
    assert!(cluster.ok(&["top", "node"]).contains("Mi"));
    cluster.verb(&["top", "pods", "none"]).refused(&["(NotFound)", "pods \"none\" not found"]);
    assert!(cluster.ok(&["top", "pods", "-l", "app=web", "--no-headers"]).starts_with("web "));
    assert_eq!(cluster.ok(&["top", "pods", "-l", "app=none"]), "");
}

#[test]
fn what_kubectl_s_users_write_is_understood() {
    let cluster = cluster!();
    cluster.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: side, namespace: kube-system, annotations: {note: "\e[31mred"}}
spec: {restartPolicy: Never, containers: [{name: c, image: "busybox:1", command: ["true"]}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: pi}
spec:
  template: {spec: {restartPolicy: Never, containers: [{name: c, image: "busybox:1", command: [echo, "3.14"]}]}}
"#,
    );
    assert_eq!(cluster.ok(&["-n", "kube-system", "get", "pods", "-o", "name"]), "pod/side\n");
    assert_eq!(cluster.ok(&["get", "pods", "-n", "kube-system", "-o", "name"]), "pod/side\n");
    assert_eq!(cluster.ok(&["get", "jobs", "-n", "", "-o", "name"]), "job.batch/pi\n");
    wait_for("the log of the Job", 20, || {
        (cluster.verb(&["logs", "job/pi"]).stdout == "3.14\n").then_some(())
    });
    let outcome = cluster.verb(&["describe", "jobs/pi", "svc/none"]).exits_with(1);
    assert!(
        outcome.stdout.starts_with("Name:") && outcome.stderr.contains("services \"none\" not found"),
        "{outcome}"
    );
    // A claim that waits says why.
    cluster.apply(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: lone}\n\
         spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n",
    );
    wait_for("why the claim waits", 20, || {
        cluster
            .ok(&["describe", "pvc", "lone"])
            .contains("no PersistentVolume matches this claim")
            .then_some(())
    });
    // No object reaches another path or a terminal by what it is called.
    cluster.verb(&["get", "pod", "a?watch=1"]).refused(&["pods \"a?watch=1\" not found"]);
    cluster.verb(&["get", "pods", "-n", "../default", "pi"]).refused(&["pods \"pi\" not found"]);
    cluster.verb(&["get", "pod", ""]).refused(&["name may not be empty"]);
    let described = cluster.ok(&["-n", "kube-system", "describe", "pod", "side"]);
    assert!(described.contains("note: \\u{1b}[31mred"), "{described}");
    cluster
        .verb(&["get", "jobs", "--sort-by=.spec.none"])
        .refused(&["find any field with path", ".spec.none"]);
}

#[test]
fn a_verb_whose_words_nobody_reads_just_ends() {
    let cluster = cluster!();
    let program = crate::programs::agent();
    let program = program.to_str().expect("UTF-8");
    for verb in ["get pods none none", "apply -f /none", "describe pod none"] {
        // Nobody has the reading end when the verb begins.
        let script =
            format!("( read _; '{program}' {verb} 2>&1; echo $? >/run/node/status ) < <(sleep 0.2) | true");
        cluster.node.command(&["bash", "-c", &script]).wait();
        assert_eq!(std::fs::read_to_string(cluster.node.file("status")).expect("a status"), "1\n", "{verb}");
    }
}
