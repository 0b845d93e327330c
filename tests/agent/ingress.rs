//! Ingresses, as clients outside of Pods see them.

use std::fs;

use rustix::process::Signal;

use crate::cluster::Cluster;
use crate::support::{Outcome, wait_for};

/// A Deployment behind a Service behind an Ingress. `WORD` is what its Pods answer; they answer until they are out of the endpoints.
const SITE: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: site}
spec:
  replicas: 2
  selector: {matchLabels: {app: site}}
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: site}}
    spec:
      terminationGracePeriodSeconds: 20
      containers:
      - name: server
        image: busybox:1
        command: [sh, -c, "mkdir -p /tmp/www/a; echo WORD >/tmp/www/index.html; echo WORD-a >/tmp/www/a/index.html; exec httpd -f -p 8080 -h /tmp/www"]
        readinessProbe: {httpGet: {path: /, port: www}, periodSeconds: 1, timeoutSeconds: 30}
        lifecycle: {preStop: {exec: {command: [sleep, "1"]}}}
        ports: [{name: www, containerPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: site}
spec:
  selector: {app: site}
  ports: [{name: http, port: 80, targetPort: www}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: site}
spec:
  rules:
  - host: site.example.com
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: site, port: {name: http}}}}
  - host: "*.wild.example.com"
    http:
      paths:
      - {path: /a, pathType: Prefix, backend: {service: {name: site, port: {number: 80}}}}
      - {path: /a/exactly, pathType: Exact, backend: {service: {name: absent, port: {number: 80}}}}
"#;

fn site(word: &str) -> String {
    SITE.replace("WORD", word)
}

/// An answer's status, and its text before it.
fn get(cluster: &Cluster, url: &str, args: &[&str]) -> Outcome {
    let hosts = ["site", "x.wild", "tls"]
        .map(|name| [80, 443].map(|port| format!("{name}.example.com:{port}:127.0.0.1")));
    let hosts: Vec<_> = hosts.iter().flatten().flat_map(|host| ["--resolve", host]).collect();
    cluster
        .node
        .command(&[&["curl", "-sS", "-m", "20", "-w", "%{http_code}"], &*hosts, args, &[url]].concat())
        .wait()
}

#[track_caller]
fn answers(cluster: &Cluster, url: &str, wanted: &str) {
    wait_for(&format!("{wanted} from {url}"), 60, || (get(cluster, url, &[]).stdout == wanted).then_some(()));
}

/// Events of the Ingress, as `describe` shows them.
#[track_caller]
fn described(cluster: &Cluster, name: &str, fragment: &str) {
    wait_for(&format!("{fragment} in describe"), 60, || {
        cluster.ok(&["describe", "ingress", name]).contains(fragment).then_some(())
    });
}

#[test]
fn hosts_and_paths_lead_to_services() {
    let cluster = cluster!();
    cluster.apply(&site("one"));
    answers(&cluster, "http://site.example.com/", "one\n200");
    for (url, wanted) in [
        ("http://site.example.com/a/", "one-a\n200"),
        ("http://x.wild.example.com/a/", "one-a\n200"),
        ("http://x.wild.example.com/b/", "no ingress has a rule for this host and path\n404"),
        ("http://127.0.0.1/", "no ingress has a rule for this host and path\n404"),
        ("http://x.wild.example.com/a/exactly", "no endpoint of service default/absent:80 is ready\n503"),
    ] {
        assert_eq!(get(&cluster, url, &[]).stdout, wanted, "{url}");
    }
    described(&cluster, "site", "service default/absent not found: requests get 503");
    cluster.wait("deployment", "site", "both Pods ready", |site| site["status"]["readyReplicas"] == 2);
    let address = |ingress: &serde_json::Value| {
        ingress["status"]["loadBalancer"]["ingress"][0]["ip"].as_str().map(str::to_owned)
    };
    let ingress = cluster.wait("ingress", "site", "an address", |ingress| address(ingress).is_some());
    let address = address(&ingress);
    let pod = cluster.ok(&["get", "pods", "-o", "json"]);
    let pods: serde_json::Value = serde_json::from_str(&pod).expect("JSON");
    assert_eq!(address.as_deref(), pods["items"][0]["status"]["hostIP"].as_str(), "{ingress}");
    cluster.ok(&["delete", "ingress", "site"]);
    answers(&cluster, "http://site.example.com/", "no ingress has a rule for this host and path\n404");
}

#[test]
fn a_rolling_update_fails_no_request() {
    let cluster = cluster!();
    cluster.apply(&site("one"));
    answers(&cluster, "http://site.example.com/", "one\n200");
    // Until it is told to stop: each answer's status, a connection each.
    let (stop, codes) = (cluster.node.file("stop"), cluster.node.file("codes"));
    let client = format!(
        "until [ -e {} ]; do curl -s -m 20 -o /dev/null -w '%{{http_code}}\\n' -H 'Host: site.example.com' http://127.0.0.1/; done >{}",
        stop.display(),
        codes.display()
    );
    let client = cluster.node.command(&["sh", "-c", &client]).limit(600).spawn();
    let answered = || fs::read_to_string(&codes).unwrap_or_default();
    let more = |than: usize| {
        wait_for("answers", 60, || (answered().lines().count() > than + 3).then_some(()));
    };
    more(0);
    cluster.apply(&site("two"));
    let status = cluster.program(&["rollout", "status", "deployment/site", "--timeout=120s"]);
    status.limit(180).wait().success();
    answers(&cluster, "http://site.example.com/", "two\n200");
    more(answered().lines().count());
    fs::write(&stop, "").expect("a file");
    client.wait().success();
    let codes = answered();
    let failed: Vec<_> = codes.lines().filter(|code| *code != "200").collect();
    assert!(failed.is_empty(), "{failed:?} of {}", codes.lines().count());
}

/// A certificate for a name, by openssl, in a Secret. Err: a reason to skip.
fn secret(cluster: &Cluster, name: &str) -> Result<String, String> {
    crate::support::program("openssl")?;
    let (key, certificate) = (cluster.node.file("key.pem"), cluster.node.file("cert.pem"));
    let make = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name} -addext subjectAltName=DNS:{name} -keyout {} -out {}",
        key.display(),
        certificate.display()
    );
    cluster.node.command(&["sh", "-c", &make]).wait().success();
    let indented = |path| fs::read_to_string(path).expect("a file").replace('\n', "\n    ");
    Ok(format!(
        "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: {{name: cert}}\nstringData:\n  tls.crt: |\n    {}\n  tls.key: |\n    {}\n",
        indented(certificate),
        indented(key)
    ))
}

const TLS: &str = r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: secure}
spec:
  tls: [{hosts: [tls.example.com], secretName: cert}]
  rules:
  - host: tls.example.com
    http:
      paths: [{path: /, pathType: Prefix, backend: {service: {name: site, port: {number: 80}}}}]
"#;

#[test]
fn tls_is_from_a_secret_and_plain_requests_are_led_there() {
    let cluster = cluster!();
    let secret = crate::support::require!(secret(&cluster, "tls.example.com"));
    cluster.apply(&site("one"));
    cluster.apply(TLS);
    described(&cluster, "secure", "secret default/cert not found: clients get a self-signed certificate");
    answers(&cluster, "http://site.example.com/", "one\n200");
    let certificate = cluster.node.file("cert.pem");
    let trusting = ["--cacert", certificate.to_str().expect("UTF-8")];
    // Each port is listened on when it is.
    let refused = wait_for("an answer with TLS", 60, || {
        Some(get(&cluster, "https://tls.example.com/", &trusting)).filter(|outcome| outcome.code() != 7)
    });
    assert_eq!(refused.code(), 60, "{}", refused.stderr);
    cluster.apply(&secret);
    wait_for("the certificate", 60, || {
        (get(&cluster, "https://tls.example.com/", &trusting).stdout == "one\n200").then_some(())
    });
    let redirected = get(&cluster, "http://tls.example.com/a/", &["-D", "-"]).stdout;
    assert!(redirected.starts_with("HTTP/1.1 308"), "{redirected}");
    assert!(
        redirected.to_ascii_lowercase().contains("location: https://tls.example.com/a/\r"),
        "{redirected}"
    );
    let followed =
        get(&cluster, "http://tls.example.com/a/", &[&trusting[..], &["-L", "--http2"]].concat()).stdout;
    assert_eq!(followed, "one-a\n200");
}

#[test]
fn a_port_that_is_taken_is_said_and_the_agent_runs_on() {
    let cluster = crate::support::require!(Cluster::without_agent());
    let thief = cluster
        .node
        .command(&["busybox", "httpd", "-f", "-p", "127.0.0.1:80", "-h", "/run"])
        .limit(600)
        .spawn();
    wait_for("the thief's port", 20, || {
        let sockets = cluster.node.run(&["cat", "/proc/net/tcp"]).stdout;
        sockets.contains("0100007F:0050 00000000:0000 0A").then_some(())
    });
    cluster.start(&[]);
    cluster.apply(&site("one"));
    described(
        &cluster,
        "site",
        "cannot listen on 0.0.0.0:80: Address already in use (os error 98) (busybox, process",
    );
    cluster.wait("deployment", "site", "ready", |site| site["status"]["readyReplicas"] == 2);
    let pid = rustix::process::Pid::from_raw(cluster.node.child_of(thief.pid())).expect("a pid");
    rustix::process::kill_process(pid, Signal::TERM).expect("kill");
    thief.wait();
    answers(&cluster, "http://site.example.com/", "one\n200");
}

#[test]
fn a_killed_agent_serves_again() {
    let cluster = cluster!();
    cluster.apply(&site("one"));
    answers(&cluster, "http://site.example.com/", "one\n200");
    cluster.end(Signal::KILL);
    cluster.start(&[]);
    answers(&cluster, "http://site.example.com/", "one\n200");
}
