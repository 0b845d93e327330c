//! What each step costs, beside the kernel's own part of it: `cargo test --release --test network -- --ignored --nocapture`.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rcrun::netlink::{Socket, Veth};
use rcrun::network::{NetworkNamespace, PortMapping, Protocol};

use crate::host::{Host, ask, require};

const ROUNDS: u16 = 50;

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn timed<T>(times: &mut Vec<Duration>, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = work();
    times.push(start.elapsed());
    value
}

#[test]
#[ignore = "measures"]
fn what_attaching_costs_beside_a_bare_pair_of_devices() {
    let host = require!(Host::new());
    let bridge = host.bridge();
    host.pod(&bridge, "first", &[]);
    let socket = Socket::open().unwrap();
    let index = socket.link("rcrun0").unwrap().index;
    let names = [
        "unshare a network namespace, bare",
        "make and name a namespace",
        "make a pair of devices, bare",
        "remove a pair of devices, bare",
        "attach",
        "the first answer of a container",
        "detach",
        "attach with a port",
        "detach with a port",
        "unmount a namespace, bare",
        "remove a namespace",
    ];
    let mut times: [Vec<Duration>; 11] = Default::default();
    for round in 0..ROUNDS {
        let [bare, make, veth, no_veth, attach, answer, detach, port, no_port, unmount, remove] = &mut times;
        timed(bare, || {
            let unshare = || rcrun::sys::process::unshare(rustix::thread::UnshareFlags::NEWNET).unwrap();
            std::thread::spawn(unshare).join().unwrap();
        });
        let name = format!("n{round}");
        let namespace = timed(make, || host.namespace(&name));
        let pair = Veth {
            name: "bare0",
            alias: "bare",
            bridge: index,
            mtu: None,
            inside: "eth1",
            hardware: [2, 0, 0, 0, 0, 1],
            namespace: namespace.as_fd(),
        };
        timed(veth, || socket.add_veth(&pair).unwrap());
        timed(no_veth, || socket.remove("bare0").unwrap());
        let listener = namespace.enter(|| std::net::TcpListener::bind("[::]:80")).unwrap().unwrap();
        crate::host::serve(listener, "one");
        let addresses = timed(attach, || bridge.attach(&namespace, &name, "eth0", &[]).unwrap()).addresses;
        timed(answer, || ask(SocketAddr::new(addresses[0], 80)).unwrap());
        timed(detach, || bridge.detach(&name).unwrap());
        let mapping = PortMapping { address: None, host: 8080, container: 80, protocol: Protocol::Tcp };
        timed(port, || bridge.attach(&namespace, &name, "eth0", &[mapping]).unwrap());
        timed(no_port, || bridge.detach(&name).unwrap());
        drop(namespace);
        let path = host.path("netns").join(&name);
        timed(remove, || NetworkNamespace::remove(&path).unwrap());
        host.namespace("other");
        let other = host.path("netns").join("other");
        timed(unmount, || rustix::mount::unmount(&other, rustix::mount::UnmountFlags::DETACH).unwrap());
        std::fs::remove_file(&other).unwrap();
    }
    println!("  least   median  (ms)");
    for (name, mut times) in names.into_iter().zip(times) {
        times.sort();
        println!("{:>7.3}  {:>7.3}  {name}", milliseconds(times[0]), milliseconds(times[times.len() / 2]));
    }
}
