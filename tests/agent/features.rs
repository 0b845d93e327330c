//! What depends on the runtime: an error at apply where it does not report it, and done where it does.

use crate::cluster::Cluster;
use crate::support::{copy_program, require};

fn pod(name: &str, container: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{terminationGracePeriodSeconds: 0, {spec} \
         containers: [{{name: main, image: 'busybox:1', command: [sleep, '1000'], {container}}}]}}\n"
    )
}

/// Whether a mount below a read-only volume can be written to, as the three kinds of recursiveReadOnly have it.
fn recursive(cluster: &Cluster) {
    cluster.knows_its_runtime();
    let below = "mkdir -p /dev/shm/top/below && mount -t tmpfs tmpfs /dev/shm/top/below";
    cluster.node.run(&["sh", "-c", below]).success();
    let mount = |kind: &str| {
        format!("volumeMounts: [{{name: v, mountPath: /v, readOnly: true, recursiveReadOnly: {kind}}}]")
    };
    let volume = "volumes: [{name: v, hostPath: {path: /dev/shm/top}}],";
    for (name, kind, refused) in
        [("no", "Disabled", false), ("may", "IfPossible", true), ("must", "Enabled", true)]
    {
        cluster.apply(&pod(name, &mount(kind), volume));
        cluster.ready(name);
        let writes = cluster.verb(&["exec", name, "--", "sh", "-c", "echo x >/v/below/file"]);
        assert_eq!(!writes.status.success(), refused, "{kind}: {}", writes.stderr);
        let writes = cluster.verb(&["exec", name, "--", "sh", "-c", "echo x >/v/file"]);
        assert!(!writes.status.success(), "{kind}");
        cluster.ok(&["delete", "pod", name, "--now"]);
    }
    cluster.node.run(&["umount", "/dev/shm/top/below"]).success();
}

#[test]
fn read_only_is_recursive_where_it_can_be() {
    recursive(&cluster!());
}

#[test]
fn read_only_is_recursive_on_containerd_where_it_can_be() {
    recursive(&require!(Cluster::on_containerd()));
}

#[test]
fn what_the_runtime_does_not_report_is_an_error_that_names_the_field() {
    let cluster = cluster!();
    cluster.knows_its_runtime();
    let image = "volumes: [{name: v, image: {reference: 'busybox:1'}}],";
    for (container, spec, path) in [
        ("", "hostUsers: false,", "spec.hostUsers: the runtime does not report user namespaces"),
        (
            "volumeMounts: [{name: v, mountPath: /v}]",
            image,
            "spec.volumes[0].image: the runtime does not report image volumes",
        ),
    ] {
        let refused = cluster.try_apply(&pod("wrong", container, spec)).exits_with(1);
        assert!(refused.stderr.contains(path), "{path}: {}", refused.stderr);
        // In a template, too.
        let template = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: wrong}}\nspec: {{selector: {{matchLabels: {{a: b}}}}, template: {{metadata: {{labels: {{a: b}}}}, \
             spec: {{{spec} containers: [{{name: main, image: 'busybox:1', {container}}}]}}}}}}\n"
        );
        let refused = cluster.try_apply(&template).exits_with(1);
        assert!(refused.stderr.contains(&format!("spec.template.{path}")), "{path}: {}", refused.stderr);
    }
    assert_eq!(cluster.ok(&["get", "pods,deployments", "-o", "name"]), "");
}

/// What another handler than the runtime's own can is asked of that one.
#[test]
fn features_are_those_of_the_handler_of_the_runtime_class() {
    let cluster = require!(Cluster::without_agent());
    let program = "#!/bin/sh\ncase \"$*\" in *features*) echo '{\"ociVersionMin\": \"1.0.0\", \"ociVersionMax\": \"1.2.0\"}';; *) exit 1;; esac\n";
    std::fs::write(cluster.node.file("old.sh"), program).expect("write");
    copy_program(&cluster.node.file("old.sh"), &cluster.node.file("old"), 0o755);
    cluster.node.configure(|config| {
        let profile = toml::from_str("program = '/run/node/old'").expect("a profile");
        config.runtimes.insert("old".into(), profile);
    });
    cluster.node.restart();
    cluster.start(&[]);
    cluster.knows_its_runtime();
    cluster.apply("apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: old}\nhandler: old\n");
    let mount = "volumeMounts: [{name: v, mountPath: /v, readOnly: true, recursiveReadOnly: Enabled}]";
    let volume = "volumes: [{name: v, emptyDir: {}}],";
    let refused =
        cluster.try_apply(&pod("old", mount, &format!("runtimeClassName: old, {volume}"))).exits_with(1);
    let why = "spec.containers[0].volumeMounts[0].recursiveReadOnly: the runtime's handler old does not report recursive read-only mounts";
    assert!(refused.stderr.contains(why), "{}", refused.stderr);
    cluster.apply(&pod("own", mount, volume));
    cluster.ready("own");
}

#[test]
fn user_namespaces_and_image_volumes_work_on_containerd() {
    let cluster = require!(Cluster::on_containerd());
    cluster.knows_its_runtime();
    let image = "volumes: [{name: v, image: {reference: 'docker.io/library/busybox:1', pullPolicy: Never}}],";
    cluster.apply(&pod("image", "volumeMounts: [{name: v, mountPath: /v}]", image));
    cluster.ready("image");
    assert_eq!(
        cluster.ok(&["exec", "image", "--", "sh", "-c", "test -x /v/bin/busybox && echo there"]),
        "there\n"
    );
    let writes = cluster.verb(&["exec", "image", "--", "touch", "/v/file"]);
    assert!(!writes.status.success(), "an image can be written to");
    let users = cluster.try_apply(&pod("users", "", "hostUsers: false,"));
    if !users.status.success() {
        let why = "spec.hostUsers: the runtime does not report user namespaces";
        assert!(users.stderr.contains(why), "{}", users.stderr);
        return crate::support::skip("containerd does not report user namespaces here");
    }
    cluster.ready("users");
    let map = cluster.ok(&["exec", "users", "--", "cat", "/proc/self/uid_map"]);
    let numbers: Vec<u32> = map.split_whitespace().map(|number| number.parse().expect("a number")).collect();
    assert!(numbers[0] == 0 && numbers[1] >= 0x7000_0000 && numbers[2] == 65_536, "{map}");
}
