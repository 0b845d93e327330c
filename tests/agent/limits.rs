//! Resources of containers: those of cgroups on a host with the controllers, as in the VM; those of disks everywhere.

use std::fs;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::support::{self, wait_for};

/// A node whose cgroups can limit memory, cpu and processes, or a return from the test with a SKIP line.
macro_rules! limited {
    () => {{
        let cluster = cluster!();
        let path = cluster.node.path("/sys/fs/cgroup/cgroup.controllers");
        let controllers = fs::read_to_string(path).expect("cgroup2");
        let has = |name| controllers.split_whitespace().any(|one| one == name);
        support::require!(if has("memory") && has("cpu") && has("pids") {
            Ok(())
        } else {
            Err(format!("this host's cgroup2 has no memory, cpu and pids controllers, only {controllers:?}"))
        });
        cluster
    }};
}

/// A Pod with one container `c`; `fields` are the container's, `rest` the spec's.
fn pod(name: &str, command: &str, fields: &str, rest: &str) -> String {
    format!(
        r#"
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: c, image: "busybox:1", command: [sh, -c, '{command}'], {fields}}}]
  {rest}
"#
    )
}

fn in_pod(cluster: &Cluster, pod: &str, command: &str) -> String {
    cluster.ok(&["exec", pod, "--", "sh", "-c", command]).trim().to_owned()
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or_else(|_| panic!("no number: {text:?}"))
}

#[test]
fn resources_are_in_the_containers_cgroup() {
    let cluster = limited!();
    let resources = |name: &str, resources: &str| {
        pod(name, "exec sleep 1000", &format!("resources: {{{resources}}}"), "")
    };
    let memory = "volumeMounts: [{name: m, mountPath: /m}], resources: {limits: {cpu: 500m, memory: 64Mi}}";
    cluster.apply(
        &(pod("guaranteed", "exec sleep 1000", memory, "volumes: [{name: m, emptyDir: {medium: Memory}}]")
            + &resources("burstable", "requests: {cpu: 200m, memory: 1Gi}, limits: {memory: 2Gi}")
            + &resources("best-effort", "")),
    );
    let classes: Vec<Value> = ["guaranteed", "burstable", "best-effort"]
        .map(|name| cluster.ready(name)["status"]["qosClass"].clone())
        .into();
    assert_eq!(classes, ["Guaranteed", "Burstable", "BestEffort"]);
    let files = "cd /sys/fs/cgroup; cat cpu.max memory.max /proc/1/oom_score_adj cpu.weight";
    let of = |name: &str| in_pod(&cluster, name, files).lines().map(str::to_owned).collect::<Vec<_>>();
    let guaranteed = of("guaranteed");
    assert_eq!(guaranteed[..3], ["50000 100000", "67108864", "-997"]);
    let burstable = of("burstable");
    assert_eq!(burstable[..2], ["max 100000", "2147483648"]);
    let adjusted = number(&burstable[2]);
    assert!((3..1000).contains(&adjusted), "{adjusted}");
    let best_effort = of("best-effort");
    assert_eq!(best_effort, ["max 100000", "max", "1000", "1"]);
    // What is asked for, in proportion; the scale is the runtime's.
    let weights = [&guaranteed, &burstable, &best_effort].map(|of| number(&of[3]));
    assert!(weights[0] > weights[1] && weights[1] > weights[2], "{weights:?}");
    // What is in memory is the containers', so that there is no more than they may have.
    let blocks = in_pod(&cluster, "guaranteed", "stat -f -c \"%b %S\" /m");
    let blocks: Vec<i64> = blocks.split(' ').map(number).collect();
    assert_eq!(blocks[0] * blocks[1], 64 << 20);
}

#[test]
fn a_container_beyond_its_memory_is_killed_and_restarted_ever_later() {
    let cluster = limited!();
    let limit = "resources: {limits: {memory: 16Mi}}";
    cluster.apply(&pod("greedy", "exec tail /dev/zero", limit, ""));
    let greedy = cluster.wait("pod", "greedy", "in back-off after an end", |pod| {
        let status = &pod["status"]["containerStatuses"][0];
        status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            && status["restartCount"].as_i64() >= Some(1)
    });
    let ended = &greedy["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((&ended["reason"], &ended["exitCode"]), (&"OOMKilled".into(), &137.into()));
    // It may run again by now, and waits again after that.
    let described = wait_for("CrashLoopBackOff in describe", 60, || {
        Some(cluster.ok(&["describe", "pod", "greedy"])).filter(|told| told.contains("CrashLoopBackOff"))
    });
    assert!(described.contains("OOMKilled"), "{described}");
    assert!(described.contains("memory:  16Mi"), "{described}");
}

#[test]
fn top_tells_processors_and_memory() {
    let cluster = limited!();
    let busy = "dd if=/dev/zero of=/m/x bs=1M count=24 2>/dev/null; while :; do :; done";
    let fields = "volumeMounts: [{name: m, mountPath: /m}], resources: {limits: {cpu: 300m}}";
    cluster.apply(&pod("busy", busy, fields, "volumes: [{name: m, emptyDir: {medium: Memory}}]"));
    cluster.ready("busy");
    wait_for("its use", 60, || {
        let top = cluster.ok(&["top", "pods", "--no-headers"]);
        let row: Vec<&str> = top.split_whitespace().collect();
        let [name, cpu, memory] = row[..] else { return None };
        let cpu = number(cpu.strip_suffix('m').expect("thousandths"));
        let memory = number(memory.strip_suffix("Mi").expect("MiB"));
        assert_eq!(name, "busy");
        // Its limit, and what the measuring is late by.
        ((50..=450).contains(&cpu) && memory >= 24).then_some(())
    });
}

/// Waits until a Pod is evicted; its message.
fn evicted(cluster: &Cluster, name: &str) -> String {
    let pod = cluster.wait("pod", name, "evicted", |pod| pod["status"]["phase"] == "Failed");
    assert_eq!(pod["status"]["reason"], "Evicted");
    let message = pod["status"]["message"].as_str().expect("a message").to_owned();
    cluster.tells(&["Evicted", &message]);
    message
}

#[test]
fn who_fills_the_disk_is_evicted() {
    let cluster = cluster!();
    let write = |path: &str| format!("dd if=/dev/zero of={path} bs=1M count=3; exec sleep 1000");
    let disk = "volumeMounts: [{name: d, mountPath: /d}]";
    let limited = "resources: {limits: {ephemeral-storage: 2Mi}}";
    let volume = |limit: &str| format!("volumes: [{{name: d, emptyDir: {{{limit}}}}}]");
    let log = "i=0; while [ $i -lt 3000 ]; do printf \"%1000d\\n\" $i; i=$((i + 1)); done; exec sleep 1000";
    cluster.apply(
        &(pod("directory", &write("/d/x"), disk, &volume("sizeLimit: 2Mi"))
            + &pod("layer", &write("/x"), limited, "")
            + &pod("both", &write("/d/x"), &format!("{disk}, {limited}"), &volume(""))
            + &pod("log", log, limited, "")
            + &pod(
                "modest",
                &write("/d/x"),
                &format!("{disk}, {}", limited.replace('2', "9")),
                &volume("sizeLimit: 9Mi"),
            )),
    );
    let message = evicted(&cluster, "directory");
    assert!(message.starts_with("volume d: "), "{message}");
    assert!(message.ends_with(" bytes are used, its sizeLimit is 2097152"), "{message}");
    for name in ["layer", "log"] {
        let message = evicted(&cluster, name);
        assert!(message.starts_with("container c: it holds "), "{message}");
        assert!(message.ends_with("its limit is 2097152"), "{message}");
    }
    let message = evicted(&cluster, "both");
    assert!(message.starts_with("the Pod holds "), "{message}");
    assert!(message.ends_with("the limit of its containers is 2097152"), "{message}");
    // What it wrote goes with it, and a Pod within its limits stays.
    cluster.ok(&["delete", "pod", "directory", "--now"]);
    cluster.gone("pod", "directory");
    cluster.ready("modest");
}
