//! Where packets go, and whose they seem to be.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::process::Command;

use serde_json::json;

use super::super::examples::{endpoints, service};
use super::world::{World, answer, at, connect, datagram, inside, udp, until, until_rules};

const WEB: &str = "10.96.0.1:80";
const WEB6: &str = "[fd00:96::1]:80";

/// A Service with both families and protocols and a NodePort, of Pods by the last parts of their addresses.
fn web(world: &World, pods: &[u8], affinity: bool) {
    let port = |protocol: &str, node: u16| json!({"name": protocol, "port": 80, "protocol": protocol, "nodePort": node});
    world.put(service(
        "web",
        json!({"type": "NodePort", "clusterIPs": ["10.96.0.1", "fd00:96::1"], "ports": [port("TCP", 30080), port("UDP", 30080)],
               "sessionAffinity": if affinity { "ClientIP" } else { "None" }}),
    ));
    let ports = json!([{"name": "TCP", "port": 8080}, {"name": "UDP", "port": 8080, "protocol": "UDP"}]);
    world.put(endpoints("web", &addresses(pods), ports));
}

fn addresses(pods: &[u8]) -> Vec<IpAddr> {
    let both = pods.iter().flat_map(|last| [format!("10.88.0.{last}"), format!("fd00:88::{last}")]);
    both.map(|ip| ip.parse().unwrap()).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// All of it, where rules see what stays on the bridge, and where they do not.
fn pods_reach_services(bridged: bool) {
    let Some(world) = World::new(bridged) else { return };
    if bridged {
        // As rcrun's own bridge has it, which is not to have a say here.
        let script = "add table inet other
             add chain inet other p { type nat hook postrouting priority 100; }
             add rule inet other p ct status dnat oifname rcrun0 masquerade";
        assert!(Command::new("nft").arg(script).status().unwrap().success());
    }
    let client = world.pod(2);
    let backends = [world.pod(3), world.pod(4), world.pod(5)];
    web(&world, &[3, 4, 5], false);
    until_rules("mod 3");
    for (to, own, bridge) in [(WEB, "10.88.0.2", "10.88.0.1"), (WEB6, "fd00:88::2", "fd00:88::1")] {
        let (mut tcp, mut datagrams) = (BTreeMap::new(), BTreeMap::new());
        for _ in 0..150 {
            for (found, counts) in [
                (at(&client, || connect(to)).unwrap(), &mut tcp),
                (at(&client, || datagram(&udp(to)?)).unwrap(), &mut datagrams),
            ] {
                assert_eq!(found.1, ip(if bridged { own } else { bridge }), "{to}");
                *counts.entry(found.0).or_insert(0) += 1;
            }
        }
        for counts in [tcp, datagrams] {
            assert_eq!(counts.len(), 3, "{counts:?}");
            // 50 are expected; below 20 it is one in 10^6.
            assert!(backends.iter().all(|name| counts[name] > 20), "{counts:?}");
        }
    }
    // A Pod asks before anybody has told of its address.
    let early = world.attach(9);
    for (to, own, bridge) in [(WEB, "10.88.0.9", "10.88.0.1"), (WEB6, "fd00:88::9", "fd00:88::1")] {
        let (name, seen) = at(&early, || connect(to)).unwrap();
        assert!(backends.contains(&name), "{name}");
        // As one that is known; what other rules make of it where nobody misses the answer is theirs.
        assert!(seen == ip(bridge) || bridged && seen == ip(own), "{seen}");
    }
    // The node itself.
    for to in [WEB, WEB6] {
        assert!(backends.contains(&at("", || connect(to)).unwrap().0));
        assert!(backends.contains(&at("", || datagram(&udp(to)?)).unwrap().0));
    }
    // A Pod that is its own backend, and is given to itself sooner or later.
    for to in [WEB, WEB6] {
        let itself = || (at("pod3", || connect(to)).unwrap().0 == "pod3").then_some(());
        until("a Pod reaches itself", itself);
    }
}

#[test]
fn pods_reach_services_where_rules_see_what_stays_on_the_bridge() {
    inside("services::tests::traffic::pods_reach_services_where_rules_see_what_stays_on_the_bridge", || {
        pods_reach_services(true);
    });
}

#[test]
fn pods_reach_services_where_rules_do_not_see_what_stays_on_the_bridge() {
    inside(
        "services::tests::traffic::pods_reach_services_where_rules_do_not_see_what_stays_on_the_bridge",
        || {
            pods_reach_services(false);
        },
    );
}

#[test]
fn node_ports_answer_on_the_nodes_addresses() {
    inside("services::tests::traffic::node_ports_answer_on_the_nodes_addresses", || {
        let Some(world) = World::new(false) else { return };
        let (client, backend) = (world.pod(2), world.pod(3));
        web(&world, &[3], false);
        until_rules("mod 1");
        let at_node = "192.0.2.254:30080";
        let found = at("outside", || connect(at_node)).unwrap();
        assert_eq!(found, (backend.clone(), ip("192.0.2.1")), "who is outside is seen as himself");
        assert_eq!(at("outside", || datagram(&udp(at_node)?)).unwrap(), found);
        for (place, to) in [
            (client.as_str(), at_node),
            (client.as_str(), "10.88.0.1:30080"),
            (client.as_str(), "[fd00:88::1]:30080"),
            (backend.as_str(), at_node),
            ("", at_node),
            ("", "10.88.0.1:30080"),
        ] {
            assert_eq!(at(place, || connect(to)).unwrap().0, backend, "{place} to {to}");
        }
        // A port that no Service has is the node's own.
        assert_eq!(
            at("outside", || connect("192.0.2.254:30081")).unwrap_err().kind(),
            ErrorKind::ConnectionRefused
        );
    });
}

#[test]
fn what_nobody_answers_is_refused_at_once() {
    inside("services::tests::traffic::what_nobody_answers_is_refused_at_once", || {
        let Some(world) = World::new(false) else { return };
        let client = world.pod(2);
        web(&world, &[], false);
        until_rules("10.96.0.1 . tcp . 80");
        for place in [client.as_str(), ""] {
            for to in [WEB, WEB6, "10.96.0.1:81", "10.96.7.7:80", "[fd00:96::7]:80", "192.0.2.254:30080"] {
                let refused = ErrorKind::ConnectionRefused;
                assert_eq!(at(place, || connect(to)).unwrap_err().kind(), refused, "TCP {place} to {to}");
                // The kernel tells a process of its own about a rule and not about a port.
                let refused = if place.is_empty() { ErrorKind::PermissionDenied } else { refused };
                let datagram = at(place, || datagram(&udp(to)?)).unwrap_err().kind();
                assert!(
                    [refused, ErrorKind::ConnectionRefused].contains(&datagram),
                    "UDP {place} to {to}: {datagram}"
                );
            }
        }
        let outside = at("outside", || connect("192.0.2.254:30080"));
        assert_eq!(outside.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn endpoints_may_be_elsewhere() {
    inside("services::tests::traffic::endpoints_may_be_elsewhere", || {
        let Some(world) = World::new(false) else { return };
        let client = world.pod(2);
        answer("outside");
        answer("");
        world.put(service("web", json!({"selector": {}, "clusterIP": "10.96.0.1", "ports": [{"port": 80}]})));
        for (to, name) in [("192.0.2.1", "outside"), ("192.0.2.254", "node")] {
            world.put(endpoints("web", &[ip(to)], json!([{"port": 8080}])));
            until_rules(&format!("0 : {to} . 8080"));
            for place in [client.as_str(), ""] {
                let (found, peer) = at(place, || connect(WEB)).unwrap();
                assert_eq!(found, name, "{place}");
                // Nobody outside knows Pods' addresses.
                assert!(name == "node" || peer == ip("192.0.2.254"), "{place}: {peer}");
            }
        }
    });
}

#[test]
fn a_client_stays_with_his_backend() {
    inside("services::tests::traffic::a_client_stays_with_his_backend", || {
        let Some(world) = World::new(true) else { return };
        let clients = [world.pod(2), world.pod(6)];
        let _backends = [world.pod(3), world.pod(4), world.pod(5)];
        web(&world, &[3, 4, 5], true);
        until_rules("mod 3");
        let first: Vec<_> = clients.iter().map(|client| at(client, || connect(WEB)).unwrap().0).collect();
        let same = |first: &[String]| {
            for (client, first) in clients.iter().zip(first) {
                for _ in 0..15 {
                    assert_eq!(&at(client, || connect(WEB)).unwrap().0, first);
                }
            }
        };
        same(&first);
        // Other backends come and go; his own stays.
        let number = |name: &str| name.trim_start_matches("pod").parse::<u8>().unwrap();
        let mut kept: Vec<_> = first.iter().map(|name| number(name)).collect();
        kept.dedup();
        web(&world, &kept, true);
        until_rules(&format!("mod {}", kept.len()));
        same(&first);
        web(&world, &[3, 4, 5], true);
        until_rules("mod 3");
        same(&first);
        // His own goes.
        let others: Vec<_> = [3, 4, 5].into_iter().filter(|last| *last != number(&first[0])).collect();
        web(&world, &others, true);
        until_rules("mod 2");
        let second = at(&clients[0], || connect(WEB)).unwrap().0;
        assert_ne!(second, first[0]);
        web(&world, &[3, 4, 5], true);
        until_rules("mod 3");
        assert_eq!(at(&clients[0], || connect(WEB)).unwrap().0, second);
    });
}
