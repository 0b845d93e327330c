//! ListPodSandbox and StreamPodSandboxes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::api;
use crate::runtime::Runtime;
use crate::server::Answers;
use crate::state::{Pod, PodState};

/// Pods in one answer of the stream: far below what a gRPC message may have.
const CHUNK: usize = 100;

/// All Pods that the filter lets through, oldest first. One that is still being made is nobody's yet.
pub fn list(runtime: &Runtime, filter: Option<&api::PodSandboxFilter>) -> Vec<api::PodSandbox> {
    let pods = runtime.pods.list();
    let passed = pods.iter().filter(|pod| pod.state != PodState::Making && passes(pod, filter));
    let mut items: Vec<api::PodSandbox> = passed.map(|pod| item(pod)).collect();
    items.sort_by_key(|item| item.created_at);
    items
}

/// The same as a stream.
pub fn stream(
    runtime: &Arc<Runtime>,
    filter: Option<&api::PodSandboxFilter>,
) -> Answers<api::StreamPodSandboxesResponse> {
    let pods = list(runtime, filter);
    let chunks: Vec<_> = pods
        .chunks(CHUNK)
        .map(|chunk| Ok(api::StreamPodSandboxesResponse { pod_sandboxes: chunk.to_vec() }))
        .collect();
    Box::pin(tokio_stream::iter(chunks))
}

fn passes(pod: &Pod, filter: Option<&api::PodSandboxFilter>) -> bool {
    let Some(filter) = filter else { return true };
    let state = filter.state.as_ref().is_none_or(|wanted| wanted.state == i32::from(state(pod)));
    // An id may be shortened.
    pod.id.starts_with(&filter.id) && state && has_labels(&pod.config.labels, &filter.label_selector)
}

fn has_labels(labels: &HashMap<String, String>, wanted: &HashMap<String, String>) -> bool {
    wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

fn item(pod: &Pod) -> api::PodSandbox {
    api::PodSandbox {
        id: pod.id.clone(),
        metadata: pod.config.metadata.clone(),
        state: state(pod).into(),
        created_at: pod.created,
        labels: pod.config.labels.clone(),
        annotations: pod.config.annotations.clone(),
        runtime_handler: pod.handler.clone(),
    }
}

/// Its state in the CRI's words.
pub fn state(pod: &Pod) -> api::PodSandboxState {
    match pod.state {
        PodState::Ready => api::PodSandboxState::SandboxReady,
        PodState::Making | PodState::NotReady => api::PodSandboxState::SandboxNotready,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{PodNetwork, SCHEMA};

    fn pod(id: &str, state: PodState) -> Pod {
        let labels = HashMap::from([("app".to_owned(), "web".to_owned())]);
        Pod {
            schema: SCHEMA,
            id: id.into(),
            config: api::PodSandboxConfig { labels, ..Default::default() },
            handler: String::new(),
            created: 1,
            state,
            network: PodNetwork::default(),
            ipc: None,
            uts: None,
            init: None,
            cgroup_parent: String::new(),
        }
    }

    #[test]
    fn filters_are_all_of_their_conditions() {
        let ready = pod("abc", PodState::Ready);
        let filter = |change: &dyn Fn(&mut api::PodSandboxFilter)| {
            let mut filter = api::PodSandboxFilter::default();
            change(&mut filter);
            passes(&ready, Some(&filter))
        };
        let wanted = |state: api::PodSandboxState| Some(api::PodSandboxStateValue { state: state.into() });
        assert!(passes(&ready, None) && filter(&|_| ()));
        assert!(filter(&|filter| filter.id = "ab".into()) && !filter(&|filter| filter.id = "b".into()));
        assert!(filter(&|filter| filter.state = wanted(api::PodSandboxState::SandboxReady)));
        assert!(!filter(&|filter| filter.state = wanted(api::PodSandboxState::SandboxNotready)));
        let label = |value: &str| HashMap::from([("app".to_owned(), value.to_owned())]);
        assert!(filter(&|filter| filter.label_selector = label("web")));
        assert!(!filter(&|filter| filter.label_selector = label("db")));
    }
}
