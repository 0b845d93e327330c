//! What the loop remembers, without a runtime.

use std::sync::Arc;

use super::*;
use crate::cri::Runtime;
use crate::reconcile::observed::{NodeFacts, ProbeKind, Sandbox, Volumes};
use crate::spec::{Settings, UserRanges};
use crate::store::Store;

/// A loop over a store with one Pod, of which a sandbox was and all was taken down.
fn turns(directory: &std::path::Path) -> (Turns, Object) {
    let store = Arc::new(Store::open(directory).expect("a store"));
    let pod =
        serde_json::json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"containers": []}});
    let pod = Object::from_value(Kind::Pod, pod).expect("a Pod");
    let pod = store.create(pod, Durability::Written).expect("created");
    let runtime = Runtime::at("unix:///nonexistent/cri.sock").expect("an endpoint");
    let ranges = admission::Ranges::new("node", "10.96.0.0/16", "30000-32767", None).expect("ranges");
    let settings = Settings {
        node: NodeFacts::default(),
        logs: directory.join("logs"),
        cluster_domain: "cluster.local".into(),
        cluster_dns: None,
        resolv_conf: "/etc/resolv.conf".into(),
        seccomp: directory.join("seccomp"),
        users: UserRanges::below(directory.join("pods")),
    };
    let counters = Arc::default();
    let node = Node::new(store, runtime, counters, settings, directory.to_owned(), ranges);
    let mut turns = Turns::new(node);
    let left = PodObserved {
        namespace: "default".into(),
        name: "web".into(),
        volumes: Volumes::Gone,
        ..PodObserved::default()
    };
    turns.observed.pods.insert(pod.uid().into(), left);
    turns.steps.insert((pod.uid().into(), Target::Sandbox), 3);
    turns.node.counters.probe("default", "web", "c", ProbeKind::Liveness, true, Duration::ZERO);
    (turns, pod)
}

fn remembered(turns: &Turns) -> [usize; 4] {
    let probes = turns.node.counters.probes();
    [turns.observed.pods.len(), turns.steps.len(), turns.behind.len(), probes]
}

#[tokio::test]
async fn of_a_pod_that_is_gone_nothing_is_remembered() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut turns, pod) = turns(directory.path());
    turns.everything();
    assert_eq!(remembered(&turns), [1, 1, 0, 1]);
    // As in most deletions: the object goes last.
    turns.node.store.remove(&pod.key(), pod.uid(), Durability::Written).expect("removed");
    turns.changed(&Change::Deleted(pod.clone()));
    assert_eq!(remembered(&turns), [0; 4]);
    // What an older look saw does not bring it back.
    let sandbox = Sandbox {
        id: "s".into(),
        attempt: 0,
        ready: false,
        addresses: Vec::new(),
        created: Timestamp::UNIX_EPOCH,
    };
    let seen = Seen { sandboxes: vec![sandbox], ..Seen::default() };
    let asked = [((pod.uid().to_owned(), Target::Sandbox), 2)].into();
    turns.see(None, [(pod.uid().to_owned(), seen)].into(), &asked);
    assert_eq!(remembered(&turns), [0; 4]);
}

#[tokio::test]
async fn a_pod_whose_object_went_first_is_forgotten_with_its_last_step() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut turns, pod) = turns(directory.path());
    let (uid, target) = (pod.uid().to_owned(), Target::Probe("id".into(), ProbeKind::Liveness));
    let observed = turns.observed.pods.get_mut(&uid).expect("a Pod");
    observed.volumes = Volumes::Ready(0);
    observed.busy = [Target::Volumes, target].into();
    turns.node.store.remove(&pod.key(), pod.uid(), Durability::Written).expect("removed");
    turns.changed(&Change::Deleted(pod.clone()));
    turns.finish(pod.key(), &uid, &PodStep::TearDown, Outcome::Done);
    // Its answer is still to come.
    assert_eq!(turns.observed.pods.len(), 1);
    let probe = PodStep::Probe { container: "c".into(), id: "id".into(), kind: ProbeKind::Liveness };
    turns.finish(pod.key(), &uid, &probe, Outcome::Probe { success: true, message: String::new() });
    assert_eq!(remembered(&turns), [0; 4]);
}
