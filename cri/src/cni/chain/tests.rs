//! Plugins of the tests are shell scripts that write down how they were called.

use std::fs;

use super::*;

/// A directory of plugins and the log that they write.
struct Plugins(tempfile::TempDir);

impl Plugins {
    fn new(scripts: &[(&str, &str)]) -> Self {
        let plugins = Self(tempfile::tempdir().unwrap());
        for (name, script) in scripts {
            let file = plugins.0.path().join(name);
            let log = plugins.log();
            let text = format!(
                "#!/bin/sh\nin=$(cat)\nprintf '%s %s %s %s\\n' {name} \"$CNI_COMMAND\" \"$CNI_NETNS\" \"$in\" >> {}\n{script}\n",
                log.display()
            );
            crate::testing::executable(&file, &text);
        }
        plugins
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("log")
    }

    fn settings(&self) -> Network {
        Network { cni_bin_dirs: vec!["/no/such/place".into(), self.0.path().into()], ..Network::default() }
    }

    /// What was called: `plugin COMMAND netns`, and the configuration.
    fn calls(&self) -> Vec<(String, Value)> {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let split = |line: &str| {
            let at = line.find('{').unwrap();
            (line[..at].trim().to_owned(), serde_json::from_str(&line[at..]).unwrap())
        };
        fs::remove_file(self.log()).ok();
        log.lines().map(split).collect()
    }
}

fn names(calls: &[(String, Value)]) -> Vec<&str> {
    calls.iter().map(|(name, _)| name.as_str()).collect()
}

const FIRST: &str = r#"echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.2/16"}]}'"#;
const LAST: &str =
    r#"echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.2/16"},{"address":"fd00::2/64"}]}'"#;

fn conf_list(version: &str) -> ConfList {
    let plugin = |value: Value| value.as_object().unwrap().clone();
    ConfList {
        name: "net".into(),
        version: version.into(),
        plugins: vec![
            plugin(json!({"type": "first", "mtu": 1400})),
            plugin(
                json!({"type": "last", "capabilities": {"portMappings": true, "bandwidth": true, "dns": false}}),
            ),
        ],
        disable_check: false,
        disable_gc: false,
        file: "10-net.conflist".into(),
    }
}

fn attachment(version: &str) -> CniAttachment {
    let plugins = Plugins::new(&[("first", ""), ("last", "")]);
    let config = api::PodSandboxConfig {
        metadata: Some(api::PodSandboxMetadata {
            name: "web".into(),
            namespace: "shop".into(),
            uid: "u-1".into(),
            attempt: 0,
        }),
        port_mappings: vec![api::PortMapping { host_port: 8080, container_port: 80, ..Default::default() }],
        dns_config: Some(api::DnsConfig::default()),
        ..Default::default()
    };
    CniAttachment::plan(&plugins.settings(), conf_list(version), "pod", &config, "").unwrap()
}

const NETNS: &str = "/run/netns/pod";

#[test]
fn each_plugin_is_told_what_the_one_before_answered() {
    let plugins = Plugins::new(&[("first", FIRST), ("last", LAST)]);
    let mut attachment = attachment("1.0.0");
    let addresses = attachment.add(&plugins.settings(), "pod", Path::new(NETNS)).unwrap();
    assert_eq!(addresses, ["10.1.0.2".parse::<IpAddr>().unwrap(), "fd00::2".parse().unwrap()]);
    let calls = plugins.calls();
    assert_eq!(names(&calls), ["first ADD /run/netns/pod", "last ADD /run/netns/pod"]);
    let (first, last) = (&calls[0].1, &calls[1].1);
    assert_eq!(first, &json!({"cniVersion": "1.0.0", "name": "net", "type": "first", "mtu": 1400}));
    assert_eq!(last["prevResult"]["ips"][0]["address"], json!("10.1.0.2/16"));
    let ports = json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]});
    assert_eq!(last["runtimeConfig"], ports, "no bandwidth is wanted, dns not asked for");
    assert_eq!(last.get("capabilities"), None);
}

#[test]
fn del_goes_backwards_with_the_result_of_add() {
    let plugins = Plugins::new(&[("first", FIRST), ("last", LAST)]);
    let mut attachment = attachment("0.4.0");
    attachment.add(&plugins.settings(), "pod", Path::new(NETNS)).unwrap();
    plugins.calls();
    attachment.delete(&plugins.settings(), "pod", None).unwrap();
    let calls = plugins.calls();
    assert_eq!(names(&calls), ["last DEL", "first DEL"], "without a namespace that is gone");
    assert_eq!(calls[0].1["prevResult"], attachment.result.clone().unwrap());
    assert!(calls[0].1["runtimeConfig"]["portMappings"].is_array());
}

#[test]
fn an_old_network_is_not_told_the_result_again() {
    let plugins = Plugins::new(&[("first", FIRST), ("last", LAST)]);
    let mut attachment = attachment("0.3.1");
    attachment.add(&plugins.settings(), "pod", Path::new(NETNS)).unwrap();
    plugins.calls();
    attachment.check(&plugins.settings(), "pod", Path::new(NETNS)).unwrap();
    attachment.delete(&plugins.settings(), "pod", Some(Path::new(NETNS))).unwrap();
    let calls = plugins.calls();
    assert_eq!(names(&calls), ["last DEL /run/netns/pod", "first DEL /run/netns/pod"]);
    assert_eq!(calls[0].1.get("prevResult"), None);
}

#[test]
fn the_plugin_that_fails_is_named_and_all_are_asked_to_delete() {
    let script = r#"[ "$CNI_COMMAND" = ADD ] || exit 0; echo '{"code":11,"msg":"no free port"}'; exit 1"#;
    let plugins = Plugins::new(&[("first", FIRST), ("last", script)]);
    let mut attachment = attachment("1.0.0");
    let error = attachment.add(&plugins.settings(), "pod", Path::new(NETNS)).unwrap_err().to_string();
    assert_eq!(error, "CNI plugin last of network net: ADD failed: no free port");
    plugins.calls();
    attachment.delete(&plugins.settings(), "pod", Some(Path::new(NETNS))).unwrap();
    assert_eq!(names(&plugins.calls()).len(), 2);
}

#[test]
fn del_goes_on_past_a_failure_and_says_the_first() {
    let plugins = Plugins::new(&[("first", "exit 0"), ("last", "echo stuck >&2; exit 1")]);
    let error = attachment("1.0.0").delete(&plugins.settings(), "pod", None).unwrap_err().to_string();
    assert_eq!(error, "CNI plugin last of network net: DEL failed: stuck");
    assert_eq!(names(&plugins.calls()), ["last DEL", "first DEL"]);
}

#[test]
fn a_plugin_that_is_not_there_is_named_before_anything_is_done() {
    let plugins = Plugins::new(&[("first", FIRST)]);
    let error = attachment("1.0.0").add(&plugins.settings(), "pod", Path::new(NETNS)).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("CNI plugin last of network net is not in /no/such/place, "), "{text}");
    assert_eq!(tonic::Status::from(error).code(), tonic::Code::FailedPrecondition);
    assert!(plugins.calls().is_empty());
    let config = api::PodSandboxConfig::default();
    assert!(CniAttachment::plan(&plugins.settings(), conf_list("1.0.0"), "pod", &config, "").is_err());
    assert!(status(&conf_list("0.4.0"), &plugins.settings()).is_err());
}

#[test]
fn check_and_status_ask_all_plugins() {
    let script = r#"[ "$CNI_COMMAND" = STATUS ] && { echo '{"code":50,"msg":"no daemon"}'; exit 1; }"#;
    let plugins = Plugins::new(&[("first", FIRST), ("last", &format!("{script}\n{LAST}"))]);
    let mut attachment = attachment("1.1.0");
    attachment.add(&plugins.settings(), "pod", Path::new(NETNS)).unwrap();
    plugins.calls();
    attachment.check(&plugins.settings(), "pod", Path::new(NETNS)).unwrap();
    let calls = plugins.calls();
    assert_eq!(names(&calls), ["first CHECK /run/netns/pod", "last CHECK /run/netns/pod"]);
    assert!(calls[0].1["prevResult"].is_object());
    let error = status(&conf_list("1.1.0"), &plugins.settings()).unwrap_err().to_string();
    assert_eq!(error, "CNI plugin last of network net: STATUS failed: no daemon");
    status(&conf_list("1.0.0"), &plugins.settings()).unwrap();
}

#[test]
fn plugins_are_told_which_pods_are_left() {
    let plugins = Plugins::new(&[("first", "exit 1"), ("last", "exit 0")]);
    assert!(collect(&conf_list("1.1.0"), &plugins.settings(), &["a", "b"]).is_err());
    let calls = plugins.calls();
    assert_eq!(names(&calls), ["first GC", "last GC"]);
    let valid = json!([{"containerID": "a", "ifname": "eth0"}, {"containerID": "b", "ifname": "eth0"}]);
    assert_eq!(calls[1].1["cni.dev/valid-attachments"], valid);
    collect(&conf_list("1.0.0"), &plugins.settings(), &[]).unwrap();
    assert!(plugins.calls().is_empty());
}

#[test]
fn a_name_that_would_break_the_arguments_is_refused() {
    let config = api::PodSandboxConfig {
        metadata: Some(api::PodSandboxMetadata { name: "a;K8S_POD_UID=b".into(), ..Default::default() }),
        ..Default::default()
    };
    let plugins = Plugins::new(&[("first", ""), ("last", "")]);
    let planned = CniAttachment::plan(&plugins.settings(), conf_list("1.0.0"), "pod", &config, "");
    let error = planned.unwrap_err().to_string();
    assert!(error.contains("cannot be K8S_POD_NAME of CNI_ARGS"), "{error}");
}

#[test]
fn an_attachment_survives_its_record() {
    let made = super::super::Attachment::Cni(attachment("1.0.0"));
    let value = serde_json::to_value(&made).unwrap();
    assert_eq!(value["kind"], json!("cni"));
    let read: super::super::Attachment = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), value);
}
