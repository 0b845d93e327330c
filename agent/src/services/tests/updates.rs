//! Rules that change while packets go.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::super::examples::{endpoints, object, service};
use super::world::{Answer, World, ask, at, connect, datagram, inside, open, udp, until, until_rules};
use crate::objects::{Kind, Typed as _};

const WEB: &str = "10.96.0.1:80";

fn web(world: &World, pods: &[u8]) {
    let udp = json!({"name": "udp", "port": 80, "protocol": "UDP"});
    world.put(service("web", json!({"clusterIP": "10.96.0.1", "ports": [{"name": "tcp", "port": 80}, udp]})));
    let ips: Vec<IpAddr> = pods.iter().map(|last| format!("10.88.0.{last}").parse().unwrap()).collect();
    let ports = json!([{"name": "tcp", "port": 8080}, {"name": "udp", "port": 8080, "protocol": "UDP"}]);
    world.put(endpoints("web", &ips, ports));
}

#[test]
fn no_connection_is_lost_while_rules_change() {
    inside("services::tests::updates::no_connection_is_lost_while_rules_change", || {
        let Some(world) = World::new(false) else { return };
        let client = world.pod(2);
        let _backends = [world.pod(3), world.pod(4), world.pod(5)];
        web(&world, &[3]);
        until_rules("mod 1");
        let mut long = at(&client, || open(WEB)).unwrap();
        assert_eq!(ask(&mut long).unwrap().0, "pod3");
        let (ended, made) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                at(&client, || {
                    while !ended.load(Ordering::Relaxed) {
                        connect(WEB).unwrap();
                        made.fetch_add(1, Ordering::Relaxed);
                    }
                });
            });
            for pods in [&[3, 4][..], &[4, 5], &[3, 5, 4], &[4], &[5, 3]].repeat(3) {
                web(&world, pods);
                until_rules(&format!("mod {}", pods.len()));
                let before = made.load(Ordering::Relaxed);
                until("more connections", || {
                    (made.load(Ordering::Relaxed) > before + 2 || load.is_finished()).then_some(())
                });
            }
            ended.store(true, Ordering::Relaxed);
            load.join().unwrap();
        });
        // It has been there all the time, and stays though its backend leaves.
        web(&world, &[4]);
        until_rules("mod 1");
        use std::io::Write as _;
        long.write_all(b"?").unwrap();
        assert_eq!(ask(&mut long).unwrap().0, "pod3");
    });
}

#[test]
fn datagrams_leave_a_backend_that_is_gone() {
    inside("services::tests::updates::datagrams_leave_a_backend_that_is_gone", || {
        let Some(world) = World::new(false) else { return };
        let client = world.pod(2);
        let _backends = [world.pod(3), world.pod(4)];
        web(&world, &[3]);
        until_rules("mod 1");
        let socket = at(&client, || udp(WEB)).unwrap();
        assert_eq!(datagram(&socket).unwrap().0, "pod3");
        web(&world, &[4]);
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let by = |name: &str| datagram(&socket).is_ok_and(|(found, _)| found == name);
        until("another backend", || by("pod4").then_some(()));
        socket.set_read_timeout(None).unwrap();
        // Those of backends that stay are not forgotten.
        web(&world, &[3, 4]);
        until_rules("mod 2");
        (0..20).for_each(|_| assert_eq!(datagram(&socket).unwrap().0, "pod4"));
        let key = crate::objects::Key::new(Kind::Service, "default", "web");
        world.store.remove(&key, "", crate::store::Durability::Written).unwrap();
        // An answer that is under way when its connection is forgotten is lost.
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let refused =
            |answer: Answer| answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
        until("nobody", || refused(datagram(&socket)).then_some(()));
    });
}

#[test]
fn where_there_were_no_rules_all_is_refused_until_pods_are_known() {
    inside("services::tests::updates::where_there_were_no_rules_all_is_refused_until_pods_are_known", || {
        let Some(world) = World::without_agent(false) else { return };
        let client = world.pod(2);
        let _backend = world.pod(3);
        web(&world, &[3]);
        // Of before a reboot: it may be elsewhere now, or nowhere.
        let known = world.store.read(|objects| objects.find::<Pod>("default", "pod3").cloned()).unwrap();
        let mut unknown = known.clone();
        unknown.status = None;
        world.put(unknown.wrap());
        let address =
            json!({"ip": "10.88.0.3", "targetRef": {"kind": "Pod", "name": "pod3", "uid": known.uid()}});
        let subset = json!({"addresses": [address], "ports": [{"name": "tcp", "port": 8080}]});
        world.put(object(
            Kind::Endpoints,
            json!({"metadata": {"namespace": "default", "name": "web"}, "subsets": [subset]}),
        ));
        world.start();
        until_rules("10.96.0.0/16");
        assert_eq!(at(&client, || connect(WEB)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        world.put(known.wrap());
        until_rules("mod 1");
        connect_from(&client);
    });
}

fn connect_from(client: &str) {
    connect_at(client).unwrap();
}

fn connect_at(client: &str) -> Answer {
    at(client, || connect(WEB))
}

#[test]
fn what_somebody_else_flushed_comes_back() {
    inside("services::tests::updates::what_somebody_else_flushed_comes_back", || {
        let Some(world) = World::new(false) else { return };
        let client = world.pod(2);
        let _backends = [world.pod(3), world.pod(4)];
        web(&world, &[3, 4]);
        until_rules("mod 2");
        let of_web = "service/default/web/tcp/80";
        for taken in [
            "flush ruleset",
            "flush table inet rcrun-agent",
            &format!("flush chain inet rcrun-agent {of_web}"),
            "flush map inet rcrun-agent services4",
        ] {
            assert!(Command::new("nft").arg(taken).status().unwrap().success(), "{taken}");
            until("what was flushed", || connect_at(&client).is_ok().then_some(()));
            until_rules("mod 2");
        }
        // Rules of our own are no reason to write them again and again, however many there are.
        for number in 0..60 {
            let spec =
                json!({"clusterIP": format!("10.96.1.{number}"), "ports": [{"name": "tcp", "port": 80}]});
            world.put(service(&format!("s{number}"), spec));
        }
        web(&world, &[4]);
        until_rules("mod 1");
        connect_from(&client);
    });
}
