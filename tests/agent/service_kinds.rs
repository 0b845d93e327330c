//! Kinds of Services beside the usual one: UDP and SCTP, clients that stay, names, endpoints of a user's, ports of the node.

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::network::within;
use crate::services;
use crate::support::{skip, wait_for};

/// A Pod that does nothing by itself.
fn pod(name: &str, labels: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{{labels}}}}}\nspec: {{terminationGracePeriodSeconds: 0, {rest} \
         containers: [{{name: main, image: 'busybox:1', command: [sleep, '10000'], ports: [{{name: ask, containerPort: 5353, protocol: UDP}}]}}]}}\n"
    )
}

fn service(name: &str, spec: &str) -> String {
    format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

/// Answers each datagram with the name and whom it came from, as long as the socket's network is there.
fn echo(socket: UdpSocket, name: &str) {
    let name = name.to_owned();
    std::thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer);
        }
    });
}

/// What a datagram from a new socket is answered: the server's name, and the address that it sees. One that is lost is sent again, as all
/// who ask by datagrams do.
fn ask(to: &str) -> io::Result<(String, String)> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    socket.connect(to.parse::<SocketAddr>().expect("an address"))?;
    let mut buffer = [0; 64];
    let mut tries = 0..60;
    let length = loop {
        socket.send(b"?")?;
        match socket.recv(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && tries.next().is_some() => {}
            length => break length?,
        }
    };
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    let (name, peer) = text.split_once(' ').expect("two words");
    Ok((name.into(), peer.into()))
}

/// Two Pods that answer datagrams, and a client.
fn answering(cluster: &Cluster) {
    cluster.apply(&[pod("a", "app: dns", ""), pod("b", "app: dns", ""), pod("client", "", "")].concat());
    for name in ["a", "b", "client"] {
        cluster.ready(name);
    }
    for name in ["a", "b"] {
        echo(cluster.in_pod(name, || UdpSocket::bind("0.0.0.0:5353").expect("a port")), name);
    }
}

/// What cluster DNS tells the client of a name.
fn looked_up(cluster: &Cluster, question: &[&str]) -> String {
    let command = [&["exec", "client", "--", "busybox", "nslookup"], question].concat();
    services::looked_up(|| cluster.verb(&command))
}

fn endpoints(cluster: &Cluster, name: &str, count: usize) -> Value {
    cluster.wait("endpoints", name, &format!("{count} addresses"), |endpoints| {
        let subsets = endpoints["subsets"].as_array().into_iter().flatten();
        subsets.filter_map(|subset| Some(subset["addresses"].as_array()?.len())).sum::<usize>() == count
    })
}

fn until_rules(cluster: &Cluster, contain: &str) {
    wait_for(&format!("{contain} in the rules"), 30, || cluster.rules().contains(contain).then_some(()));
}

#[test]
fn datagrams_reach_a_port_by_its_name_and_clients_stay_for_as_long_as_they_may() {
    let cluster = cluster!();
    answering(&cluster);
    let port = "ports: [{name: dns, port: 53, protocol: UDP, targetPort: ask}]";
    let stays = |seconds: u32| {
        format!(
            "sessionAffinity: ClientIP, sessionAffinityConfig: {{clientIP: {{timeoutSeconds: {seconds}}}}}"
        )
    };
    cluster.apply(
        &[
            service("any", &format!("clusterIP: 10.96.1.1, selector: {{app: dns}}, {port}")),
            service("long", &format!("clusterIP: 10.96.1.2, selector: {{app: dns}}, {}, {port}", stays(600))),
            service("short", &format!("clusterIP: 10.96.1.3, selector: {{app: dns}}, {}, {port}", stays(1))),
        ]
        .concat(),
    );
    for name in ["any", "long", "short"] {
        endpoints(&cluster, name, 2);
    }
    until_rules(&cluster, "clients/default/short/udp/53");
    let asked = |to: &'static str| cluster.in_pod("client", || ask(to)).expect("an answer").0;
    let mut seen = BTreeSet::new();
    wait_for("both of them", 60, || {
        seen.insert(asked("10.96.1.1:53"));
        (seen.len() == 2).then_some(())
    });
    // The node itself, too.
    cluster.node.in_network(|| ask("10.96.1.1:53")).expect("an answer");
    let first = asked("10.96.1.2:53");
    for _ in 0..20 {
        assert_eq!(asked("10.96.1.2:53"), first);
    }
    // Who was away for longer may be led elsewhere: to the other one sooner or later.
    let first = asked("10.96.1.3:53");
    let client = cluster.object("pod", "client").expect("a Pod")["status"]["podIP"]
        .as_str()
        .expect("an address")
        .to_owned();
    let is_kept = || {
        ["a", "b"].iter().any(|name| {
            let ip = cluster.object("pod", name).expect("a Pod")["status"]["podIP"]
                .as_str()
                .expect("an address")
                .to_owned();
            let set = format!("clients/default/short/udp/53/{ip}/5353");
            cluster.node.run(&["nft", "list", "set", "inet", "rcrun-agent", &set]).stdout.contains(&client)
        })
    };
    wait_for("the other one", 120, || {
        wait_for("the end of the client's time", 30, || (!is_kept()).then_some(()));
        (asked("10.96.1.3:53") != first).then_some(())
    });
    // Nobody: refused.
    cluster.ok(&["delete", "pods", "a", "b", "--now"]);
    endpoints(&cluster, "any", 0);
    wait_for("rules without them", 60, || {
        (!cluster.rules().contains("10.96.1.1 . udp . 53 : goto")).then_some(())
    });
    let refused = cluster.in_pod("client", || ask("10.96.1.1:53")).expect_err("nobody answers");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_port_of_the_node_is_reached_from_outside_under_both_policies() {
    let cluster = cluster!();
    let outside = "ip netns add outside; ip link add uplink type veth peer name eth0 netns outside; \
        ip link set uplink up; ip address add 192.0.2.254/24 dev uplink; \
        ip -n outside link set eth0 up; ip -n outside address add 192.0.2.1/24 dev eth0";
    cluster.node.run(&["sh", "-euc", outside]).success();
    answering(&cluster);
    for (policy, port) in [("Cluster", 30053), ("Local", 30054)] {
        cluster.apply(&service(
            &policy.to_lowercase(),
            &format!(
                "type: NodePort, selector: {{app: dns}}, externalTrafficPolicy: {policy}, internalTrafficPolicy: {policy}, \
                 ports: [{{port: 53, protocol: UDP, targetPort: 5353, nodePort: {port}}}]"
            ),
        ));
        endpoints(&cluster, &policy.to_lowercase(), 2);
        until_rules(&cluster, &format!("udp . {port}"));
        let to = format!("192.0.2.254:{port}");
        let network = cluster.node.path("/run/netns/outside");
        let (_, seen) = within(&network, || ask(&to)).expect("an answer");
        assert_eq!(seen, "192.0.2.1", "{policy}: who is outside is seen as himself");
        cluster.node.in_network(|| ask(&to)).expect("an answer to the node");
        cluster.in_pod("client", || ask(&to)).expect("an answer to a Pod");
    }
    for (spec, path) in [
        ("externalTrafficPolicy: Near, type: NodePort", "spec.externalTrafficPolicy"),
        ("internalTrafficPolicy: Near", "spec.internalTrafficPolicy"),
        ("trafficDistribution: PreferClose", "spec.trafficDistribution"),
        ("type: LoadBalancer", "spec.type: LoadBalancer is not supported"),
        (
            "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}",
            "timeoutSeconds",
        ),
    ] {
        let refused =
            cluster.try_apply(&service("wrong", &format!("{spec}, ports: [{{port: 1}}]"))).exits_with(1);
        assert!(refused.stderr.contains(path), "{path}: {}", refused.stderr);
    }
    cluster.node.run(&["sh", "-euc", "ip link delete uplink; ip netns delete outside"]).success();
}

#[test]
fn names_of_other_names_and_endpoints_of_a_users() {
    let cluster = cluster!();
    answering(&cluster);
    cluster.node.run(&["ip", "address", "add", "192.168.7.1/32", "dev", "lo"]).success();
    echo(cluster.node.in_network(|| UdpSocket::bind("192.168.7.1:5353").expect("a port")), "node");
    let of_user = |address: &str| {
        format!(
            "---\napiVersion: v1\nkind: Endpoints\nmetadata: {{name: mine}}\nsubsets: [{{addresses: [{{ip: {address}}}], ports: [{{port: 5353, protocol: UDP}}]}}]\n"
        )
    };
    cluster.apply(
        &[
            service("mine", "clusterIP: 10.96.2.1, ports: [{port: 53, protocol: UDP}]"),
            of_user("192.168.7.1"),
            service("alias", "type: ExternalName, externalName: mine.default.svc.cluster.local"),
            service("abroad", "type: ExternalName, externalName: db.example.org"),
        ]
        .concat(),
    );
    until_rules(&cluster, "192.168.7.1 . 5353");
    assert_eq!(cluster.in_pod("client", || ask("10.96.2.1:53")).expect("an answer").0, "node");
    let a = cluster.object("pod", "a").expect("a Pod")["status"]["podIP"]
        .as_str()
        .expect("an address")
        .to_owned();
    cluster.apply(&of_user(&a));
    until_rules(&cluster, &format!("{a} . 5353"));
    assert_eq!(cluster.in_pod("client", || ask("10.96.2.1:53")).expect("an answer").0, "a");
    let alias = looked_up(&cluster, &["-type=a", "alias.default.svc.cluster.local"]);
    assert!(alias.contains("10.96.2.1") && alias.contains("mine.default.svc.cluster.local"), "{alias}");
    // Nobody here knows it; but whose name it is, is said.
    let abroad = looked_up(&cluster, &["-type=cname", "abroad.default.svc.cluster.local"]);
    assert!(abroad.contains("db.example.org"), "{abroad}");
    assert!(cluster.object("endpoints", "alias").is_none());
}

#[test]
fn members_of_a_stateful_set_have_names_that_stay() {
    let cluster = cluster!();
    let set = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: db, image: "busybox:1", command: [sleep, "1000"], readinessProbe: {exec: {command: [test, "!", -e, /tmp/ill]}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 30}}
"#;
    let headless = "clusterIP: None, selector: {app: db}, ports: [{name: sql, port: 5432}]";
    cluster.apply(
        &[
            set,
            &service("db", headless),
            &service("early", &format!("publishNotReadyAddresses: true, {headless}")),
            &pod("client", "", ""),
        ]
        .concat(),
    );
    for name in ["db-0", "db-1", "client"] {
        cluster.ready(name);
    }
    endpoints(&cluster, "db", 2);
    let asked = |name: &str| looked_up(&cluster, &[&format!("{name}.default.svc.cluster.local")]);
    let ip = |name: &str| {
        cluster.object("pod", name).expect("a Pod")["status"]["podIP"]
            .as_str()
            .expect("an address")
            .to_owned()
    };
    for name in ["db-0", "db-1"] {
        let own = asked(&format!("{name}.db"));
        assert!(own.contains(&ip(name)), "{own}");
        assert!(asked("db").contains(&ip(name)));
        assert_eq!(cluster.ok(&["exec", name, "--", "hostname"]), format!("{name}\n"));
    }
    // One that is not ready has a name only where that is asked for.
    cluster.ok(&["exec", "db-1", "--", "touch", "/tmp/ill"]);
    endpoints(&cluster, "db", 1);
    assert!(asked("db-1.db").contains("NXDOMAIN"));
    assert!(asked("early").contains(&ip("db-1")));
    cluster.ok(&["exec", "db-1", "--", "rm", "/tmp/ill"]);
    endpoints(&cluster, "db", 2);
    // Another Pod, the same name.
    let before = cluster.object("pod", "db-0").expect("a Pod")["metadata"]["uid"].clone();
    cluster.ok(&["delete", "pod", "db-0", "--now"]);
    cluster.wait("pod", "db-0", "made again", |pod| {
        pod["metadata"]["uid"] != before && crate::cluster::is_ready(pod)
    });
    endpoints(&cluster, "db", 2);
    let own = asked("db-0.db");
    assert!(own.contains(&ip("db-0")), "{own}");
}

#[test]
fn sctp_has_rules_and_goes_where_they_lead() {
    let cluster = cluster!();
    answering(&cluster);
    cluster.apply(&service(
        "sig",
        "clusterIP: 10.96.3.1, selector: {app: dns}, ports: [{port: 2905, protocol: SCTP}]",
    ));
    let found = endpoints(&cluster, "sig", 2);
    assert_eq!(found["subsets"][0]["ports"][0]["protocol"], "SCTP");
    until_rules(&cluster, "10.96.3.1 . sctp . 2905 : goto service/default/sig/sctp/2905");
    let events = cluster.ok(&["get", "events"]);
    assert!(!events.contains("ServiceRulesFailed"), "{events}");
    let sctp = rustix::net::ipproto::SCTP;
    if rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, Some(sctp))
        .is_err()
    {
        skip("this kernel has no SCTP; its rules were looked at, no packet was sent");
    }
}
