//! Bad input, quotas, and the directory of manifests, from end to end.

use std::fs;

use crate::cluster::Cluster;

/// Each manifest with what has to be in the one line that refuses it.
const BAD: &[(&str, &[&str])] = &[
    ("apiVersion: v1\nkind: Pod\nmetadata: {name: a\n", &["line "]),
    ("apiVersion: v1\nkind: Pot\nmetadata: {name: a}\n", &["no matches for kind \"Pot\" in version \"v1\""]),
    (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: a, imagee: b}]}\n",
        &["spec.containers[0].imagee: unknown field"],
    ),
    (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {affinity: {}, containers: [{name: a, image: a}]}\n",
        &["spec.affinity: not supported by this agent"],
    ),
    (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: a}, {name: a, image: b}]}\n",
        &["spec.containers[1].name: \"a\" is there twice"],
    ),
    (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  selector: {matchLabels: {app: a}}\n  \
         template: {metadata: {labels: {app: b}}, spec: {containers: [{name: a, image: a}]}}\n",
        &["spec.selector: it does not match the labels of spec.template.metadata"],
    ),
    (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: none}\n",
        &["namespaces \"none\" not found"],
    ),
    ("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {key: hunter2!}\n", &["data.key: not base64"]),
    (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
        &["configmap a: it is in two places: line 1, which is kept, and line 5, which is not"],
    ),
    (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: a, ports: [{containerPort: x}]}]}\n",
        &["spec.containers[0].ports[0].containerPort: a whole number of 32 bits is wanted"],
    ),
    ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"a\\nb\"}\n", &["\"a\\nb\" must be at most 253"]),
];

#[test]
fn bad_input_is_refused_in_words_that_say_what_and_where() {
    let cluster = cluster!();
    for (manifest, expected) in BAD {
        let outcome = cluster.try_apply(manifest).exits_with(1);
        for words in *expected {
            assert!(outcome.stderr.contains(words), "{}\n{manifest}", outcome.stderr);
        }
        assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    }
}

#[test]
fn files_that_are_none_and_lines_that_are_wrong_are_told_of_on_a_line() {
    let cluster = cluster!();
    let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    let directory = cluster.node.file("twice");
    fs::create_dir(&directory).expect("mkdir");
    fs::write(directory.join("a.yaml"), map("a")).expect("write");
    fs::write(directory.join("b.yaml"), map("a") + "---\n" + &map("b")).expect("write");
    let outcome = cluster.verb(&["apply", "-f", "/run/node/twice"]).exits_with(1);
    assert!(outcome.stdout.contains("configmap/b created"), "{outcome}");
    assert!(
        outcome.stderr.contains("configmap/a is in two places, \"/run/node/twice/a.yaml\" and"),
        "{outcome}"
    );
    cluster
        .verb(&["apply", "-f", "https://example.com/x.yaml"])
        .refused(&["is not fetched: curl https://example.com"]);
    cluster
        .verb(&["apply", "-k", "."])
        .refused(&["unexpected argument '-k'", "see rcrun-agent apply --help"]);
    cluster.verb(&["patch", "cm", "b", "-p", "nothing"]).refused(&["unable to parse the patch", "no map"]);
    // As long as a name may be, which is longer than its file's may be.
    let long = "a".repeat(253);
    assert_eq!(cluster.apply(&map(&long)), format!("configmap/{long} created\n"));
    cluster.ok(&["delete", "cm", &long]);
}

#[test]
fn one_agent_at_a_time_and_it_says_so_before_it_does_anything() {
    let cluster = cluster!();
    cluster.program(&[]).wait().refused(&["cannot lock /var/lib/rcrun-agent", "another agent has it"]);
    let other = ["--state", "/run/node/other"];
    cluster
        .program(&other)
        .wait()
        .refused(&["another agent runs: it listens on /run/rcrun-agent/agent.sock"]);
}

#[test]
fn a_port_that_is_taken_names_by_whom() {
    let cluster = cluster!();
    let service = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
             spec: {{type: NodePort, selector: {{a: b}}, ports: [{{port: 80, nodePort: 30123}}]}}\n"
        )
    };
    cluster.apply(&service("one"));
    let outcome = cluster.try_apply(&service("two")).exits_with(1);
    assert!(outcome.stderr.contains("30123: port taken by service default/one"), "{}", outcome.stderr);
}

#[test]
fn a_quota_limits_what_a_namespace_has_and_says_what_is_used() {
    let cluster = cluster!();
    cluster.apply(
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: q}\nspec: {hard: {configmaps: 1, pods: 1}}\n",
    );
    let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    cluster.apply(&map("one"));
    let outcome = cluster.try_apply(&map("two")).exits_with(1);
    assert!(outcome.stderr.contains("exceeded quota: q, requested: configmaps=1"), "{}", outcome.stderr);
    cluster.wait("resourcequota", "q", "used", |quota| quota["status"]["used"]["configmaps"] == "1");
}

#[test]
fn what_is_applied_again_is_unchanged_and_what_is_left_out_goes() {
    let cluster = cluster!();
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m, labels: {a: b}}\ndata: {x: y}\n";
    assert_eq!(cluster.apply(map), "configmap/m created\n");
    assert_eq!(cluster.apply(map), "configmap/m unchanged\n");
    assert_eq!(cluster.apply(&map.replace(", labels: {a: b}", "")), "configmap/m configured\n");
    let labels = &cluster.object("configmap", "m").expect("it is there")["metadata"]["labels"];
    assert!(labels["a"].is_null(), "{labels}");
}

#[test]
fn manifests_come_and_go_with_their_files() {
    let cluster = crate::support::require!(Cluster::without_agent());
    let directory = cluster.node.file("manifests");
    fs::create_dir(&directory).expect("mkdir");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  terminationGracePeriodSeconds: 1\n  \
               containers: [{name: a, image: \"busybox:1\", command: [sleep, \"1000\"]}]\n";
    fs::write(directory.join("web.yaml"), pod).expect("write");
    cluster.start(&["--manifests", "/run/node/manifests"]);
    cluster.ready("web");
    let outcome = cluster.try_apply(pod).exits_with(1);
    assert!(
        outcome.stderr.contains("it comes from web.yaml in the manifests' directory"),
        "{}",
        outcome.stderr
    );
    // It comes back, as what is there says; and who deletes it is told.
    let before = cluster.ready("web");
    let deleted = cluster.verb(&["delete", "pod", "web"]).success();
    assert_eq!(deleted.stdout, "pod \"web\" deleted from default namespace\n");
    let warning = "Warning: pod \"web\" comes from web.yaml in the manifests' directory, and is made again from it: remove the file, or take it out there\n";
    assert_eq!(deleted.stderr, warning);
    cluster.wait("pod", "web", "made again", |pod| {
        pod["metadata"]["uid"] != before["metadata"]["uid"] && crate::cluster::is_ready(pod)
    });
    fs::write(directory.join("bad.yaml"), "kind: [\n").expect("write");
    crate::support::wait_for("the event of the broken file", 60, || {
        cluster.ok(&["get", "events"]).contains("bad.yaml: line 1").then_some(())
    });
    cluster.ready("web");
    std::os::unix::fs::symlink("nowhere", directory.join("link.yaml")).expect("symlink");
    crate::support::wait_for("the event of the dangling link", 60, || {
        cluster
            .ok(&["get", "events"])
            .contains("link.yaml: it is a link to nowhere, which is not there")
            .then_some(())
    });
    fs::remove_file(directory.join("web.yaml")).expect("remove");
    cluster.gone("pod", "web");
}

#[test]
fn a_pod_may_have_the_longest_name() {
    let cluster = cluster!();
    let name = "a".repeat(253);
    cluster.apply(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
         containers: [{{name: c, image: \"busybox:1\", command: [sh, -c, \"hostname; exec sleep 1000\"]}}]\n"
    ));
    cluster.ready(&name);
    crate::support::wait_for("the log", 20, || {
        (cluster.verb(&["logs", &name]).stdout == format!("{}\n", "a".repeat(63))).then_some(())
    });
    cluster.ok(&["delete", "pod", &name, "--timeout=30s"]);
}
