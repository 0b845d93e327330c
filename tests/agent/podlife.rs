//! Pods' lives: init containers and sidecars, restarts, probes, hooks, the end, and an agent that is killed.

use rustix::process::Signal;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::support::wait_for;

/// A Pod of the image busybox; `rest` is the spec's lines beside its containers, indented by two.
fn pod(name: &str, spec: &str) -> String {
    let spec = spec.trim_matches('\n');
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n{spec}\n")
}

fn phase(wanted: &'static str) -> impl Fn(&Value) -> bool {
    move |pod| pod["status"]["phase"] == wanted
}

/// A container's status, by its name.
fn container(pod: &Value, name: &str) -> Value {
    let status = &pod["status"];
    let lists = [&status["initContainerStatuses"], &status["containerStatuses"]];
    let all = lists.into_iter().filter_map(Value::as_array).flatten();
    all.into_iter().find(|status| status["name"] == name).cloned().unwrap_or_default()
}

fn waits(name: &'static str, reason: &'static str) -> impl Fn(&Value) -> bool {
    move |pod| container(pod, name)["state"]["waiting"]["reason"] == reason
}

fn events(cluster: &Cluster) -> String {
    cluster.ok(&["get", "events"])
}

#[test]
fn init_containers_run_in_order_and_sidecars_end_with_the_pod() {
    let cluster = cluster!();
    cluster.apply(&pod(
        "job",
        r#"
  restartPolicy: Never
  volumes: [{name: shared, emptyDir: {}}]
  initContainers:
  - {name: first, image: "busybox:1", command: [sh, -c, "sleep 0.3; echo first >>/shared/order"], volumeMounts: [{name: shared, mountPath: /shared}]}
  - {name: side, image: "busybox:1", restartPolicy: Always, command: [sh, -c, "echo side >>/shared/order; trap exit TERM; while :; do sleep 0.1; done"], volumeMounts: [{name: shared, mountPath: /shared}], startupProbe: {exec: {command: [grep, side, /shared/order]}, periodSeconds: 1, timeoutSeconds: 30, failureThreshold: 60}}
  - {name: second, image: "busybox:1", command: [sh, -c, "echo second >>/shared/order"], volumeMounts: [{name: shared, mountPath: /shared}]}
  containers:
  - {name: main, image: "busybox:1", command: [cat, /shared/order], volumeMounts: [{name: shared, mountPath: /shared}]}
"#,
    ));
    let done = cluster.wait("pod", "job", "succeeded", phase("Succeeded"));
    assert_eq!(cluster.ok(&["logs", "job", "-c", "main"]), "first\nside\nsecond\n");
    assert!(container(&done, "side")["state"]["terminated"].is_object(), "{done}");
    cluster.ok(&["delete", "pod", "job"]);
    cluster.gone("pod", "job");
}

#[test]
fn a_container_that_exits_at_once_is_restarted_ever_later() {
    let cluster = cluster!();
    cluster.apply(&pod(
        "crash",
        r#"  containers: [{name: main, image: "busybox:1", command: [sh, -c, "echo word; exit 3"]}]"#,
    ));
    let crashed = cluster.wait("pod", "crash", "in back-off", waits("main", "CrashLoopBackOff"));
    let status = container(&crashed, "main");
    // The first restart comes at once; more have come where the wait before the second one was missed.
    assert!(status["restartCount"].as_i64() >= Some(1), "{crashed}");
    assert_eq!(crashed["status"]["phase"], "Running");
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(cluster.ok(&["logs", "crash", "--previous"]), "word\n");
    wait_for("the event", 20, || {
        events(&cluster).contains("Back-off restarting failed container main").then_some(())
    });
}

#[test]
fn restart_policies_are_kept() {
    let cluster = cluster!();
    for (name, policy, code) in [("never", "Never", 1), ("once", "OnFailure", 0)] {
        let spec = format!(
            "  restartPolicy: {policy}\n  containers: [{{name: main, image: \"busybox:1\", command: [sh, -c, \"exit {code}\"]}}]"
        );
        cluster.apply(&pod(name, &spec));
        let end = if code == 0 { "Succeeded" } else { "Failed" };
        let done = cluster.wait("pod", name, end, phase(end));
        assert_eq!(container(&done, "main")["state"]["terminated"]["exitCode"], code);
        assert_eq!(container(&done, "main")["restartCount"], 0);
    }
}

#[test]
fn a_command_that_is_not_there_fails_the_pod() {
    let cluster = cluster!();
    cluster.apply(&pod(
        "wrong",
        "  restartPolicy: Never\n  containers: [{name: main, image: \"busybox:1\", command: [/no/such/program]}]",
    ));
    let failed = cluster.wait("pod", "wrong", "failed", phase("Failed"));
    let end = &container(&failed, "main")["state"]["terminated"];
    assert_eq!(end["reason"], "StartError", "{failed}");
    assert!(end["message"].as_str().unwrap_or_default().contains("/no/such/program"), "{end}");
}

#[test]
fn a_liveness_probe_that_fails_restarts_its_container() {
    let cluster = cluster!();
    cluster.apply(&pod(
        "live",
        r#"
  containers:
  - name: main
    image: "busybox:1"
    command: [sh, -c, "touch /tmp/well; exec sleep 1000"]
    startupProbe: {exec: {command: [cat, /tmp/well]}, periodSeconds: 1, timeoutSeconds: 30, failureThreshold: 1000}
    livenessProbe: {exec: {command: [cat, /tmp/well]}, periodSeconds: 1, timeoutSeconds: 30, failureThreshold: 2, terminationGracePeriodSeconds: 1}
"#,
    ));
    cluster.ready("live");
    // The container may be killed, and rm with it, before rm itself has ended.
    let _ = cluster.verb(&["exec", "live", "--", "rm", "/tmp/well"]);
    let restarted =
        cluster.wait("pod", "live", "restarted", |pod| container(pod, "main")["restartCount"] == 1);
    assert_eq!(container(&restarted, "main")["lastState"]["terminated"]["exitCode"], 137);
    let events = events(&cluster);
    assert!(events.contains("Liveness probe failed"), "{events}");
    assert!(events.contains("Container main failed liveness probe, will be restarted"), "{events}");
}

#[test]
fn a_readiness_probe_says_whether_the_pod_is_ready_and_a_killed_agent_changes_nothing() {
    let cluster = cluster!();
    cluster.apply(&pod(
        "ready",
        r#"
  containers:
  - name: main
    image: "busybox:1"
    command: [sh, -c, "exec sleep 1000"]
    readinessProbe: {exec: {command: [cat, /tmp/well]}, periodSeconds: 1, timeoutSeconds: 30, failureThreshold: 1}
"#,
    ));
    let running = cluster.wait("pod", "ready", "running", phase("Running"));
    assert!(!crate::cluster::is_ready(&running));
    cluster.ok(&["exec", "ready", "--", "touch", "/tmp/well"]);
    let before = cluster.ready("ready");
    cluster.end(Signal::KILL);
    cluster.start(&[]);
    let after = cluster.ready("ready");
    for field in ["containerID", "restartCount", "state", "ready", "started"] {
        assert_eq!(container(&before, "main")[field], container(&after, "main")[field], "{field}");
    }
    assert_eq!(before["status"]["podIP"], after["status"]["podIP"]);
    assert_eq!(before["status"]["startTime"], after["status"]["startTime"]);
    cluster.ok(&["exec", "ready", "--", "rm", "/tmp/well"]);
    cluster.wait("pod", "ready", "not ready", |pod| !crate::cluster::is_ready(pod));
}

#[test]
fn hooks_are_called_after_the_start_and_before_the_stop() {
    let cluster = cluster!();
    let directory = cluster.node.file("hooks");
    std::fs::create_dir_all(&directory).expect("mkdir");
    cluster.apply(&pod(
        "hooks",
        r#"
  terminationGracePeriodSeconds: 50
  volumes: [{name: shared, hostPath: {path: /run/node/hooks}}]
  containers:
  - name: main
    image: "busybox:1"
    command: [sh, -c, "trap 'echo term >>/shared/order; exit' TERM; touch /tmp/listens; while :; do sleep 0.1; done"]
    volumeMounts: [{name: shared, mountPath: /shared}]
    readinessProbe: {exec: {command: [cat, /tmp/listens]}, periodSeconds: 1, timeoutSeconds: 30}
    lifecycle:
      postStart: {exec: {command: [sh, -c, "echo started >>/shared/order"]}}
      preStop: {exec: {command: [sh, -c, "echo stopping >>/shared/order"]}}
"#,
    ));
    cluster.ready("hooks");
    cluster.ok(&["delete", "pod", "hooks"]);
    cluster.gone("pod", "hooks");
    let order = std::fs::read_to_string(directory.join("order")).expect("order");
    assert_eq!(order, "started\nstopping\nterm\n");
    cluster.apply(&pod(
        "failing",
        r#"
  restartPolicy: Never
  terminationGracePeriodSeconds: 20
  containers:
  - name: main
    image: "busybox:1"
    command: [sh, -c, "trap 'exit 9' TERM; while :; do sleep 0.1; done"]
    lifecycle:
      postStart: {exec: {command: [sh, -c, "echo hu''sh; exit 3"]}}
      preStop: {exec: {command: [sh, -c, "echo hu''sh >&2; exit 4"]}}
"#,
    ));
    cluster.wait("pod", "failing", "failed", phase("Failed"));
    assert!(events(&cluster).contains("FailedPostStartHook"));
    // Why they failed is told, but not what they wrote.
    let log = cluster.log();
    assert!(log.contains("the command exited with 3"), "{log}");
    assert!(log.contains("preStop hook failed: the command exited with 4"), "{log}");
    assert!(!log.contains("hush") && !events(&cluster).contains("hush"), "{log}");
}

#[test]
fn a_pod_that_does_not_listen_is_killed_when_its_grace_is_over() {
    let cluster = cluster!();
    cluster.apply(&pod(
        "deaf",
        r#"
  terminationGracePeriodSeconds: 600
  containers: [{name: main, image: "busybox:1", command: [sh, -c, "trap '' TERM; while :; do sleep 0.1; done"]}]
"#,
    ));
    cluster.ready("deaf");
    cluster.ok(&["delete", "pod", "deaf", "--wait=false"]);
    cluster.wait("pod", "deaf", "being deleted", |pod| !pod["metadata"]["deletionTimestamp"].is_null());
    // Impatience.
    cluster.ok(&["delete", "pod", "deaf", "--grace-period=1"]);
    cluster.gone("pod", "deaf");
}

#[test]
fn an_image_that_cannot_be_pulled_is_told() {
    let cluster = cluster!();
    cluster.apply(&pod(
        "noimage",
        r#"  containers: [{name: main, image: "127.0.0.1:1/none:1"}, {name: never, image: "absent.example/x:1", imagePullPolicy: Never}]"#,
    ));
    let pod = cluster.wait("pod", "noimage", "in back-off", waits("main", "ImagePullBackOff"));
    let message = container(&pod, "main")["state"]["waiting"]["message"].clone();
    assert!(message.as_str().unwrap_or_default().contains("127.0.0.1:1/none:1"), "{message}");
    assert_eq!(pod["status"]["phase"], "Pending");
    cluster.wait("pod", "noimage", "never", waits("never", "ErrImageNeverPull"));
    let described = cluster.ok(&["describe", "pod", "noimage"]);
    assert!(described.contains("Failed to pull image"), "{described}");
}

#[test]
fn a_missing_configmap_is_waited_for_and_used_when_it_comes() {
    let cluster = cluster!();
    cluster.apply(&pod(
        "config",
        r#"  containers: [{name: main, image: "busybox:1", command: [sh, -c, "echo $WORD; exec sleep 1000"], env: [{name: WORD, valueFrom: {configMapKeyRef: {name: words, key: word}}}]}]"#,
    ));
    let pod = cluster.wait("pod", "config", "waiting", waits("main", "CreateContainerConfigError"));
    let message = container(&pod, "main")["state"]["waiting"]["message"].clone();
    assert!(message.as_str().unwrap_or_default().contains("words"), "{message}");
    cluster.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: words}\ndata: {word: hello}\n");
    cluster.ready("config");
    wait_for("the word", 20, || (cluster.ok(&["logs", "config"]) == "hello\n").then_some(()));
}

#[test]
fn a_sandbox_that_is_lost_is_made_anew() {
    let cluster = cluster!();
    cluster
        .apply(&pod("lost", r#"  containers: [{name: main, image: "busybox:1", command: [sleep, "1000"]}]"#));
    let before = cluster.ready("lost");
    let sandbox = cluster.node.pods().into_iter().next().expect("a sandbox");
    cluster.node.stop_pod(&sandbox.id);
    // Once more where it was restarted in the sandbox that was about to stop.
    let after = cluster.wait("pod", "lost", "started anew", |pod| {
        container(pod, "main")["restartCount"].as_i64() >= Some(1) && crate::cluster::is_ready(pod)
    });
    assert_ne!(container(&before, "main")["containerID"], container(&after, "main")["containerID"]);
    cluster.tells(&["SandboxChanged"]);
    cluster.ok(&["delete", "pod", "lost", "--now"]);
    cluster.gone("pod", "lost");
    assert!(cluster.node.pods().is_empty() && cluster.node.containers().is_empty());
}

#[test]
fn a_deadline_fails_a_pod_that_runs_for_too_long() {
    let cluster = cluster!();
    let spec = "  terminationGracePeriodSeconds: 1\n  containers: [{name: main, image: \"busybox:1\", command: [sleep, \"1000\"]}]";
    cluster.apply(&pod("late", spec));
    cluster.ready("late");
    // From its beginning on: over already where that is longer ago.
    cluster.apply(&pod("late", &format!("  activeDeadlineSeconds: 15\n{spec}")));
    let failed = cluster.wait("pod", "late", "failed", phase("Failed"));
    assert_eq!(failed["status"]["reason"], "DeadlineExceeded");
    cluster.wait("pod", "late", "ended", |pod| container(pod, "main")["state"]["terminated"].is_object());
}
