use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::server::{Sources, metrics, serve_on};
use super::*;
use crate::objects::{Kind, Object};
use crate::reconcile::observed::ProbeKind;
use crate::store::Durability;

/// A store with one of each that metrics know, and counters that have counted; its runtime does not answer.
pub fn sources(directory: &std::path::Path) -> Sources {
    let store = Store::open(directory).expect("a store");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "web", "name": "front-1"},
        "spec": {"nodeName": "node", "containers": [{"name": "nginx", "image": "nginx:1", "resources": {"limits": {"memory": "64Mi"}}}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "nginx", "image": "nginx:1", "imageID": "", "ready": true, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}});
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "web", "name": "front"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "template": template}, "status": {"readyReplicas": 2}});
    for value in [pod, deployment] {
        store.create(object(value), Durability::Written).expect("it is put");
    }
    let counters = Counters::default();
    counters.probe("web", "front-1", "nginx", ProbeKind::Readiness, true, Duration::from_millis(3));
    counters.probe("web", "gone", "nginx", ProbeKind::Liveness, false, Duration::from_millis(3));
    counters.step("RunSandbox", false, Duration::from_millis(40));
    counters.reload("ingress", true, Duration::from_millis(1));
    counters.ingress(Some("www.\"example\".com"), 200, Duration::from_millis(5));
    Sources {
        store: Arc::new(store),
        runtime: Runtime::at("/nowhere/cri.sock").expect("a path"),
        counters: Arc::new(counters),
        last: Default::default(),
    }
}

fn object(value: Value) -> Object {
    let of = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let kind = Kind::of_manifest(&of("apiVersion"), &of("kind")).expect("a kind");
    Object::from_value(kind, value).expect("an object")
}

/// With one container that uses something.
async fn with_usage(directory: &std::path::Path) -> Sources {
    let sources = sources(directory);
    let container = ContainerUsage {
        namespace: "web".into(),
        pod: "front-1".into(),
        container: "nginx".into(),
        id: "c1".into(),
        cpu_nanoseconds: Some(1_500_000_000),
        memory_working_set: Some(4096),
        ..Default::default()
    };
    let interface = super::usage::InterfaceUsage {
        namespace: "web".into(),
        pod: "front-1".into(),
        interface: "eth0".into(),
        received_bytes: Some(7),
        ..Default::default()
    };
    let usage = super::usage::Usage { containers: vec![container], interfaces: vec![interface] };
    // As if it was said in a while: no test waits for so long.
    *sources.last.lock().await =
        std::time::Instant::now().checked_add(Duration::from_secs(3600)).map(|at| (at, Arc::new(usage)));
    sources
}

#[tokio::test]
async fn metrics_have_the_names_that_dashboards_know() {
    let directory = tempfile::tempdir().expect("a directory");
    let sources = with_usage(directory.path()).await;
    let (_, text) = metrics(&sources, false).await;
    let text = text.expect("metrics");
    let of_nginx = r#"namespace="web",pod="front-1",container="nginx""#;
    for line in [
        format!(r#"container_cpu_usage_seconds_total{{{of_nginx},id="c1",image="nginx:1"}} 1.5"#),
        format!(r#"container_memory_working_set_bytes{{{of_nginx},id="c1",image="nginx:1"}} 4096"#),
        r#"container_network_receive_bytes_total{namespace="web",pod="front-1",interface="eth0"} 7"#.into(),
        r#"kube_pod_status_phase{namespace="web",pod="front-1",phase="Running"} 1"#.into(),
        r#"kube_pod_status_phase{namespace="web",pod="front-1",phase="Pending"} 0"#.into(),
        r#"kube_pod_status_ready{namespace="web",pod="front-1",condition="true"} 1"#.into(),
        format!(r#"kube_pod_container_status_restarts_total{{{of_nginx}}} 3"#),
        format!(r#"kube_pod_container_status_waiting_reason{{{of_nginx},reason="CrashLoopBackOff"}} 1"#),
        format!(r#"kube_pod_container_status_last_terminated_reason{{{of_nginx},reason="OOMKilled"}} 1"#),
        r#"kube_deployment_spec_replicas{namespace="web",deployment="front"} 3"#.into(),
        r#"kube_deployment_status_replicas_ready{namespace="web",deployment="front"} 2"#.into(),
        r#"rcrun_agent_objects{kind="Pod"} 1"#.into(),
        "rcrun_agent_runtime_up 1".into(),
        format!(r#"prober_probe_total{{{of_nginx},probe_type="Readiness",result="successful"}} 1"#),
        r#"prober_probe_duration_seconds_bucket{probe_type="Readiness",le="0.005"} 1"#.into(),
        r#"rcrun_agent_step_duration_seconds_count{step="RunSandbox"} 1"#.into(),
        r#"rcrun_agent_reload_errors_total{rules="ingress"} 1"#.into(),
        r#"rcrun_ingress_requests_total{host="www.\"example\".com",status="200"} 1"#.into(),
    ] {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        let found = text.lines().filter_map(|line| line.rsplit_once(' ')).find(|(known, _)| *known == name);
        let found = found.unwrap_or_else(|| panic!("{line} is not in\n{text}"));
        assert_eq!(found.1.parse::<f64>().ok(), value.parse().ok(), "{line}");
    }
    assert!(
        text.contains("\nprocess_resident_memory_bytes ") && text.contains("\nprocess_cpu_seconds_total "),
        "{text}"
    );
    assert!(!text.contains("pod=\"gone\""), "{text}");
}

#[tokio::test]
async fn open_metrics_end_as_they_have_to() {
    let directory = tempfile::tempdir().expect("a directory");
    let (kind, text) = metrics(&sources(directory.path()), true).await;
    let text = text.expect("metrics");
    assert!(kind.starts_with("application/openmetrics-text"));
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("# TYPE process_cpu_seconds counter"), "{text}");
    // Nothing of the runtime, which does not answer.
    assert!(text.contains("\nrcrun_agent_runtime_up 0"), "{text}");
}

#[tokio::test]
async fn hosts_are_counted_together_where_there_are_many() {
    let counters = Counters::default();
    for n in 0..1000 {
        counters.ingress(Some(&format!("h{n}.example.com")), 200 + n % 1000, Duration::ZERO);
    }
    let directory = tempfile::tempdir().expect("a directory");
    let sources = Sources { counters: Arc::new(counters), ..sources(directory.path()) };
    let text = metrics(&sources, false).await.1.expect("metrics");
    let hosts: BTreeSet<_> = text
        .lines()
        .filter(|line| line.starts_with("rcrun_ingress_requests_total{"))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert_eq!(hosts.len(), 201);
    assert!(hosts.contains("other"));
}

#[tokio::test]
async fn health_is_the_agents_and_readiness_the_runtimes() {
    let directory = tempfile::tempdir().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let server = tokio::spawn(serve_on(Arc::new(sources(directory.path())), listener));
    let mut answers = BTreeMap::new();
    for path in ["/healthz", "/readyz", "/metrics", "/else"] {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it is written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answers.insert(path, answer);
    }
    server.abort();
    assert!(answers["/healthz"].starts_with("HTTP/1.1 200"));
    assert!(
        answers["/readyz"].starts_with("HTTP/1.1 503")
            && answers["/readyz"].contains("the runtime does not answer")
    );
    assert!(answers["/metrics"].contains("content-type: text/plain; version=0.0.4"));
    assert!(answers["/else"].starts_with("HTTP/1.1 404"));
}

/// The names of metrics of this project that an expression asks for.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.filter(|word| {
        ["container_", "kube_", "prober_", "process_", "rcrun_"].iter().any(|prefix| word.starts_with(prefix))
    })
}

/// All expressions in a dashboard or in rules.
fn expressions(file: &str) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/observability").join(file);
    let text = std::fs::read_to_string(path).expect("a file of the documentation");
    match file.ends_with(".json") {
        true => {
            let dashboard: Value = serde_json::from_str(&text).expect("JSON");
            let panels = dashboard["panels"].as_array().expect("panels").iter();
            let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
            let variables = dashboard["templating"]["list"].as_array().expect("variables").iter();
            let all = targets
                .map(|target| &target["expr"])
                .chain(variables.map(|variable| &variable["definition"]));
            all.filter_map(|expression| expression.as_str().map(str::to_owned)).collect()
        }
        false => {
            text.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned).collect()
        }
    }
}

#[tokio::test]
async fn dashboard_and_rules_ask_for_metrics_that_exist() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, text) = metrics(&with_usage(directory.path()).await, false).await;
    let text = text.expect("metrics");
    let known: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .flat_map(|(name, kind)| match kind {
            "histogram" => ["_bucket", "_count", "_sum"].map(|end| format!("{name}{end}")).to_vec(),
            _ => vec![name.to_owned()],
        })
        .collect();
    for file in ["grafana-dashboard.json", "rcrun-agent.rules.yml"] {
        let expressions = expressions(file);
        assert!(expressions.len() > 8, "{file}: {expressions:?}");
        for expression in expressions {
            for name in names(&expression) {
                assert!(known.contains(name), "{file}: {expression}: {name} is not in {known:?}");
            }
        }
    }
}
