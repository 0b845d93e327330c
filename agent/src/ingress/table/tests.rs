use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::objects::Object;

fn objects(values: impl IntoIterator<Item = Value>) -> Objects {
    values
        .into_iter()
        .map(|value| {
            let kind = Kind::of_manifest(
                value["apiVersion"].as_str().unwrap_or_default(),
                value["kind"].as_str().unwrap_or_default(),
            );
            Object::from_value(kind.expect("a kind"), value).expect("an object")
        })
        .collect()
}

/// A Service with a port, and its endpoints.
fn service(name: &str, addresses: &[&str]) -> [Value; 2] {
    let addresses: Vec<_> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
    [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "web", "name": name},
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": "www"}, {"name": "other", "port": 81}]}}),
        json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"namespace": "web", "name": name},
            "subsets": [{"addresses": addresses, "notReadyAddresses": [{"ip": "10.0.0.99"}],
                "ports": [{"name": "http", "port": 8080}, {"name": "other", "port": 8081}]}]}),
    ]
}

fn to(service: &str) -> Value {
    json!({"service": {"name": service, "port": {"number": 80}}})
}

fn path(kind: &str, path: &str, service: &str) -> Value {
    json!({"path": path, "pathType": kind, "backend": to(service)})
}

fn ingress(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"namespace": "web", "name": name}, "spec": spec})
}

fn rule(host: &str, paths: &[Value]) -> Value {
    match host {
        "" => json!({"http": {"paths": paths}}),
        host => json!({"host": host, "http": {"paths": paths}}),
    }
}

/// Which Service a request goes to.
fn goes(table: &Table, host: &str, path: &str) -> String {
    match table.find(host, path, false) {
        Some(Answer::Backend(backend)) => {
            backend.name.trim_start_matches("web/").trim_end_matches(":80").into()
        }
        Some(Answer::Secure(_)) => "https".into(),
        None => "nowhere".into(),
    }
}

#[test]
fn the_most_specific_rule_holds() {
    let rules = json!({"defaultBackend": to("rest"), "rules": [
        rule("www.example.com", &[
            path("Prefix", "/", "root"),
            path("Prefix", "/a", "a"),
            path("Exact", "/a", "exactly-a"),
            path("Prefix", "/a/b/", "b"),
        ]),
        rule("*.example.com", &[path("Prefix", "/", "wild")]),
        rule("", &[path("Exact", "/health", "health")]),
        rule("empty.example.org", &[path("Prefix", "/x", "x")]),
    ]});
    let table = table(&objects([ingress("front", rules)]));
    for (host, path, service) in [
        ("www.example.com", "/", "root"),
        ("www.example.com", "/a", "exactly-a"),
        ("www.example.com", "/a/", "a"),
        ("www.example.com", "/a/b", "b"),
        ("www.example.com", "/a/bc", "a"),
        ("www.example.com", "/abc", "root"),
        ("mail.example.com", "/a", "wild"),
        ("a.mail.example.com", "/a", "rest"),
        ("example.com", "/", "rest"),
        ("other", "/health", "health"),
        ("empty.example.org", "/health", "health"),
        ("empty.example.org", "/", "rest"),
    ] {
        assert_eq!(goes(&table, host, path), service, "{host}{path}");
    }
}

#[test]
fn without_a_rule_there_is_no_answer() {
    let table = table(&objects([ingress(
        "front",
        json!({"rules": [rule("a.example.com", &[path("Prefix", "/", "a")])]}),
    )]));
    assert_eq!(goes(&table, "b.example.com", "/"), "nowhere");
}

#[test]
fn endpoints_are_those_that_are_ready_in_turn() {
    let mut all = Vec::from(service("front", &["10.0.0.1", "10.0.0.2"]));
    all.push(ingress("front", json!({"rules": [rule("", &[path("Prefix", "/", "front")])]})));
    let table = table(&objects(all));
    let Some(Answer::Backend(backend)) = table.find("any", "/", false) else { panic!("a backend") };
    let turns: Vec<_> = (0..4).filter_map(|_| backend.next()).map(|address| address.to_string()).collect();
    assert_eq!(turns, ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.1:8080", "10.0.0.2:8080"]);
    assert!(table.problems.is_empty(), "{:?}", table.problems);
}

#[test]
fn ports_are_found_by_their_names() {
    let mut all = Vec::from(service("front", &["10.0.0.1"]));
    let backend = json!({"service": {"name": "front", "port": {"name": "other"}}});
    all.push(ingress("front", json!({"defaultBackend": backend})));
    let table = table(&objects(all));
    let Some(Answer::Backend(backend)) = table.find("any", "/", false) else { panic!("a backend") };
    assert_eq!(backend.next().map(|address| address.to_string()).as_deref(), Some("10.0.0.1:8081"));
}

#[test]
fn problems_name_what_is_missing() {
    let mut all = Vec::from(service("front", &[]));
    let odd = json!({"service": {"name": "front", "port": {"number": 99}}});
    let rules = rule(
        "",
        &[path("Prefix", "/", "absent"), json!({"path": "/odd", "pathType": "Prefix", "backend": odd})],
    );
    all.push(ingress("front", json!({"rules": [rules]})));
    let table = table(&objects(all));
    let problems: Vec<_> =
        table.problems.iter().map(|problem| (problem.reason, problem.message.as_str())).collect();
    assert_eq!(
        problems,
        [
            ("ServiceNotFound", "service web/absent not found: requests get 503"),
            ("PortNotFound", "service web/front has no port 99: requests get 503"),
        ]
    );
}

#[test]
fn other_classes_are_left_alone() {
    let of_class = |name: &str, class: &str| {
        ingress(name, json!({"ingressClassName": class, "rules": [rule(name, &[path("Prefix", "/", "a")])]}))
    };
    let mut old = ingress("old", json!({"rules": [rule("old", &[path("Prefix", "/", "a")])]}));
    old["metadata"]["annotations"] = json!({"kubernetes.io/ingress.class": "nginx"});
    let table = table(&objects([of_class("ours", "rcrun"), of_class("theirs", "nginx"), old]));
    assert_eq!(["ours", "theirs", "old"].map(|host| goes(&table, host, "/")), ["a", "nowhere", "nowhere"]);
    assert_eq!(table.ingresses, [Key::new(Kind::Ingress, "web", "ours")]);
}

#[test]
fn the_older_ingress_holds() {
    let at = |name: &str, time: &str, service: &str| {
        let mut value = ingress(name, json!({"rules": [rule("", &[path("Prefix", "/", service)])]}));
        value["metadata"]["creationTimestamp"] = json!(time);
        value
    };
    let table =
        table(&objects([at("a", "2026-02-01T00:00:00Z", "new"), at("b", "2026-01-01T00:00:00Z", "old")]));
    assert_eq!(goes(&table, "any", "/"), "old");
}

#[test]
fn hosts_with_tls_are_led_to_it() {
    let spec = json!({"tls": [{"hosts": ["*.example.com"], "secretName": "cert"}], "rules": [
        rule("www.example.com", &[path("Prefix", "/", "a")]), rule("plain.org", &[path("Prefix", "/", "a")])]});
    let mut value = ingress("front", spec);
    let table_of = |value: &Value| table(&objects([value.clone()]));
    let table = table_of(&value);
    assert_eq!(["www.example.com", "plain.org"].map(|host| goes(&table, host, "/")), ["https", "a"]);
    assert_eq!(table.secrets["*.example.com"].secret, Key::new(Kind::Secret, "web", "cert"));
    value["metadata"]["annotations"] = json!({"nginx.ingress.kubernetes.io/ssl-redirect": "false"});
    assert_eq!(goes(&table_of(&value), "www.example.com", "/"), "a");
}

#[test]
fn a_thousand_hosts_are_found_by_name() {
    let rules: Vec<_> = (0..1000)
        .map(|n| rule(&format!("h{n}.example.com"), &[path("Prefix", "/", &format!("s{n}"))]))
        .collect();
    let table = table(&objects([ingress("many", json!({"rules": rules}))]));
    assert_eq!(goes(&table, "h0.example.com", "/x"), "s0");
    assert_eq!(goes(&table, "h999.example.com", "/x"), "s999");
}

/// Elements of a path, as Kubernetes' documentation compares them.
fn elements(path: &str) -> Vec<&str> {
    path.split('/').filter(|element| !element.is_empty()).collect()
}

proptest! {
    /// Of all rules that match, the longest answers, an exact one before a prefix; and where none does, nobody.
    #[test]
    fn the_longest_match_answers(
        rules in proptest::collection::vec(("(/[ab]{1,2}){0,3}", any::<bool>()), 0..12),
        asked in "(/[ab]{1,2}){1,4}",
    ) {
        let matching = rules.iter().filter(|(rule, exact)| {
            let rule = if rule.is_empty() { "/" } else { rule };
            if *exact { rule == asked } else { elements(&asked).starts_with(&elements(rule)) }
        });
        let wanted = matching.map(|(rule, exact)| (rule.len(), *exact)).max();
        let paths: Vec<_> = rules
            .iter()
            .map(|(rule, exact)| {
                let rule = if rule.is_empty() { "/" } else { rule.as_str() };
                path(if *exact { "Exact" } else { "Prefix" }, rule, &format!("s{}-{exact}", rule.trim_end_matches('/').len()))
            })
            .collect();
        let table = table(&objects([ingress("front", json!({"rules": [rule("", &paths)]}))]));
        let wanted = wanted.map_or("nowhere".to_owned(), |(length, exact)| format!("s{length}-{exact}"));
        prop_assert_eq!(goes(&table, "any", &asked), wanted);
    }

    /// Whatever a client asks for, there is an answer or there is none.
    #[test]
    fn any_request_is_looked_up(host in ".{0,20}", asked in ".{0,20}") {
        let table = table(&objects([ingress("front", json!({"rules": [rule("*.example.com", &[path("Prefix", "/a", "a")])]}))]));
        let _ = table.find(&host, &asked, false);
    }
}
