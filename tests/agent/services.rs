//! Services: what Pods and the node reach by them, and by which names.

use serde_json::Value;

use crate::cluster::Cluster;
use crate::support::{Outcome, wait_for};

/// Three Pods that answer with their names, from when they are ready on; a Service on two ports and the node, a
/// headless one, and a client.
const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: busybox:1
        command: [sh, -c, "mkdir -p /tmp/www; hostname >/tmp/www/index.html; httpd -p 8080 -h /tmp/www; touch /tmp/ready; exec sleep 10000"]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {exec: {command: [cat, /tmp/ready]}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 30}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http, nodePort: 30080}]
---
apiVersion: v1
kind: Service
metadata: {name: pods}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: client, image: "busybox:1", command: [sleep, "1000"]}]
"#;

/// The ready addresses of a Service.
fn addresses(endpoints: &Value) -> Vec<String> {
    let subsets = endpoints["subsets"].as_array().into_iter().flatten();
    let addresses = subsets.flat_map(|subset| subset["addresses"].as_array().into_iter().flatten());
    addresses.map(|address| address["ip"].as_str().unwrap().to_owned()).collect()
}

fn ready(cluster: &Cluster, count: usize) -> Vec<String> {
    let endpoints = cluster.wait("endpoints", "web", &format!("{count} addresses"), |endpoints| {
        addresses(endpoints).len() == count
    });
    addresses(&endpoints)
}

/// What the client gets from a URL. None: nothing.
fn get(cluster: &Cluster, url: &str) -> Option<String> {
    let done = cluster.verb(&["exec", "client", "--", "busybox", "wget", "-q", "-O-", url]);
    done.status.success().then(|| done.stdout.trim().to_owned())
}

#[track_caller]
fn reaches(cluster: &Cluster, url: &str) -> String {
    wait_for(&format!("an answer from {url}"), 20, || get(cluster, url))
}

/// What nslookup says of a name. busybox waits for five seconds only, and says when that was too short.
pub fn looked_up(ask: impl Fn() -> Outcome) -> String {
    wait_for("an answer of cluster DNS", 60, || {
        let done = ask();
        let said = done.stdout + &done.stderr;
        (!said.contains("timed out")).then_some(said)
    })
}

fn all_of_it(cluster: &Cluster) {
    cluster.apply(WEB);
    ready(cluster, 3);
    cluster.ready("client");

    // By its name, in all its lengths, and each Pod in its turn.
    let mut seen = std::collections::BTreeSet::new();
    wait_for("an answer from each Pod", 30, || {
        seen.insert(reaches(cluster, "http://web/"));
        (seen.len() == 3).then_some(())
    });
    assert!(seen.iter().all(|name| name.starts_with("web-")), "{seen:?}");
    for name in ["web.default", "web.default.svc", "web.default.svc.cluster.local", "pods:8080"] {
        assert!(seen.contains(&reaches(cluster, &format!("http://{name}/"))), "{name}");
    }

    // The node itself, by the address and by its port.
    let service = cluster.object("service", "web").expect("a Service");
    let cluster_ip = service["spec"]["clusterIP"].as_str().unwrap();
    // Ports of the node are on all of its addresses but loopback's, and it has no other one.
    let node = "192.168.7.1";
    cluster.node.run(&["ip", "address", "add", "192.168.7.1/32", "dev", "lo"]).success();
    for url in [format!("http://{cluster_ip}/"), format!("http://{node}:30080/")] {
        let answer = cluster.node.run(&["busybox", "wget", "-q", "-O-", &url]).success().stdout;
        assert!(seen.contains(answer.trim()), "{url}: {answer}");
        assert!(seen.contains(&reaches(cluster, &url)), "a Pod asks {url}");
    }

    // A Pod that reaches itself.
    let pod = seen.first().unwrap();
    wait_for("a Pod's answer to itself", 30, || {
        let done = cluster.verb(&["exec", pod, "--", "busybox", "wget", "-q", "-O-", "http://web/"]);
        (done.status.success() && done.stdout.trim() == pod).then_some(())
    });

    // One that is not ready is asked no more.
    cluster.ok(&["exec", pod, "--", "rm", "/tmp/ready"]);
    ready(cluster, 2);
    let resting = cluster.object("pod", pod).expect("a Pod")["status"]["podIP"].as_str().unwrap().to_owned();
    wait_for("rules without it", 60, || {
        (!cluster.rules().contains(&format!("{resting} . 8080"))).then_some(())
    });
    for _ in 0..10 {
        assert_ne!(&reaches(cluster, "http://web/"), pod);
    }
    cluster.ok(&["exec", pod, "--", "touch", "/tmp/ready"]);
    ready(cluster, 3);

    // Nobody: refused, and at once, when the name was answered.
    let refused = wait_for("what becomes of a request to nobody", 60, || {
        let done = cluster.verb(&["exec", "client", "--", "busybox", "wget", "-q", "-O-", "http://nobody/"]);
        (!done.stderr.contains("bad address")).then_some(done)
    });
    assert!(refused.stderr.contains("refused"), "{}", refused.stderr);
    let unknown = looked_up(|| {
        cluster.verb(&["exec", "client", "--", "busybox", "nslookup", "none.default.svc.cluster.local"])
    });
    assert!(unknown.contains("NXDOMAIN"), "{unknown}");
}

#[test]
fn pods_and_the_node_reach_services_by_address_and_by_name() {
    all_of_it(&cluster!());
}

#[test]
fn services_work_on_containerd() {
    all_of_it(&crate::support::require!(Cluster::on_containerd()));
}

/// Has the Service reached by its name; the addresses of its Pods, and its URL.
fn web(cluster: &Cluster) -> (Vec<String>, String) {
    cluster.apply(WEB);
    let addresses = ready(cluster, 3);
    cluster.ready("client");
    reaches(cluster, "http://web/");
    let service = cluster.object("service", "web").expect("a Service");
    (addresses, format!("http://{}/", service["spec"]["clusterIP"].as_str().unwrap()))
}

#[test]
fn services_go_on_without_the_agent_and_its_next_start_takes_over() {
    let cluster = cluster!();
    let (before, url) = web(&cluster);
    cluster.end(rustix::process::Signal::KILL);
    let answer = cluster.node.run(&["busybox", "wget", "-q", "-O-", &url]).success().stdout;
    assert!(answer.starts_with("web-"), "{answer}");
    cluster.start(&[]);
    assert_eq!(ready(&cluster, 3), before);
    reaches(&cluster, "http://web/");
}

#[test]
fn a_service_that_cannot_be_is_an_error() {
    let cluster = cluster!();
    cluster.apply(WEB);
    for (spec, path) in [
        ("{ports: [{port: 80}], externalIPs: [192.0.2.7]}", "spec.externalIPs"),
        ("{ports: [{port: 70000}]}", "spec.ports[0].port"),
        ("{type: NodePort, ports: [{port: 80, nodePort: 30080}]}", "30080"),
        ("{clusterIP: 192.0.2.7, ports: [{port: 80}]}", "192.0.2.7"),
    ] {
        let manifest = format!("apiVersion: v1\nkind: Service\nmetadata: {{name: wrong}}\nspec: {spec}\n");
        let outcome = cluster.try_apply(&manifest);
        assert!(!outcome.status.success(), "{spec}");
        assert!(outcome.stderr.contains(path), "{path}: {}", outcome.stderr);
    }
}

/// One request of the node's own; what it said instead of an answer.
fn ask(cluster: &Cluster, url: &str) -> Result<String, String> {
    let done = cluster.node.run(&["busybox", "wget", "-q", "-O-", url]);
    if done.status.success() { Ok(done.stdout) } else { Err(done.stderr) }
}

#[test]
fn what_was_stands_until_a_new_agent_knows_its_pods() {
    use rustix::process::Signal;
    let cluster = cluster!();
    let (before, url) = web(&cluster);
    cluster.end(Signal::KILL);
    // A runtime that is slow, or starts later: for as long as it says nothing, nobody knows how Pods are.
    let (socket, away) = (cluster.node.path(crate::node::SOCKET), cluster.node.path("/run/rcrun/away.sock"));
    std::fs::rename(&socket, &away).expect("rename");
    cluster.start(&[]);
    for _ in 0..50 {
        ask(&cluster, &url).expect("an answer while the runtime says nothing");
    }
    let endpoints = cluster.object("endpoints", "web").expect("Endpoints");
    assert_eq!(addresses(&endpoints), before);
    let named = |name: &str| looked_up(|| cluster.node.run(&["busybox", "nslookup", name, "10.96.0.10"]));
    let names = named("pods.default.svc.cluster.local");
    assert!(names.contains(&before[0]), "{names}");
    let name = named(&format!("{}.default.pod.cluster.local", before[0].replace('.', "-")));
    assert!(!name.contains("NXDOMAIN"), "{name}");
    std::fs::rename(&away, &socket).expect("rename");
    assert_eq!(ready(&cluster, 3), before);
    ask(&cluster, &url).expect("an answer");
    // It follows what happens from now on.
    cluster.ok(&["scale", "deploy", "web", "--replicas=1"]);
    ready(&cluster, 1);
}

/// Clients ask all the time while the agent is killed and started with these arguments.
fn killed_again_and_again(cluster: &Cluster, args: &[&str]) {
    cluster.apply(&WEB.replace("[sleep, \"1000\"]", "[sh, -c, \"mkdir /tmp/log; exec sleep 1000\"]"));
    ready(cluster, 3);
    cluster.ready("client");
    let service = cluster.object("service", "web").expect("a Service");
    let url = format!("http://{}/", service["spec"]["clusterIP"].as_str().unwrap());
    reaches(cluster, &url);
    let script = format!(
        "for n in 1 2 3; do while :; do busybox wget -q -O- {url} >/dev/null 2>>/tmp/log/why && echo >>/tmp/log/fine || echo >>/tmp/log/failed; done >/dev/null 2>&1 & done"
    );
    cluster.ok(&["exec", "client", "--", "sh", "-c", &script]);
    let count = |file: &str| -> usize {
        let command = format!("cat /tmp/log/{file} 2>/dev/null | wc -l");
        cluster.ok(&["exec", "client", "--", "sh", "-c", &command]).trim().parse().expect("a number")
    };
    for _ in 0..5 {
        let before = count("fine");
        cluster.end(rustix::process::Signal::KILL);
        cluster.start(args);
        ready(cluster, 3);
        wait_for("more requests", 180, || (count("fine") > before + 100).then_some(()));
    }
    let why = cluster.ok(&["exec", "client", "--", "cat", "/tmp/log/why"]);
    assert_eq!(count("failed"), 0, "of {} requests: {why}", count("fine"));
}

#[test]
fn an_agent_that_is_killed_again_and_again_costs_no_request() {
    killed_again_and_again(&cluster!(), &[]);
}

#[test]
fn nor_does_it_on_containerd() {
    let cluster = crate::support::require!(Cluster::on_containerd());
    killed_again_and_again(&cluster, &["--cri", crate::containerd::SOCKET]);
}
