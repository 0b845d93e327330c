//! Metrics, as Debian's prometheus sees them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cluster::Cluster;
use crate::support::{self, wait_for};

const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: steady}
spec:
  containers:
  - name: server
    image: busybox:1
    command: [sh, -c, "mkdir /tmp/www; exec httpd -f -p 8080 -h /tmp/www"]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, timeoutSeconds: 30}
    resources: {limits: {memory: 64Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: restless}
spec:
  containers:
  - {name: ends, image: "busybox:1", command: ["false"]}
"#;

fn documentation() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/observability")
}

/// What `/metrics` says on the node.
fn scrape(cluster: &Cluster) -> String {
    wait_for("an answer of /metrics", 60, || {
        let outcome = cluster.node.run(&["curl", "-sSf", "http://127.0.0.1:10256/metrics"]);
        outcome.status.success().then_some(outcome.stdout)
    })
}

/// The value of one sample, by the start of its line.
fn value(metrics: &str, start: &str) -> Option<f64> {
    let line = metrics.lines().find(|line| line.starts_with(start))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn metrics_say_how_pods_are() {
    let cluster = cluster!();
    cluster.apply(PODS);
    cluster.ready("steady");
    let metrics = wait_for("metrics of both Pods", 60, || {
        let metrics = scrape(&cluster);
        let restarts = r#"kube_pod_container_status_restarts_total{namespace="default",pod="restless",container="ends"}"#;
        let memory =
            r#"container_memory_working_set_bytes{namespace="default",pod="steady",container="server""#;
        (value(&metrics, restarts)? >= 1.0 && metrics.contains(memory)).then_some(metrics)
    });
    for (start, wanted) in [
        (r#"kube_pod_status_phase{namespace="default",pod="steady",phase="Running"}"#, 1.0),
        (r#"kube_pod_status_ready{namespace="default",pod="steady",condition="true"}"#, 1.0),
        (
            r#"kube_pod_container_resource_limits{namespace="default",pod="steady",container="server",resource="memory",unit="byte"}"#,
            67_108_864.0,
        ),
        ("rcrun_agent_runtime_up", 1.0),
    ] {
        assert_eq!(value(&metrics, start), Some(wanted), "{start} in\n{metrics}");
    }
    for start in [
        r#"container_cpu_usage_seconds_total{namespace="default",pod="steady",container="server""#,
        r#"container_network_receive_bytes_total{namespace="default",pod="steady""#,
        r#"prober_probe_total{namespace="default",pod="steady",container="server",probe_type="Readiness",result="successful"}"#,
        "rcrun_agent_step_duration_seconds_count{",
        "process_resident_memory_bytes",
    ] {
        assert!(value(&metrics, start).is_some(), "{start} in\n{metrics}");
    }
    let ready = cluster.node.command(&["curl", "-sS", "http://127.0.0.1:10256/readyz"]).wait().success();
    assert_eq!(ready.stdout, "ok\n");
}

#[test]
fn prometheus_scrapes_the_agent_and_answers_the_dashboard() {
    let cluster = cluster!();
    if !Path::new("/usr/bin/prometheus").exists() {
        return support::skip("no prometheus: install the package of this name");
    }
    let config = documentation().join("prometheus.yml");
    let config = config.to_str().expect("UTF-8");
    cluster.node.command(&["promtool", "check", "config", config]).wait().success();
    cluster.apply(PODS);
    cluster.ready("steady");
    let metrics = cluster.node.file("metrics");
    std::fs::write(&metrics, scrape(&cluster)).expect("a file");
    // It has opinions on names, too, some of which are of cAdvisor and kube-state-metrics: those end with 3.
    let checked =
        cluster.node.command(&["sh", "-c", &format!("promtool check metrics <{}", metrics.display())]).wait();
    assert!([0, 3].contains(&checked.code()), "{}", checked.stderr);
    let data = cluster.node.file("prometheus");
    let data = format!("--storage.tsdb.path={}", data.display());
    let mut prometheus = cluster
        .node
        .command(&[
            "prometheus",
            &format!("--config.file={config}"),
            &data,
            "--web.listen-address=127.0.0.1:9090",
        ])
        .limit(600)
        .spawn();
    let query = |expression: &str| -> Option<Value> {
        let argument = format!("query={expression}");
        let url = "http://127.0.0.1:9090/api/v1/query";
        let answer = cluster.node.command(&["curl", "-sS", "--data-urlencode", &argument, url]).wait();
        serde_json::from_str::<Value>(&answer.stdout).ok()
    };
    wait_for("a scrape", 120, || {
        let answer = query(r#"up{job="rcrun-agent"} == 1 and on (job) rcrun_agent_runtime_up == 1"#)?;
        answer["data"]["result"].as_array().is_some_and(|found| !found.is_empty()).then_some(())
    });
    // A scrape that comes too late takes its series away until the next one.
    wait_for("the Pod's phase", 60, || {
        let running = query(r#"kube_pod_status_phase{pod="steady",phase="Running"}"#)?;
        (running["data"]["result"][0]["value"][1] == "1").then_some(())
    });
    let dashboard =
        std::fs::read_to_string(documentation().join("grafana-dashboard.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    for expression in targets.filter_map(|target| target["expr"].as_str()) {
        let expression = expression
            .replace("$__rate_interval", "1m")
            .replace("$namespace", ".*")
            .replace("$job", "rcrun-agent");
        let answer = query(&expression).expect("an answer");
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
    }
    let pid = rustix::process::Pid::from_raw(cluster.node.child_of(prometheus.pid())).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("kill");
    wait_for("prometheus' end", 60, || prometheus.child.try_wait().expect("wait"));
}
