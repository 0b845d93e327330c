use serde_json::json;

use super::*;
use crate::cri::api::{NamespaceMode, Protocol};
use crate::spec::{hosts_file, sandbox};

fn of(spec: Value) -> api::PodSandboxConfig {
    with_settings(|settings| sandbox(&pod(spec), 2, settings)).expect("a sandbox")
}

#[test]
fn it_is_found_again_by_kubelets_labels() {
    let config = of(json!({}));
    let metadata = config.metadata.expect("metadata");
    assert_eq!(
        (metadata.name.as_str(), metadata.namespace.as_str(), metadata.uid.as_str(), metadata.attempt),
        ("front", "web", "u-1", 2)
    );
    for (name, value) in [
        ("app", "front"),
        ("io.kubernetes.pod.name", "front"),
        ("io.kubernetes.pod.namespace", "web"),
        ("io.kubernetes.pod.uid", "u-1"),
        ("io.rcrun.agent", "node-1"),
    ] {
        assert_eq!(config.labels[name], value);
    }
    assert_eq!(config.annotations["a"], "b\"\n");
    assert_eq!(config.log_directory, "/logs/web_front_u-1");
}

#[test]
fn a_sandbox_cannot_pretend_to_be_anothers() {
    let mut pod = pod(json!({}));
    pod.metadata.labels = Some([("io.kubernetes.pod.uid".to_owned(), "other".to_owned())].into());
    let config = with_settings(|settings| sandbox(&pod, 0, settings)).expect("a sandbox");
    assert_eq!(config.labels["io.kubernetes.pod.uid"], "u-1");
}

#[test]
fn hostnames() {
    let long = "a".repeat(62) + "-b";
    for (spec, wanted) in [
        (json!({}), "front"),
        (json!({"hostname": "h"}), "h"),
        (json!({"hostname": "h", "subdomain": "s"}), "h"),
        (json!({"hostname": "h", "subdomain": "s", "setHostnameAsFQDN": true}), "h.s.web.svc.cluster.local"),
        (json!({"setHostnameAsFQDN": true}), "front"),
        (json!({"hostnameOverride": "x.y", "subdomain": "s", "setHostnameAsFQDN": true}), "x.y"),
        (json!({"hostname": long}), &"a".repeat(62)),
        (json!({"hostNetwork": true, "hostname": "h"}), ""),
    ] {
        assert_eq!(of(spec.clone()).hostname, wanted, "{spec}");
    }
    let long = json!({"hostname": "h".repeat(60), "subdomain": "s", "setHostnameAsFQDN": true});
    let error = with_settings(|settings| sandbox(&pod(long), 0, settings)).expect_err("too long");
    assert!(error.message.contains("pod web/front: spec.setHostnameAsFQDN: "), "{error}");
}

#[test]
fn name_servers_by_policy() {
    let cluster =
        (["10.96.0.10"], "web.svc.cluster.local svc.cluster.local cluster.local example.org", "ndots:5");
    let host = (["192.0.2.53"], "example.org", "ndots:1 timeout:3");
    for (spec, (servers, searches, options)) in [
        (json!({}), cluster),
        (json!({"hostNetwork": true}), host),
        (json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}), cluster),
        (json!({"dnsPolicy": "Default"}), host),
    ] {
        let dns = of(spec.clone()).dns_config.expect("DNS");
        assert_eq!(
            (dns.servers, dns.searches.join(" "), dns.options.join(" ")),
            (servers.map(String::from).to_vec(), searches.into(), options.into()),
            "{spec}"
        );
    }
}

#[test]
fn own_name_servers_are_added_within_limits() {
    let own = json!({"nameservers": ["1.1.1.1", "192.0.2.53", "2.2.2.2", "3.3.3.3"], "searches": ["example.org", "x"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]});
    let dns = of(json!({"dnsPolicy": "Default", "dnsConfig": own})).dns_config.expect("DNS");
    assert_eq!(dns.servers, ["192.0.2.53", "1.1.1.1", "2.2.2.2"]);
    assert_eq!(dns.searches, ["example.org", "x"]);
    assert_eq!(dns.options, ["ndots:2", "timeout:3", "edns0"]);
    let dns = of(json!({"dnsPolicy": "None", "dnsConfig": own})).dns_config.expect("DNS");
    assert_eq!(dns.servers, ["1.1.1.1", "192.0.2.53", "2.2.2.2"]);
    let many: Vec<String> = (0..40).map(|index| format!("{index}{}", "x".repeat(200))).collect();
    let dns = of(json!({"dnsPolicy": "None", "dnsConfig": {"searches": many}})).dns_config.expect("DNS");
    assert!(dns.searches.join(" ").len() <= 2048 && dns.searches.len() >= 9);
}

#[test]
fn without_cluster_dns_pods_ask_whom_the_host_asks() {
    let dns = with_settings(|settings| {
        let settings = Settings { cluster_dns: None, ..settings.clone() };
        sandbox(&pod(json!({})), 0, &settings).expect("a sandbox").dns_config.expect("DNS")
    });
    assert_eq!(dns.servers, ["192.0.2.53"]);
}

#[test]
fn ports_of_the_host() {
    let ports = json!([{"containerPort": 80}, {"containerPort": 53, "hostPort": 5353, "hostIP": "127.0.0.1", "protocol": "UDP"}]);
    let spec = json!({"containers": [{"ports": ports}]});
    let mappings = of(spec.clone()).port_mappings;
    assert_eq!(mappings.len(), 2);
    assert_eq!((mappings[0].container_port, mappings[0].host_port), (80, 0));
    let last = &mappings[1];
    assert_eq!(
        (last.container_port, last.host_port, last.host_ip.as_str(), last.protocol()),
        (53, 5353, "127.0.0.1", Protocol::Udp)
    );
    let mut spec = spec;
    spec["hostNetwork"] = json!(true);
    assert!(of(spec).port_mappings.is_empty());
}

#[test]
fn namespaces() {
    use NamespaceMode::{Container, Node, Pod};
    for (spec, wanted) in [
        (json!({}), (Pod, Container, Pod, Node)),
        (json!({"hostNetwork": true, "hostPID": true, "hostIPC": true}), (Node, Node, Node, Node)),
        (json!({"shareProcessNamespace": true}), (Pod, Pod, Pod, Node)),
        (json!({"hostUsers": false}), (Pod, Container, Pod, Pod)),
    ] {
        let options = of(spec.clone())
            .linux
            .expect("linux")
            .security_context
            .expect("context")
            .namespace_options
            .expect("options");
        let users = options.userns_options.clone().expect("users");
        assert_eq!((options.network(), options.pid(), options.ipc(), users.mode()), wanted, "{spec}");
        assert_eq!(
            users.uids.first().map(|ids| (ids.container_id, ids.length)),
            (users.mode() == Pod).then_some((0, 65_536))
        );
        assert_eq!(users.uids, users.gids);
    }
}

#[test]
fn security_of_the_pod() {
    let context = json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4], "supplementalGroupsPolicy": "Strict",
        "sysctls": [{"name": "net.core.somaxconn", "value": "9"}], "seLinuxOptions": {"level": "s0"}});
    let spec = json!({"securityContext": context, "containers": [{"securityContext": {"privileged": true}}]});
    let linux = of(spec).linux.expect("linux");
    assert_eq!(linux.sysctls["net.core.somaxconn"], "9");
    let context = linux.security_context.expect("context");
    assert_eq!(
        (context.run_as_user.map(|id| id.value), context.run_as_group.map(|id| id.value)),
        (Some(1), Some(2))
    );
    assert_eq!(
        (context.supplemental_groups, context.supplemental_groups_policy, context.privileged),
        (vec![3, 4], 1, true)
    );
    assert_eq!(context.selinux_options.expect("selinux").level, "s0");
}

#[test]
fn hosts_files() {
    let addresses = [address("10.88.0.5"), address("fd00::5")];
    let of = |spec| with_settings(|settings| hosts_file(&pod(spec), &addresses, settings));
    let plain = of(json!({})).expect("a file");
    assert!(
        plain.contains("127.0.0.1\tlocalhost\n") && plain.ends_with("\n10.88.0.5\tfront\nfd00::5\tfront\n"),
        "{plain}"
    );
    let aliases = json!([{"ip": "192.0.2.7", "hostnames": ["db", "db.example.org"]}]);
    let named = of(json!({"subdomain": "s", "hostAliases": aliases})).expect("a file");
    assert!(named.contains("10.88.0.5\tfront.s.web.svc.cluster.local\tfront\n"), "{named}");
    assert!(named.ends_with("\n192.0.2.7\tdb\tdb.example.org\n"), "{named}");
    assert_eq!(of(json!({"hostNetwork": true})), None);
    let host = of(json!({"hostNetwork": true, "hostAliases": aliases})).expect("a file");
    assert!(host.ends_with("192.0.2.7\tdb\tdb.example.org\n") && !host.contains("front"), "{host}");
}
