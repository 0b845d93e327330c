use serde_json::json;

use super::*;
use crate::cri::api::{MountPropagation, Signal};
use crate::spec::{VolumeMount, hash, qos_class, runtime_handler};

#[test]
fn it_is_found_again_by_kubelets_labels_and_annotations() {
    let config = container_of_image(
        json!({"terminationGracePeriodSeconds": 5, "containers": [{"image": "web:1", "terminationMessagePath": "/m", "terminationMessagePolicy": "File",
            "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}, "ports": [{"containerPort": 80}]}]}),
        &image(),
        &Objects::default(),
    )
    .expect("a container");
    for (name, value) in [
        ("io.kubernetes.pod.name", "front"),
        ("io.kubernetes.pod.namespace", "web"),
        ("io.kubernetes.pod.uid", "u-1"),
        ("io.kubernetes.container.name", "main"),
        ("io.rcrun.agent", "node-1"),
    ] {
        assert_eq!(config.labels[name], value);
    }
    for (name, value) in [
        ("io.kubernetes.container.restartCount", "3"),
        ("io.kubernetes.container.terminationMessagePath", "/m"),
        ("io.kubernetes.container.terminationMessagePolicy", "File"),
        ("io.kubernetes.pod.terminationGracePeriod", "5"),
        ("io.kubernetes.container.preStopHandler", r#"{"sleep":{"seconds":1}}"#),
        ("io.kubernetes.container.ports", r#"[{"containerPort":80}]"#),
    ] {
        assert_eq!(config.annotations[name], value);
    }
    let metadata = config.metadata.expect("metadata");
    assert_eq!(
        (metadata.name.as_str(), metadata.attempt, config.log_path.as_str()),
        ("main", 3, "main/3.log")
    );
    let image = config.image.expect("an image");
    assert_eq!((image.image.as_str(), image.user_specified_image.as_str()), ("sha256:1", "web:1"));
}

#[test]
fn hashes_are_of_name_and_image() {
    let of = |name: &str, image: &str, args: &str| {
        let pod = pod(json!({"containers": [{"name": name, "image": image, "args": [args]}]}));
        hash(first(&pod))
    };
    assert_eq!(of("a", "b", "1"), of("a", "b", "2"));
    assert_ne!(of("a", "b", ""), of("a", "c", ""));
    assert_ne!(of("a", "bc", ""), of("ab", "c", ""));
    // Containers that run must not be taken for changed ones by a new agent.
    assert_eq!(of("main", "web:1", ""), "829323b368b9eb67");
}

#[test]
fn commands_are_expanded_by_all_variables() {
    let config = container(json!({"command": ["sh", "$(A)"], "args": ["$(B)$$(A)", "$(NO)"], "workingDir": "/w", "stdin": true, "tty": true,
        "env": [{"name": "A", "value": "a"}, {"name": "B", "value": "b$(A)"}]}))
    .expect("a container");
    assert_eq!(
        (config.command, config.args),
        (vec!["sh".into(), "a".into()], vec!["ba$(A)".into(), "$(NO)".to_owned()])
    );
    assert_eq!(
        (config.working_dir.as_str(), config.stdin, config.stdin_once, config.tty),
        ("/w", true, false, true)
    );
}

#[test]
fn resources_are_kubelets() {
    let of = |resources: Value| {
        let config = container(json!({"resources": resources})).expect("a container");
        config.linux.expect("linux").resources.expect("resources")
    };
    let none = of(json!({}));
    assert_eq!(
        (none.cpu_period, none.cpu_quota, none.cpu_shares, none.memory_limit_in_bytes, none.oom_score_adj),
        (100_000, 0, 2, 0, 1000)
    );
    let guaranteed = of(json!({"limits": {"cpu": "250m", "memory": "64Mi"}}));
    assert_eq!(
        (
            guaranteed.cpu_quota,
            guaranteed.cpu_shares,
            guaranteed.memory_limit_in_bytes,
            guaranteed.oom_score_adj
        ),
        (25_000, 256, 64 << 20, -997)
    );
    let burstable = of(json!({"requests": {"cpu": 1, "memory": "1Ki"}, "limits": {"cpu": 2}}));
    assert_eq!((burstable.cpu_quota, burstable.cpu_shares, burstable.oom_score_adj), (200_000, 1024, 999));
    assert_eq!(of(json!({"requests": {"memory": "100000Gi"}})).oom_score_adj, 3);
}

#[test]
fn qos_classes() {
    let both = json!({"limits": {"cpu": 1, "memory": "1Gi"}});
    let equal =
        json!({"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}});
    let less = json!({"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}});
    for (resources, wanted) in [
        (json!([null]), "BestEffort"),
        (json!([{"requests": {"cpu": 0}}]), "BestEffort"),
        (json!([{"requests": {"ephemeral-storage": "1Gi"}}]), "BestEffort"),
        (json!([both]), "Guaranteed"),
        (json!([both, equal]), "Guaranteed"),
        (json!([both, null]), "Burstable"),
        (json!([less]), "Burstable"),
        (json!([{"limits": {"cpu": 1}}]), "Burstable"),
        (json!([{"requests": {"memory": "1Mi"}}]), "Burstable"),
    ] {
        let containers =
            resources.as_array().expect("a list").iter().map(|resources| json!({"resources": resources}));
        assert_eq!(
            qos_class(&pod(json!({"containers": containers.collect::<Vec<_>>()}))),
            wanted,
            "{resources}"
        );
    }
    let init = json!({"initContainers": [{"name": "init"}], "containers": [{"resources": both}]});
    assert_eq!(qos_class(&pod(init)), "Burstable");
}

#[test]
fn stop_signals() {
    for (name, wanted) in [
        ("SIGTERM", Signal::Sigterm),
        ("SIGUSR1", Signal::Sigusr1),
        ("SIGRTMIN+3", Signal::Sigrtminplus3),
        ("SIGRTMAX-2", Signal::Sigrtmaxminus2),
    ] {
        let config = container(json!({"lifecycle": {"stopSignal": name}})).expect("a container");
        assert_eq!(config.stop_signal(), wanted);
    }
    assert_eq!(container(json!({})).expect("a container").stop_signal(), Signal::RuntimeDefault);
    for name in ["TERM", "RUNTIME_DEFAULT", "SIGNONE"] {
        let error = container(json!({"lifecycle": {"stopSignal": name}})).expect_err("no signal");
        assert!(error.message.contains(name) && error.reason == "CreateContainerConfigError", "{error}");
    }
}

fn mounts(spec: Value, mounts: Vec<VolumeMount>) -> Vec<api::Mount> {
    let pod = pod(spec);
    let objects = Objects::default();
    let image = image();
    let inputs = ContainerInputs {
        objects: &objects,
        addresses: &[],
        mounts,
        image: &image,
        attempt: 0,
        hosts_file: Some(Path::new("/state/etc-hosts")),
        termination_file: Some(Path::new("/state/message")),
    };
    with_settings(|settings| crate::spec::container(&pod, first(&pod), &inputs, settings))
        .expect("a container")
        .mounts
}

fn volume(container_path: &str) -> VolumeMount {
    VolumeMount {
        host_path: "/state/volume".into(),
        container_path: container_path.into(),
        readonly: true,
        recursive_readonly: false,
        propagation: Some("Bidirectional".into()),
        image: None,
        image_sub_path: String::new(),
    }
}

#[test]
fn mounts_are_volumes_and_files_of_the_pods() {
    let all = mounts(json!({}), vec![volume("/data")]);
    let paths: Vec<_> = all
        .iter()
        .map(|mount| (mount.host_path.as_str(), mount.container_path.as_str(), mount.readonly))
        .collect();
    assert_eq!(
        paths,
        [
            ("/state/volume", "/data", true),
            ("/state/etc-hosts", "/etc/hosts", false),
            ("/state/message", "/dev/termination-log", false)
        ]
    );
    assert_eq!(all[0].propagation(), MountPropagation::PropagationBidirectional);
    assert!(all.iter().all(|mount| mount.uid_mappings.is_empty()));
    let own = mounts(json!({"containers": [{"terminationMessagePath": "m"}]}), vec![volume("/etc/hosts/")]);
    let paths: Vec<_> = own.iter().map(|mount| mount.container_path.as_str()).collect();
    assert_eq!(paths, ["/etc/hosts/", "/m"]);
}

#[test]
fn mounts_have_the_pods_ids() {
    let all = mounts(json!({"hostUsers": false}), vec![volume("/data")]);
    assert!(
        all.iter().all(|mount| mount.uid_mappings.len() == 1 && mount.uid_mappings == mount.gid_mappings)
    );
}

#[test]
fn images_are_volumes_too() {
    let image = VolumeMount { image: Some("files:1".into()), image_sub_path: "sub".into(), ..volume("/i") };
    let mount = mounts(json!({}), vec![image]).remove(0);
    assert_eq!(
        (
            mount.host_path.as_str(),
            mount.image.expect("an image").image.as_str(),
            mount.image_sub_path.as_str()
        ),
        ("", "files:1", "sub")
    );
}

#[test]
fn runtime_classes_are_looked_up() {
    let class = (Kind::RuntimeClass, json!({"metadata": {"name": "strong"}, "handler": "kata"}));
    let objects = objects(&[class]);
    let of = |spec| runtime_handler(&pod(spec), &objects);
    assert_eq!(of(json!({})).as_deref(), Ok(""));
    assert_eq!(of(json!({"runtimeClassName": "strong"})).as_deref(), Ok("kata"));
    let error = of(json!({"runtimeClassName": "none"})).expect_err("there is none");
    assert!(error.message.starts_with("runtimeclass none not found"), "{error}");
}
