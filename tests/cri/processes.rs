//! PID namespaces: shared by a Pod, of a target, of one's own.

use rcrun_cri::api::{self, NamespaceMode};
use tonic::Code;

use crate::calls::{Pod, container_config, pod_config, security};
use crate::node::Node;
use crate::support;

/// A Pod whose containers share their processes, and the pid of its init once there is one.
fn sharing_pod(node: &Node, name: &str) -> Pod {
    let mut config = pod_config(name);
    let linux = config.linux.get_or_insert_default();
    let security = linux.security_context.get_or_insert_default();
    security.namespace_options.get_or_insert_default().pid = NamespaceMode::Pod.into();
    node.run_pod(&config)
}

fn container(node: &Node, pod: &Pod, name: &str, change: impl FnOnce(&mut api::NamespaceOption)) -> String {
    let mut config = container_config(name, &["sleep", "1000"]);
    change(security(&mut config).namespace_options.get_or_insert_default());
    node.run_container(pod, &config)
}

fn share(options: &mut api::NamespaceOption) {
    options.pid = NamespaceMode::Pod.into();
}

/// Of the Pod's init, as the node sees it.
fn init(node: &Node, pod: &Pod) -> String {
    let request = api::PodSandboxStatusRequest { pod_sandbox_id: pod.id.clone(), verbose: true };
    let info = node.call(async |mut c| c.pod_sandbox_status(request).await).unwrap().info;
    let info: serde_json::Value = serde_json::from_str(&info["info"]).unwrap();
    info["pid"].to_string()
}

#[test]
fn containers_share_their_processes_where_the_pod_says_so() {
    let node = node!();
    let pod = sharing_pod(&node, "sharing");
    assert_eq!(init(&node, &pod), "0", "nobody wants it yet");
    let one = container(&node, &pod, "one", share);
    let two = container(&node, &pod, "two", share);
    assert!(node.exec(&two, &["cat", "/proc/1/cmdline"]).starts_with("/init"));
    let processes = node.exec(&one, &["ps", "-o", "args"]);
    assert_eq!(processes.matches("sleep 1000").count(), 2, "{processes}");
    let own = container(&node, &pod, "own", |options| options.pid = NamespaceMode::Container.into());
    assert!(node.exec(&own, &["cat", "/proc/1/cmdline"]).starts_with("sleep"));
    // What the init is left with, it reaps.
    node.exec(&two, &["sh", "-c", "(sleep 0.01 &) ; exit 0"]);
    support::wait_for("the orphan's end", 10, || {
        let zombies = node.exec(&two, &["ps", "-o", "stat,args"]);
        (zombies.matches("sleep").count() == 2 && !zombies.contains('Z')).then_some(())
    });
    node.restart();
    let three = container(&node, &pod, "three", share);
    assert_eq!(node.exec(&three, &["ps", "-o", "args"]).matches("sleep 1000").count(), 3);
    node.stop_pod(&pod.id);
    for id in [one, two, own, three] {
        node.exited(&id);
    }
    assert_eq!(init(&node, &pod), "0");
}

#[test]
fn a_container_joins_the_processes_of_its_target() {
    let node = node!();
    let pod = node.pod("target");
    let target = container(&node, &pod, "target", |_| ());
    let guest = container(&node, &pod, "guest", |options| {
        options.pid = NamespaceMode::Target.into();
        options.target_id = target.clone();
    });
    assert_eq!(node.exec(&guest, &["ps", "-o", "args"]).matches("sleep 1000").count(), 2);
    let refused = |pod: &Pod, target: &str, code: Code, said: &str| {
        let mut config = container_config("refused", &["true"]);
        let options = security(&mut config).namespace_options.get_or_insert_default();
        options.pid = NamespaceMode::Target.into();
        options.target_id = target.into();
        let error = node.try_create(pod, &config).unwrap_err();
        assert!(error.code() == code && error.message().contains(said), "{error}");
    };
    refused(&pod, "nothing", Code::NotFound, "namespace_options.target_id: container \"nothing\" not found");
    refused(&node.pod("other"), &target, Code::InvalidArgument, "is in another Pod");
    node.stop(&target, 0);
    refused(&pod, &target, Code::FailedPrecondition, "does not run");
}

#[test]
fn an_init_whose_shim_is_silent_is_made_anew_too() {
    let node = node!();
    let pod = sharing_pod(&node, "silent");
    let first = container(&node, &pod, "first", share);
    let killed = init(&node, &pod);
    let shim = node.run(&["awk", "{print $4}", &format!("/proc/{killed}/stat")]).stdout;
    let shim = shim.trim();
    assert!(node.run(&["kill", "-STOP", shim]).status.success());
    assert!(node.run(&["kill", "-9", &killed]).status.success());
    node.exited(&first);
    let next = container(&node, &pod, "next", share);
    assert_ne!(init(&node, &pod), killed);
    assert!(node.exec(&next, &["cat", "/proc/1/cmdline"]).starts_with("/init"));
    // Nor does the old one come back to remove the new one's.
    let _ = node.run(&["kill", "-CONT", shim]);
    let command = format!("/proc/{shim}/cmdline");
    support::wait_for("its end", 10, || node.run(&["cat", &command]).stdout.is_empty().then_some(()));
    assert!(node.exec(&next, &["cat", "/proc/1/cmdline"]).starts_with("/init"));
}

#[test]
fn an_init_that_is_killed_is_made_anew_for_the_next_container() {
    let node = node!();
    let pod = sharing_pod(&node, "killed");
    let first = container(&node, &pod, "first", share);
    let waiting = {
        let mut config = container_config("waiting", &["sleep", "1000"]);
        share(security(&mut config).namespace_options.get_or_insert_default());
        node.create(&pod, &config)
    };
    let killed = init(&node, &pod);
    assert!(node.run(&["kill", "-9", &killed]).status.success());
    assert_eq!(node.exited(&first).exit_code, 137, "its namespace is gone");
    // Created with the old one's namespace, started in the new one's.
    node.try_start(&waiting).unwrap();
    assert_ne!(init(&node, &pod), killed);
    assert!(node.exec(&waiting, &["cat", "/proc/1/cmdline"]).starts_with("/init"));
    // Nobody holds the new one any more; all is given back even so.
    let shim = format!("kill -9 $(awk '{{print $4}}' /proc/{}/stat)", init(&node, &pod));
    assert!(node.run(&["sh", "-c", &shim]).status.success());
    node.stop_pod(&pod.id);
    assert_eq!(node.exited(&waiting).exit_code, 137);
}
