//! What earlier Pods left in the agent's directory: of those that nobody knows any more, because their objects went while no agent was
//! there, or one was killed before the last of its work.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

use super::Node;
use crate::objects::Typed as _;
use crate::reconcile::observed::PodObserved;
use crate::volumes::names;

/// A uid, as the store gives them: nothing else that is found there is the agent's.
const SHAPE: [usize; 5] = [8, 4, 4, 4, 12];

/// Adds them to what is observed, so that they are ended as others without an object are. To be done before any Pod is begun.
pub(super) fn take_up(node: &Node, observed: &mut BTreeMap<String, PodObserved>) {
    let desired: BTreeSet<String> =
        node.store.read(|objects| objects.list::<Pod>().map(|pod| pod.uid().to_owned()).collect());
    let is_known = |uid: &str| desired.contains(uid) || observed.contains_key(uid);
    let found = found(&node.state, &node.settings.logs, is_known);
    for (uid, left) in found {
        tracing::info!(uid, "removing what is left of a Pod that is gone");
        observed.insert(uid, left);
    }
}

/// Pods that have a directory or Secrets there, by their uids, but for those that are known.
fn found(state: &Path, logs: &Path, known: impl Fn(&str) -> bool) -> Vec<(String, PodObserved)> {
    let all: BTreeSet<String> =
        ["pods", "secrets"].iter().flat_map(|of_pods| names(&state.join(of_pods))).collect();
    let logs = names(logs);
    let left = all.into_iter().filter(|uid| is_uid(uid) && !known(uid));
    let left = left.map(|uid| {
        // The rest of what is known of it: NAMESPACE_NAME_UID.
        let of_log = logs.iter().find_map(|name| name.strip_suffix(uid.as_str())?.strip_suffix('_'));
        let (namespace, name) = of_log.and_then(|name| name.split_once('_')).unwrap_or(("", &uid));
        let left = PodObserved { namespace: namespace.into(), name: name.into(), ..PodObserved::default() };
        (uid, left)
    });
    left.collect()
}

fn is_uid(name: &str) -> bool {
    name.split('-').map(str::len).eq(SHAPE) && name.bytes().all(|c| c == b'-' || c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_known_or_is_no_pods_is_not_found() {
        let directory = tempfile::tempdir().expect("a directory");
        let uid = |n: u8| format!("{n}{n}{n}{n}{n}{n}{n}{n}-0000-4000-8000-000000000000");
        let (state, logs) = (directory.path().join("state"), directory.path().join("logs"));
        for path in [
            state.join("pods").join(uid(1)),
            state.join("pods").join(uid(2)),
            state.join("pods/lost+found"),
            state.join("secrets").join(uid(3)),
            logs.join(format!("web_front_{}", uid(2))),
            logs.join(format!("web_other_{}", uid(4))),
        ] {
            fs::create_dir_all(path).expect("mkdir");
        }
        let found: Vec<_> = found(&state, &logs, |known| known == uid(1))
            .into_iter()
            .map(|(uid, pod)| (uid, pod.namespace, pod.name))
            .collect();
        let wanted = [(uid(2), "web".to_owned(), "front".to_owned()), (uid(3), String::new(), uid(3))];
        assert_eq!(found, wanted);
    }
}
