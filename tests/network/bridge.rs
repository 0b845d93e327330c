//! Namespaces on a bridge, without ports.

use std::net::{SocketAddr, TcpListener};

use rcrun::network::NetworkError;

use crate::host::{Host, Pod, ask, bridge_in, require, sent_again, serve};

#[test]
fn two_namespaces_and_the_host_reach_each_other_in_both_families() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    let (one, two) = (host.pod(&bridge, "one", &[]), host.pod(&bridge, "two", &[]));
    assert_eq!(one.addresses.len(), 2);
    assert!(one.addresses[0].is_ipv4() && one.addresses[1].is_ipv6(), "{:?}", one.addresses);
    two.serve(80, "two");
    serve(TcpListener::bind("[::]:81").unwrap(), "host");
    for family in 0..2 {
        let (from, to) = (one.addresses[family], two.addresses[family]);
        assert_eq!(one.ask(SocketAddr::new(to, 80)).unwrap(), format!("two {from}"));
        assert!(ask(SocketAddr::new(to, 80)).unwrap().starts_with("two "));
        let gateway = if family == 0 { "10.88.0.1" } else { "fd72:6372:756e::1" };
        assert_eq!(one.ask(SocketAddr::new(gateway.parse().unwrap(), 81)).unwrap(), format!("host {from}"));
    }
    for name in ["one", "two"] {
        bridge.detach(name).unwrap();
    }
    host.is_empty();
    bridge.detach("one").unwrap();
}

#[test]
fn packets_pass_at_once() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    host.pod(&bridge, "first", &[]).serve(80, "first");
    // Neither a bridge's forward delay nor the detection of duplicate addresses makes everybody wait. Now and then a
    // packet is lost, for the kernel joins IPv6's groups when it can.
    let mut again = [(); 3].map(|()| Vec::new());
    for n in 0..21 {
        let name = n.to_string();
        let pod = Pod { namespace: host.namespace(&name), addresses: Vec::new() };
        pod.serve(80, "pod");
        let addresses = bridge.attach(&pod.namespace, &name, "eth0", &[]).unwrap().addresses;
        let sent_again = || match n % 3 {
            2 => sent_again(),
            _ => pod.namespace.enter(sent_again).unwrap(),
        };
        let before = sent_again();
        match n % 3 {
            0 => pod.ask(SocketAddr::new("10.88.0.2".parse().unwrap(), 80)).unwrap(),
            1 => pod.ask(SocketAddr::new("fd72:6372:756e::2".parse().unwrap(), 80)).unwrap(),
            _ => ask(SocketAddr::new(addresses[0], 80)).unwrap(),
        };
        again[n % 3].push(sent_again() - before);
    }
    assert!(again.iter().all(|kind| kind.contains(&0)), "{again:?}");
}

#[test]
fn an_address_rests_before_it_is_given_again() {
    let host = require!(Host::new());
    let bridge = host.bridge_of(Some("10.9.0.0/29"), None);
    let mut given = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        given.push(host.pod(&bridge, name, &[]).addresses[0].to_string());
        bridge.detach(name).unwrap();
    }
    assert_eq!(given, ["10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5", "10.9.0.6", "10.9.0.2"]);
    host.is_empty();
}

#[test]
fn a_full_subnet_says_so() {
    let host = require!(Host::new());
    let bridge = host.bridge_of(Some("10.9.0.0/30"), Some("fd09::/64"));
    host.pod(&bridge, "one", &[]);
    let other = host.namespace("two");
    let error = bridge.attach(&other, "two", "eth0", &[]).unwrap_err();
    assert!(matches!(&error, NetworkError::Exhausted { leases: 1, .. }), "{error}");
    assert!(error.to_string().contains("no address is free in 10.9.0.0/30: 1 leases"), "{error}");
    bridge.detach("one").unwrap();
    bridge.attach(&other, "two", "eth0", &[]).unwrap();
}

#[test]
fn an_owner_that_comes_again_has_what_it_had() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    let pod = host.pod(&bridge, "one", &[]);
    let devices = host.devices();
    let again = bridge.attach(&pod.namespace, "one", "eth0", &[]).unwrap();
    assert_eq!((again.addresses, host.devices()), (pod.addresses.clone(), devices));
    // After a crash half way: the device is there, not all of its addresses.
    pod.namespace.enter(|| rcrun::netlink::Socket::open().unwrap().remove("eth0").unwrap()).unwrap();
    let again = bridge.attach(&pod.namespace, "one", "eth0", &[]).unwrap();
    assert_eq!(again.addresses, pod.addresses);
    pod.serve(80, "one");
    assert!(ask(SocketAddr::new(pod.addresses[1], 80)).is_ok());
}

#[test]
fn a_failure_leaves_nothing() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    let namespace = host.namespace("one");
    let error = bridge.attach(&namespace, "one", "lo", &[]).unwrap_err().to_string();
    assert!(error.contains("lo of ") && error.contains("File exists"), "{error}");
    host.is_empty();
    for owner in ["", "a/b", ".", ".."] {
        assert!(bridge.attach(&namespace, owner, "eth0", &[]).is_err(), "{owner:?}");
    }
    host.is_empty();
}

#[test]
fn what_the_dead_have_left_is_collected() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    for name in ["alive", "dead", "rebooted", "half"] {
        host.pod(&bridge, name, &[]);
    }
    // A crash between two links, a loss of power while a record was written, a record that was lost.
    std::fs::remove_file(host.path("leases/addresses/10.88.0.5")).unwrap();
    std::fs::write(host.path("leases/owners/dead"), "").unwrap();
    std::fs::write(host.path("leases/owners/.x"), "{").unwrap();
    std::os::unix::fs::symlink("lost", host.path("leases/addresses/10.88.0.99")).unwrap();
    bridge.collect(&|owner| owner == "alive").unwrap();
    assert_eq!(host.names("leases/owners"), ["alive"]);
    let mut addresses = host.names("leases/addresses");
    addresses.sort();
    assert_eq!(addresses, ["10.88.0.2", "fd72:6372:756e::2"]);
    assert_eq!(host.devices().iter().filter(|name| name.starts_with("rcv")).count(), 1);
    bridge.collect(&|_| false).unwrap();
    host.is_empty();
}

#[test]
fn two_hundred_come_and_go() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    let namespace = host.namespace("one");
    for n in 0..200 {
        bridge.attach(&namespace, &n.to_string(), "eth0", &[]).unwrap();
        bridge.detach(&n.to_string()).unwrap();
    }
    host.is_empty();
    let inside = namespace.enter(|| host.devices()).unwrap();
    assert!(!inside.contains(&"eth0".to_owned()), "{inside:?}");
}

#[test]
fn eight_threads_attach_at_once() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    let addresses = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (host, bridge, addresses) = (&host, &bridge, &addresses);
            scope.spawn(move || {
                for n in 0..5 {
                    let pod = host.pod(bridge, &format!("{thread}-{n}"), &[]);
                    addresses.lock().unwrap().extend(pod.addresses);
                }
            });
        }
    });
    let mut addresses = addresses.into_inner().unwrap();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 80);
    bridge.collect(&|_| false).unwrap();
    host.is_empty();
}

const IPV4: &str = "/proc/sys/net/ipv4/conf";
const IPV6: &str = "/proc/sys/net/ipv6/conf";

fn set(directory: &str, device: &str, value: &str) {
    std::fs::write(format!("{directory}/{device}/forwarding"), value).expect("a sysctl");
}

fn forwards(directory: &str, device: &str) -> bool {
    let text = std::fs::read_to_string(format!("{directory}/{device}/forwarding"));
    text.expect("a sysctl") == "1\n"
}

#[test]
fn many_first_ones_at_once_leave_a_host_that_forwards() {
    let host = require!(Host::new());
    for round in 0..100 {
        let place = host.path(&round.to_string());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let host = Host::new().expect("a host");
                let bridge = bridge_in(&place);
                std::thread::scope(|scope| {
                    for n in 0..4 {
                        let (host, bridge) = (&host, &bridge);
                        scope.spawn(move || host.pod(bridge, &n.to_string(), &[]));
                        // As others do for networks of theirs.
                        let others = || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1");
                        scope.spawn(move || (0..20).try_for_each(|_| others()).expect("a sysctl"));
                    }
                });
                for (directory, device) in [(IPV4, "rcrun0"), (IPV4, "lo"), (IPV6, "rcrun0"), (IPV6, "lo")] {
                    assert!(forwards(directory, device), "round {round}: {directory}/{device}");
                }
            });
        });
    }
}

#[test]
fn a_host_that_says_it_forwards_and_does_not_is_made_to() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    // As two that write ip_forward at once may leave it.
    let break_it = |devices: &[&str]| {
        set(IPV4, "all", "1");
        devices.iter().for_each(|device| set(IPV4, device, "0"));
        assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").expect("a sysctl"), "1\n");
    };
    break_it(&["default", "lo"]);
    host.pod(&bridge, "one", &[]);
    assert!(["default", "lo", "rcrun0"].iter().all(|device| forwards(IPV4, device)));
    // A bridge that is there does not keep it from the next one.
    break_it(&["default", "lo", "rcrun0"]);
    host.pod(&bridge, "two", &[]);
    assert!(["default", "lo", "rcrun0"].iter().all(|device| forwards(IPV4, device)));
}

#[test]
fn where_new_devices_are_not_to_forward_the_bridge_does_and_the_others_are_left_alone() {
    let host = require!(Host::new());
    for directory in [IPV4, IPV6] {
        set(directory, "all", "1");
        set(directory, "default", "0");
    }
    host.pod(&host.bridge(), "one", &[]);
    for directory in [IPV4, IPV6] {
        assert!(forwards(directory, "rcrun0") && forwards(directory, "lo"), "{directory}");
        assert!(!forwards(directory, "default"), "{directory}");
    }
}
