//! ListContainers and StreamContainers: from memory.

use std::sync::Arc;

use tonic::Status;

use crate::api;
use crate::runtime::Runtime;
use crate::server::Answers;
use crate::state::Container;

/// Containers in one answer of a stream.
const CHUNK: usize = 256;

/// ListContainers.
pub async fn list_containers(
    runtime: &Arc<Runtime>,
    request: api::ListContainersRequest,
) -> Result<api::ListContainersResponse, Status> {
    Ok(api::ListContainersResponse { containers: wanted(runtime, request.filter.as_ref()) })
}

/// StreamContainers.
pub async fn stream_containers(
    runtime: &Arc<Runtime>,
    request: api::StreamContainersRequest,
) -> Result<Answers<api::StreamContainersResponse>, Status> {
    let mut all = wanted(runtime, request.filter.as_ref());
    let chunks = std::iter::from_fn(move || {
        let rest = all.split_off(all.len().min(CHUNK));
        let containers = std::mem::replace(&mut all, rest);
        (!containers.is_empty()).then_some(Ok(api::StreamContainersResponse { containers }))
    });
    Ok(Box::pin(tokio_stream::iter(chunks)))
}

fn wanted(runtime: &Runtime, filter: Option<&api::ContainerFilter>) -> Vec<api::Container> {
    let filter = filter.map(|filter| whole_ids(runtime, filter.clone()));
    let all = runtime.containers.list();
    let mut wanted: Vec<_> = all
        .into_iter()
        .filter(|container| filter.as_ref().is_none_or(|filter| matches(filter, container)))
        .collect();
    // The oldest first, whatever their ids are.
    wanted.sort_by_key(|container| container.created);
    wanted.iter().map(|container| shown(container)).collect()
}

/// The beginning of an id stands for it.
fn whole_ids(runtime: &Runtime, mut filter: api::ContainerFilter) -> api::ContainerFilter {
    if let Ok(entry) = runtime.containers.find(&filter.id) {
        filter.id = entry.get().id.clone();
    }
    if let Ok(entry) = runtime.pods.find(&filter.pod_sandbox_id) {
        filter.pod_sandbox_id = entry.get().id.clone();
    }
    filter
}

fn matches(filter: &api::ContainerFilter, container: &Container) -> bool {
    let is = |wanted: &str, id: &str| wanted.is_empty() || wanted == id;
    let labels = &container.config.labels;
    is(&filter.id, &container.id)
        && is(&filter.pod_sandbox_id, &container.pod)
        && filter.state.as_ref().is_none_or(|wanted| wanted.state == container.state() as i32)
        && filter.label_selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn shown(container: &Container) -> api::Container {
    let config = &container.config;
    api::Container {
        id: container.id.clone(),
        pod_sandbox_id: container.pod.clone(),
        metadata: config.metadata.clone(),
        image: config.image.clone(),
        image_ref: container.image_ref.clone(),
        image_id: container.image_id.clone(),
        state: container.state() as i32,
        created_at: container.created,
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::container;
    use super::*;

    #[test]
    fn filters_say_what_all_of_them_have() {
        let mut one = container("a1", "p1");
        one.config.labels.insert("app".into(), "web".into());
        let running = Container { started: Some(1), ..one.clone() };
        let filter = |change: fn(&mut api::ContainerFilter)| {
            let mut filter = api::ContainerFilter::default();
            change(&mut filter);
            filter
        };
        assert!(matches(&filter(|_| ()), &one));
        assert!(matches(&filter(|f| f.id = "a1".into()), &one));
        assert!(!matches(&filter(|f| f.id = "a".into()), &one));
        assert!(!matches(&filter(|f| f.pod_sandbox_id = "p2".into()), &one));
        let is_running = filter(|f| f.state = Some(api::ContainerStateValue { state: 1 }));
        assert!(matches(&is_running, &running) && !matches(&is_running, &one));
        assert!(matches(&filter(|f| drop(f.label_selector.insert("app".into(), "web".into()))), &one));
        assert!(!matches(&filter(|f| drop(f.label_selector.insert("app".into(), "db".into()))), &one));
    }
}
