use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::examples::{endpoints, objects, pod, service};
use super::*;
use crate::objects::Object;

fn facts(bridged: bool) -> Facts {
    Facts {
        ranges: Network::parse_list("10.96.0.7/16, fd00:96::/112").unwrap(),
        dns: Some("10.96.0.10".parse().unwrap()),
        bridged: [bridged; 2],
    }
}

fn web(affinity: bool) -> Object {
    let spec = json!({
        "type": "NodePort", "clusterIPs": ["10.96.0.1", "fd00:96::1"],
        "sessionAffinity": if affinity { "ClientIP" } else { "None" },
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}, {"name": "dns", "port": 53, "protocol": "UDP"}],
    });
    service("web", spec)
}

fn of_web(ips: &[&str]) -> Object {
    let ips: Vec<_> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
    endpoints("web", &ips, json!([{"name": "http", "port": 8080}]))
}

/// Does nft take this, one script after the other, in a network namespace of its own? None: it cannot be tried here.
fn accepted(scripts: &[String]) -> Option<Result<String, String>> {
    tried(scripts, "nft -t list ruleset")
}

/// What is in the kernel after this, whatever the order in which it came there.
fn state(scripts: &[String]) -> Option<Result<BTreeSet<String>, String>> {
    let listed = tried(scripts, "nft -j list ruleset")?;
    Some(listed.map(|text| {
        let all: Value = serde_json::from_str(&text).unwrap();
        let mut rules = BTreeMap::<String, usize>::new();
        let entries = all["nftables"].as_array().unwrap().iter().cloned();
        let entries = entries.map(|mut entry| {
            let (kind, object) = entry.as_object_mut().unwrap().iter_mut().next().unwrap();
            object.as_object_mut().unwrap().remove("handle");
            if let Some(elements) = object.get_mut("elem") {
                elements.as_array_mut().unwrap().sort_by_key(Value::to_string);
            }
            if kind == "rule" {
                // The order of rules in their chain counts.
                let number = rules.entry(object["chain"].to_string()).or_default();
                object["number"] = (*number).into();
                *number += 1;
            }
            entry.to_string()
        });
        entries.collect()
    }))
}

fn tried(scripts: &[String], list: &str) -> Option<Result<String, String>> {
    let program = format!("for script in \"$@\"; do nft -f \"$script\" || exit 1; done; {list}");
    let mut command = Command::new("unshare");
    command.args(["-n", "sh", "-c", &program, "sh"]);
    let files: Vec<_> = scripts
        .iter()
        .map(|script| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(script.as_bytes()).unwrap();
            file
        })
        .collect();
    command.args(files.iter().map(tempfile::NamedTempFile::path));
    let there = Command::new("unshare").args(["-n", "nft", "--version"]).stdout(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        eprintln!("SKIP rules are taken by nft: unshare -n nft does not run here");
        return None;
    }
    let done = command.output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(if done.status.success() { Ok(said(&done.stdout)) } else { Err(said(&done.stderr)) })
}

#[track_caller]
fn assert_has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found.trim() == *line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn a_service_leads_to_its_backends() {
    let all = [web(false), of_web(&["10.88.0.3", "10.88.0.2"]), pod("a", "web", true, &["10.88.0.2"])];
    let text = rules(&objects(all), &facts(false)).text();
    let lines = [
        "elements = { 10.96.0.1 . tcp . 80 : goto service/default/web/tcp/80 }",
        "elements = { tcp . 30080 : goto service/default/web/tcp/80 }",
        "meta nfproto ipv4 meta l4proto tcp dnat ip addr . port to numgen random mod 2 map { 0 : 10.88.0.2 . 8080, 1 : 10.88.0.3 . 8080 }",
        "elements = { 10.96.0.1 . udp . 53 }",
        "meta nfproto ipv4 meta l4proto tcp dnat ip to 10.88.0.2:8080",
        "elements = { fd00:96::1 . tcp . 80, fd00:96::1 . udp . 53 }",
        "elements = { 10.88.0.3 }",
        "ct state new ct status dnat meta nfproto ipv4 fib daddr . iif oif exists ct mark set ct mark or 0x4000",
        "meta nfproto ipv4 ct mark and 0x4000 == 0x4000 ct mark set ct mark and 0xffffbfff masquerade",
        "ip daddr 10.96.0.0/16 goto refuse",
        "ip daddr 10.96.0.10 return",
    ];
    assert_has(&text, &lines);
    assert!(!text.contains("clients/"));
}

#[test]
fn where_answers_are_seen_pods_keep_their_addresses() {
    let all = [web(false), of_web(&["10.88.0.3", "10.88.0.2"]), pod("a", "web", true, &["10.88.0.2"])];
    let text = rules(&objects(all), &facts(true)).text();
    let lines = [
        "ip saddr @pods4 ip daddr @pods4 ct original ip daddr 10.96.0.0/16 snat ip to ip saddr",
        "elements = { 10.88.0.2 . 10.88.0.2 }",
        "ip saddr . ip daddr @hairpin4 masquerade",
    ];
    assert_has(&text, &lines);
    assert!(!text.contains("ct mark"));
}

#[test]
fn without_services_no_pod_is_in_the_rules() {
    let pods = [pod("a", "web", true, &["10.88.0.2"])];
    assert_eq!(rules(&objects(pods), &facts(false)), rules(&objects([]), &facts(false)));
}

#[test]
fn headless_services_and_other_names_have_no_rules() {
    let headless = service("web", json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}));
    let named = service("other", json!({"type": "ExternalName", "externalName": "a.b"}));
    let all = objects([headless, named, of_web(&["10.88.0.2"])]);
    assert_eq!(rules(&all, &facts(false)), rules(&objects([]), &facts(false)));
}

#[test]
fn one_rule_set_takes_the_place_of_another() {
    let first = rules(&objects([web(true), of_web(&["10.88.0.2", "10.88.0.3", "fd00::2"])]), &facts(false));
    let second = rules(&objects([web(true), of_web(&["10.88.0.3"])]), &facts(true));
    let third = rules(&objects([]), &facts(true));
    let scripts = [
        first.replacing(&Names::default()),
        first.replacing(&first.names()),
        second.replacing(&first.names()),
        third.replacing(&second.names()),
        second.afresh(),
    ];
    let Some(done) = accepted(&scripts) else { return };
    let listing = done.unwrap();
    assert_eq!(Names::read(&listing), second.names(), "{listing}");
    let Some(Ok(listing)) = accepted(&scripts[..4]) else { panic!("not taken") };
    assert_eq!(Names::read(&listing), third.names(), "{listing}");
}

#[test]
fn a_change_touches_nothing_else() {
    let other = service("other", json!({"clusterIP": "10.96.0.2", "ports": [{"port": 80}]}));
    let of_other = endpoints("other", &["10.88.0.9".parse().unwrap()], json!([{"port": 80}]));
    let with = |ips: &[&str]| {
        rules(&objects([web(false), of_web(ips), other.clone(), of_other.clone()]), &facts(false))
    };
    let script = with(&["10.88.0.2", "10.88.0.4"]).changing(&with(&["10.88.0.2", "10.88.0.3"]));
    let lines: Vec<_> = script.lines().collect();
    assert_eq!(
        lines,
        [
            "delete element inet rcrun-agent outside4 { 10.88.0.3 }",
            "flush chain inet rcrun-agent service/default/web/tcp/80",
            "add rule inet rcrun-agent service/default/web/tcp/80 meta nfproto ipv4 meta l4proto tcp dnat ip addr . port to \
             numgen random mod 2 map { 0 : 10.88.0.2 . 8080, 1 : 10.88.0.4 . 8080 }",
            "add rule inet rcrun-agent service/default/web/tcp/80 meta nfproto ipv4 meta l4proto tcp dnat ip to 10.88.0.2:8080",
            "add element inet rcrun-agent outside4 { 10.88.0.4 }",
        ]
    );
}

#[test]
fn a_range_is_read() {
    let parse =
        |text| Network::parse_list(text).map(|all| all.iter().map(Network::to_string).collect::<Vec<_>>());
    assert_eq!(parse("10.96.1.1/16,fd00:96::1/112").unwrap(), ["10.96.0.0/16", "fd00:96::/112"]);
    assert_eq!(parse("0.0.0.0/0,::/0,1.2.3.4/32").unwrap(), ["0.0.0.0/0", "::/0", "1.2.3.4/32"]);
    for wrong in ["", "10.96.0.0", "10.96.0.0/33", "x/8", "10.96.0.0/16,"] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

fn some_services() -> impl Strategy<Value = Vec<Object>> {
    let ips = proptest::collection::btree_set((any::<bool>(), 2u8..20), 0..6);
    let one = (0u8..8, any::<bool>(), any::<bool>(), 0usize..3, ips);
    let all = proptest::collection::vec(one, 0..6);
    all.prop_map(|all| {
        let mut objects = Vec::new();
        for (number, affinity, node_port, protocol, ips) in all {
            let name = format!("s-{number}");
            let protocol = ["TCP", "UDP", "SCTP"][protocol];
            let mut port = json!({"port": 80, "protocol": protocol});
            if node_port {
                port["nodePort"] = json!(30000 + u16::from(number));
            }
            let spec = json!({
                "type": "NodePort", "sessionAffinity": if affinity { "ClientIP" } else { "None" }, "ports": [port],
                "clusterIPs": [format!("10.96.1.{number}"), format!("fd00:96::{number}")],
            });
            let ips: Vec<IpAddr> = ips
                .into_iter()
                .map(|(v4, n)| if v4 { format!("10.88.0.{n}") } else { format!("fd00::{n}") }.parse().unwrap())
                .collect();
            objects.push(endpoints(&name, &ips, json!([{"port": 8080, "protocol": protocol}])));
            objects.push(service(&name, spec));
            objects.extend(ips.first().map(|ip| pod(&name, &name, true, &[&ip.to_string()])));
        }
        objects
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_rules_are_taken_after_any_others(one in some_services(), other in some_services(), bridged: bool) {
        let (one, other) = (objects(one), objects(other));
        let (first, second) = (rules(&one, &facts(false)), rules(&other, &facts(bridged)));
        prop_assert_eq!(&first, &rules(&one.iter().map(|(_, object)| object.clone()).collect(), &facts(false)));
        let begun = first.replacing(&Names::default());
        if let Some(done) = state(&[begun.clone(), second.changing(&first)]) {
            let done = done.map_err(|why| TestCaseError::fail(format!("{why}\n{begun}\n{}", second.changing(&first))))?;
            prop_assert_eq!(done, state(&[second.afresh()]).unwrap().unwrap());
        }
        let scripts = [begun, second.replacing(&first.names())];
        if let Some(done) = accepted(&scripts) {
            let listing = done.map_err(|why| TestCaseError::fail(format!("{why}\n{}", scripts.concat())))?;
            prop_assert_eq!(Names::read(&listing), second.names());
        }
    }
}
