use serde_json::json;

use super::super::super::examples::{endpoints, object, objects, pod, service};
use super::*;
use crate::objects::Kind;

fn zone() -> Zone {
    Zone::new("Cluster.local", "10.96.0.0/16").unwrap()
}

fn all() -> Objects {
    let ports =
        json!([{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}, {"port": 9}]);
    let db = object(
        Kind::Endpoints,
        json!({"metadata": {"namespace": "default", "name": "db"}, "subsets": [
            {"addresses": [{"ip": "10.88.0.2", "hostname": "one"}, {"ip": "fd00::2"}], "notReadyAddresses": [{"ip": "10.88.0.4"}],
             "ports": [{"name": "sql", "port": 5432}]},
            {"addresses": [{"ip": "10.88.0.3"}], "ports": [{"name": "sql", "port": 5433}]},
        ]}),
    );
    objects([
        object(Kind::Namespace, json!({"metadata": {"name": "default"}})),
        service("web", json!({"clusterIPs": ["10.96.0.1", "fd00:96::1"], "ports": ports})),
        endpoints("web", &["10.88.0.2".parse().unwrap()], json!([{"name": "http", "port": 8080}])),
        service("db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]})),
        db,
        service("empty", json!({"clusterIP": "None"})),
        service("away", json!({"type": "ExternalName", "externalName": "www.example.com"})),
        pod("a", "web", true, &["10.88.0.2"]),
    ])
}

/// The answer in words: `NXDOMAIN`, or the records.
fn ask(name: &str, of: RecordType) -> Vec<String> {
    let name = Name::from_ascii(format!("{name}.")).unwrap();
    match answer(&all(), &zone(), &name, of) {
        Reply::Elsewhere => vec!["elsewhere".into()],
        Reply::Alias(record) => vec![format!("alias {}", record.data)],
        Reply::Here(answer) => {
            assert_eq!(answer.soa.is_some(), answer.records.is_empty());
            assert!(answer.own);
            match answer.code {
                ResponseCode::NoError => {
                    answer.records.iter().map(|record| record.data.to_string()).collect()
                }
                ResponseCode::NXDomain => vec!["NXDOMAIN".into()],
                code => vec![format!("{code:?}")],
            }
        }
    }
}

#[test]
fn services_have_their_addresses() {
    use RecordType::{A, AAAA, MX};
    assert_eq!(ask("web.default.svc.cluster.local", A), ["10.96.0.1"]);
    assert_eq!(ask("web.default.svc.cluster.local", AAAA), ["fd00:96::1"]);
    assert_eq!(ask("WEB.Default.SVC.cluster.LOCAL", A), ["10.96.0.1"]);
    assert_eq!(ask("web.default.svc.cluster.local", MX), [""; 0]);
    for name in [
        "none.default.svc",
        "web.other.svc",
        "x.web.default.svc",
        "x.y.z.web.default.svc",
        "other.svc",
        "x",
        "web.default",
    ] {
        assert_eq!(ask(&format!("{name}.cluster.local"), A), ["NXDOMAIN"], "{name}");
    }
    for name in ["svc", "pod", "default.svc", "default.pod"] {
        assert_eq!(ask(&format!("{name}.cluster.local"), A), [""; 0], "{name}");
    }
}

#[test]
fn headless_services_have_those_of_their_ready_pods() {
    use RecordType::{A, AAAA, SRV};
    assert_eq!(ask("db.default.svc.cluster.local", A), ["10.88.0.2", "10.88.0.3"]);
    assert_eq!(ask("db.default.svc.cluster.local", AAAA), ["fd00::2"]);
    assert_eq!(ask("one.db.default.svc.cluster.local", A), ["10.88.0.2"]);
    assert_eq!(ask("10-88-0-3.db.default.svc.cluster.local", A), ["10.88.0.3"]);
    assert_eq!(ask("10-88-0-2.db.default.svc.cluster.local", A), ["NXDOMAIN"], "it has a hostname");
    assert_eq!(ask("empty.default.svc.cluster.local", A), ["NXDOMAIN"]);
    assert_eq!(
        ask("_sql._tcp.db.default.svc.cluster.local", SRV),
        [
            "0 100 5432 one.db.default.svc.cluster.local.",
            "0 100 5432 fd00--2.db.default.svc.cluster.local.",
            "0 100 5433 10-88-0-3.db.default.svc.cluster.local.",
        ]
    );
}

#[test]
fn named_ports_are_srv_records() {
    use RecordType::{A, SRV};
    let web = "web.default.svc.cluster.local";
    assert_eq!(ask(&format!("_http._tcp.{web}"), SRV), [format!("0 100 80 {web}.")]);
    assert_eq!(ask(&format!("_dns._udp.{web}"), SRV), [format!("0 100 53 {web}.")]);
    assert_eq!(ask(web, SRV).len(), 3);
    assert_eq!(ask(&format!("_http._tcp.{web}"), A), [""; 0]);
    assert_eq!(ask(&format!("_tcp.{web}"), A), [""; 0]);
    for name in ["_dns._tcp", "_http._sctp", "http._tcp", "_http.tcp", "_http._quic"] {
        assert_eq!(ask(&format!("{name}.{web}"), SRV), ["NXDOMAIN"], "{name}");
    }
}

#[test]
fn pods_and_addresses_have_names() {
    use RecordType::{A, PTR};
    assert_eq!(ask("10-88-0-2.default.pod.cluster.local", A), ["10.88.0.2"]);
    assert_eq!(ask("10-88-0-9.default.pod.cluster.local", A), ["NXDOMAIN"]);
    assert_eq!(ask("10-88-0-2.other.pod.cluster.local", A), ["NXDOMAIN"]);
    assert_eq!(ask("1.0.96.10.in-addr.arpa", PTR), ["web.default.svc.cluster.local."]);
    assert_eq!(ask("2.0.88.10.in-addr.arpa", PTR), ["one.db.default.svc.cluster.local."]);
    assert_eq!(ask("9.0.96.10.in-addr.arpa", PTR), ["NXDOMAIN"]);
    assert_eq!(ask("9.0.88.10.in-addr.arpa", PTR), ["elsewhere"]);
    assert_eq!(ask("88.10.in-addr.arpa", PTR), ["elsewhere"]);
}

#[test]
fn other_names_are_others() {
    use RecordType::{A, NS, SOA, TXT};
    assert_eq!(ask("www.example.com", A), ["elsewhere"]);
    assert_eq!(ask("notcluster.local", A), ["elsewhere"]);
    assert_eq!(ask("away.default.svc.cluster.local", A), ["alias www.example.com."]);
    assert_eq!(ask("x.away.default.svc.cluster.local", A), ["NXDOMAIN"]);
    assert_eq!(ask("cluster.local", NS), ["ns.dns.cluster.local."]);
    assert_eq!(ask("cluster.local", SOA).len(), 1);
    assert_eq!(ask("dns-version.cluster.local", TXT), ["1.1.0"]);
}
