//! Ports of the host that lead into a namespace.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use rcrun::netlink::nftables::{Batch, Rules};
use rcrun::network::{Bridge, BridgeSettings, NetworkError, PortMapping, Protocol};

use crate::host::{Host, Pod, ask, ask_within, require};

fn port(address: Option<&str>, host: u16, container: u16, protocol: Protocol) -> PortMapping {
    PortMapping { address: address.map(|address| address.parse().unwrap()), host, container, protocol }
}

fn tcp(address: Option<&str>, host: u16) -> PortMapping {
    port(address, host, 80, Protocol::Tcp)
}

fn to(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), port)
}

/// Another network of the host's, 192.0.2.0/24 and fd02::/64, with a machine on it. It is no network of containers: its addresses
/// are not hidden.
fn neighbour(host: &Host) -> Pod {
    let settings = BridgeSettings {
        name: "lan0".into(),
        ipv4: Some("192.0.2.0/24".into()),
        ipv6: Some("fd02::/64".into()),
        mtu: None,
        leases: host.path("lan"),
    };
    let neighbour = host.pod(&Bridge::new(settings).unwrap(), "neighbour", &[]);
    flush("rcrun-lan0");
    neighbour
}

/// What `nft delete table` does.
fn flush(table: &str) {
    let mut batch = Batch::new(table);
    batch.delete_table();
    Rules::open().unwrap().commit(batch).unwrap();
}

#[test]
fn a_port_answers_on_every_address_of_the_host() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    let neighbour = neighbour(&host);
    let pod = host.pod(&bridge, "one", &[tcp(None, 8080)]);
    pod.serve(80, "one");
    for (address, client) in [
        ("127.0.0.1", "10.88.0.1"),
        ("127.0.0.9", "10.88.0.1"),
        ("10.88.0.1", "10.88.0.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("::1", "fd72:6372:756e:0:ffff:ffff:ffff:1f90"),
        ("fd72:6372:756e::1", "fd72:6372:756e::1"),
        ("fd02::1", "fd02::1"),
    ] {
        let answer = ask(to(address, 8080));
        assert_eq!(answer.expect(address), format!("one {client}"), "{address}");
    }
    for (address, client) in [("192.0.2.1", "192.0.2.2"), ("fd02::1", "fd02::2")] {
        assert_eq!(neighbour.ask(to(address, 8080)).expect(address), format!("one {client}"));
    }
    assert!(neighbour.ask(to("192.0.2.1", 8081)).is_err());
    bridge.detach("one").unwrap();
    for address in ["127.0.0.1", "::1", "192.0.2.1"] {
        assert!(ask(to(address, 8080)).is_err(), "{address}");
    }
    host.is_empty();
}

#[test]
fn where_rules_see_bridged_packets_all_addresses_answer() {
    let host = require!(Host::new());
    host.filter_bridges(true);
    let bridge = host.bridge();
    let neighbour = neighbour(&host);
    let (one, two) = (host.pod(&bridge, "one", &[tcp(None, 8080)]), host.pod(&bridge, "two", &[]));
    one.serve(80, "one");
    for address in ["127.0.0.1", "10.88.0.1", "192.0.2.1", "::1", "fd72:6372:756e::1", "fd02::1"] {
        assert!(ask(to(address, 8080)).is_ok(), "{address}");
    }
    for address in ["192.0.2.1", "fd02::1", "10.88.0.1", "fd72:6372:756e::1"] {
        for pod in [&one, &two, &neighbour] {
            assert!(pod.ask(to(address, 8080)).is_ok(), "{address}");
        }
    }
    for family in 0..2 {
        let (from, address) = (two.addresses[family], one.addresses[family]);
        assert_eq!(two.ask(SocketAddr::new(address, 80)).unwrap(), format!("one {from}"));
    }
    let ports = [tcp(Some("::1"), 8081), tcp(None, 8082), port(None, 5353, 53, Protocol::Udp)];
    let three = host.pod(&bridge, "three", &ports);
    three.serve(80, "three");
    serve_udp(&three, "three");
    // Two ports that lead to one, one that leads nowhere, and UDP.
    assert!(ask(to("::1", 8081)).is_ok() && ask(to("::1", 8082)).is_ok());
    assert_eq!(ask(to("::1", 8083)).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    let client = UdpSocket::bind("[::]:0").unwrap();
    assert!(is_answered(&client, to("::1", 5353), "three"));
}

#[test]
fn a_container_begins_no_connection_to_the_hosts_ipv6_loopback_address() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    let pod = host.pod(&bridge, "one", &[tcp(None, 8080)]);
    crate::host::serve(TcpListener::bind("[::]:7000").unwrap(), "host");
    assert!(pod.ask(to("fd72:6372:756e::1", 7000)).is_ok());
    let loopback = to("fd72:6372:756e:0:ffff:ffff:ffff:1f90", 7000);
    assert!(pod.namespace.enter(|| ask_within(loopback, Duration::from_secs(5))).unwrap().is_err());
}

#[test]
fn a_port_answers_to_its_own_container_and_to_its_neighbours() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    let (one, two) = (host.pod(&bridge, "one", &[tcp(None, 8080)]), host.pod(&bridge, "two", &[]));
    one.serve(80, "one");
    for address in ["10.88.0.1", "fd72:6372:756e::1"] {
        for pod in [&one, &two] {
            assert_eq!(pod.ask(to(address, 8080)).unwrap(), format!("one {address}"));
        }
    }
}

#[test]
fn a_port_of_one_address_answers_on_that_alone() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    neighbour(&host);
    let ports = [
        tcp(Some("127.0.0.1"), 8080),
        tcp(Some("fd02::1"), 8080),
        tcp(Some("0.0.0.0"), 8081),
        tcp(Some("::"), 8082),
    ];
    let pod = host.pod(&bridge, "one", &ports);
    pod.serve(80, "one");
    for (address, port, answers) in [
        ("127.0.0.1", 8080, true),
        ("192.0.2.1", 8080, false),
        ("fd02::1", 8080, true),
        ("::1", 8080, false),
        ("192.0.2.1", 8081, true),
        ("fd02::1", 8081, false),
        ("192.0.2.1", 8082, false),
        ("::1", 8082, true),
    ] {
        assert_eq!(ask(to(address, port)).is_ok(), answers, "{address} {port}");
    }
    bridge.detach("one").unwrap();
    host.is_empty();
}

#[test]
fn what_leaves_the_subnet_bears_the_hosts_address() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    let neighbour = neighbour(&host);
    neighbour.serve(80, "neighbour");
    let pod = host.pod(&bridge, "one", &[]);
    for (address, client) in [("192.0.2.2", "192.0.2.1"), ("fd02::2", "fd02::1")] {
        assert_eq!(pod.ask(to(address, 80)).unwrap(), format!("neighbour {client}"));
    }
}

/// Sends until this answer comes: the first packets of IPv6 are lost now and then. What was sent again is answered
/// again, perhaps by who was there before.
fn is_answered(client: &UdpSocket, to: SocketAddr, word: &str) -> bool {
    (0..120).any(|_| try_exchange(client, to).as_deref() == Some(word))
}

/// Sends once and waits for an answer.
fn try_exchange(client: &UdpSocket, to: SocketAddr) -> Option<String> {
    client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    client.send_to(b"?", to).unwrap();
    let mut buffer = [0; 32];
    let (length, from) = client.recv_from(&mut buffer).ok()?;
    assert_eq!(from, to, "the answer comes from whom it was asked");
    Some(String::from_utf8_lossy(&buffer[..length]).into())
}

fn serve_udp(pod: &Pod, word: &'static str) {
    let socket = pod.namespace.enter(|| UdpSocket::bind("[::]:53")).unwrap().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 32];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(word.as_bytes(), from);
        }
    });
}

#[test]
fn a_udp_client_that_goes_on_sending_reaches_the_next_container() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    neighbour(&host);
    let ports = [port(None, 5353, 53, Protocol::Udp)];
    for address in ["127.0.0.1", "192.0.2.1", "::1", "fd02::1"] {
        let any = if address.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        let client = UdpSocket::bind(any).unwrap();
        // Nobody answers, and the kernel remembers the connection.
        assert_eq!(try_exchange(&client, to(address, 5353)), None);
        for word in ["one", "two"] {
            let name = format!("{word}-{address}").replace(':', "-");
            let pod = host.pod(&bridge, &name, &ports);
            serve_udp(&pod, word);
            assert!(is_answered(&client, to(address, 5353), word), "{address} {word}");
            bridge.detach(&name).unwrap();
        }
    }
    host.is_empty();
}

#[test]
fn a_port_that_somebody_has_is_refused() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    host.pod(&bridge, "one", &[tcp(Some("127.0.0.1"), 8080), port(None, 8080, 53, Protocol::Udp)]);
    let other = host.namespace("two");
    let refused = |ports: &[PortMapping], holder: &str| {
        let error = bridge.attach(&other, "two", "eth0", ports).unwrap_err();
        assert!(matches!(error, NetworkError::PortTaken { .. }), "{error}");
        assert!(error.to_string().contains(holder), "{error}");
        assert_eq!(host.names("leases/owners"), ["one"]);
    };
    refused(&[tcp(None, 8080)], "host port 8080/tcp is taken by one");
    refused(&[port(Some("127.0.0.1"), 8080, 1, Protocol::Udp)], "8080/udp is taken by one");
    refused(&[tcp(None, 9000), tcp(None, 9000), tcp(Some("127.0.0.1"), 8080)], "by one");
    let listener = TcpListener::bind("127.0.0.1:8090").unwrap();
    let socket = UdpSocket::bind("[::]:8090").unwrap();
    refused(&[tcp(None, 8090)], "host port 8090/tcp is taken by a process of this host");
    refused(&[port(Some("127.0.0.1"), 8090, 1, Protocol::Udp)], "8090/udp is taken by a process");
    drop((listener, socket));
    let fine = [tcp(Some("127.0.0.2"), 8080), tcp(None, 8090), port(None, 8090, 1, Protocol::Udp)];
    bridge.attach(&other, "two", "eth0", &fine).unwrap();
    bridge.detach("one").unwrap();
    bridge.detach("two").unwrap();
    host.is_empty();
}

#[test]
fn a_port_without_an_address_of_its_family_is_refused() {
    let host = require!(Host::new());
    let bridge = host.bridge_of(Some("10.9.0.0/24"), None);
    let error = bridge.attach(&host.namespace("one"), "one", "eth0", &[tcp(Some("::1"), 8080)]);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("[::1]:8080") && error.contains("no address of this family"), "{error}");
    host.is_empty();
}

#[test]
fn rules_that_were_flushed_come_back_with_all_ports() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    let one = host.pod(&bridge, "one", &[tcp(None, 8080), tcp(Some("127.0.0.1"), 8083)]);
    one.serve(80, "one");
    flush("rcrun-rcrun0");
    assert!(ask(to("127.0.0.1", 8080)).is_err());
    let two = host.pod(&bridge, "two", &[tcp(None, 8081)]);
    two.serve(80, "two");
    for (port, word) in [(8080, "one"), (8081, "two"), (8083, "one")] {
        assert_eq!(ask(to("127.0.0.1", port)).unwrap(), format!("{word} 10.88.0.1"));
    }
    flush("rcrun-rcrun0");
    bridge.collect(&|_| true).unwrap();
    assert!(ask(to("127.0.0.1", 8080)).is_ok());
    flush("rcrun-rcrun0");
    bridge.detach("one").unwrap();
    bridge.detach("two").unwrap();
    host.is_empty();
}

/// Sends a datagram to 127.0.0.1 by way of `gateway`.
fn send_to_loopback(from: &Pod, gateway: &str, port: u16) {
    use rustix::net::{AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, sendto, socket_with};
    // IPv4 without its checksum, which the kernel fills in; UDP needs none.
    let mut packet = vec![0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0];
    let IpAddr::V4(own) = from.addresses[0] else { panic!("IPv4 first") };
    packet.extend(own.octets());
    packet.extend([127, 0, 0, 1, 0x30, 0x39]);
    packet.extend(port.to_be_bytes());
    packet.extend([0, 9, 0, 0, b'!']);
    let sent = from.namespace.enter(|| {
        // IPPROTO_RAW: whole packets.
        let raw = Protocol::from_raw(std::num::NonZero::new(255).unwrap());
        let socket = socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(raw));
        sendto(socket.unwrap(), &packet, SendFlags::empty(), &to(gateway, 0))
    });
    assert_eq!(sent.unwrap(), Ok(29));
}

fn receives_within(socket: &UdpSocket, patience: Duration) -> bool {
    socket.set_read_timeout(Some(patience)).unwrap();
    socket.recv(&mut [0; 8]).is_ok()
}

fn receives(socket: &UdpSocket) -> bool {
    receives_within(socket, Duration::from_secs(30))
}

/// As far as can be told soon.
fn receives_nothing(socket: &UdpSocket) -> bool {
    !receives_within(socket, Duration::from_millis(300))
}

#[test]
fn nobody_reaches_the_hosts_loopback_address_from_outside() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    let neighbour = neighbour(&host);
    let one = host.pod(&bridge, "one", &[port(None, 5353, 53, Protocol::Udp)]);
    let inside = one.namespace.enter(|| UdpSocket::bind("0.0.0.0:53")).unwrap().unwrap();
    let secret = UdpSocket::bind("127.0.0.1:7000").unwrap();
    // As kube-proxy sets it.
    std::fs::write("/proc/sys/net/ipv4/conf/lan0/route_localnet", "1").unwrap();
    send_to_loopback(&one, "10.88.0.1", 7000);
    assert!(receives_nothing(&secret));
    send_to_loopback(&neighbour, "192.0.2.1", 5353);
    assert!(receives_nothing(&inside));
    // It is the rules that keep them from there.
    send_to_loopback(&neighbour, "192.0.2.1", 7000);
    assert!(receives(&secret), "the test itself");
    flush("rcrun-rcrun0");
    send_to_loopback(&one, "10.88.0.1", 7000);
    assert!(receives(&secret), "the test itself");
}
