//! What containers and Pods use: read from cgroup files, the writable layer and the Pod's network namespace when asked.
//!
//! In: records and filters. Out: the CRI's statistics. A container that does not run has those of its writable layer alone; one
//! that ends while it is read is left out of lists. Times are nanoseconds since 1970, processor time is in nanoseconds, all
//! else in bytes. Where the host's cgroups lack a controller its numbers are 0 but there: the kubelet takes a missing one for
//! an error. Processor time needs no controller.

mod cgroup;
mod container;
mod network;
mod pod;
mod samples;
mod usage;

use std::collections::HashMap;
use std::sync::Arc;

use rcrun::cgroups::Hierarchy;
pub use samples::Samples;
use tonic::Status;

use crate::api;
use crate::container::error::not_there as not_found;
use crate::runtime::Runtime;
use crate::server::Answers;

/// ContainerStats.
pub async fn container_stats(
    runtime: &Arc<Runtime>,
    request: api::ContainerStatsRequest,
) -> Result<api::ContainerStatsResponse, Status> {
    let entry = runtime.containers.find(&request.container_id).map_err(not_found)?;
    let read = move |runtime: &Runtime| {
        let record = entry.get();
        let hierarchy = hierarchy()?;
        let usage = container::usage(&hierarchy, &record).unwrap_or_else(|error| {
            // It may have ended just now: what is known without its cgroup is an answer.
            tracing::debug!(container = record.id, %error, "statistics without its cgroup");
            None
        });
        Ok(api::ContainerStatsResponse { stats: Some(container::stats(runtime, &record, usage.as_ref())) })
    };
    blocking(runtime, read).await
}

/// ListContainerStats.
pub async fn list_container_stats(
    runtime: &Arc<Runtime>,
    request: api::ListContainerStatsRequest,
) -> Result<api::ListContainerStatsResponse, Status> {
    let read = move |runtime: &Runtime| container::list(runtime, &hierarchy()?, request.filter.as_ref());
    let stats = blocking(runtime, read).await?;
    Ok(api::ListContainerStatsResponse { stats })
}

/// StreamContainerStats: the list in parts, for it may be too long for one message.
pub async fn stream_container_stats(
    runtime: &Arc<Runtime>,
    request: api::StreamContainerStatsRequest,
) -> Result<Answers<api::StreamContainerStatsResponse>, Status> {
    let request = api::ListContainerStatsRequest { filter: request.filter };
    let list = list_container_stats(runtime, request).await?.stats;
    Ok(in_parts(list, |container_stats| api::StreamContainerStatsResponse { container_stats }))
}

/// PodSandboxStats.
pub async fn pod_sandbox_stats(
    runtime: &Arc<Runtime>,
    request: api::PodSandboxStatsRequest,
) -> Result<api::PodSandboxStatsResponse, Status> {
    let entry = runtime.pods.find(&request.pod_sandbox_id).map_err(not_found)?;
    let read = move |runtime: &Runtime| pod::stats(runtime, &hierarchy()?, &entry.get());
    Ok(api::PodSandboxStatsResponse { stats: Some(blocking(runtime, read).await?) })
}

/// ListPodSandboxStats.
pub async fn list_pod_sandbox_stats(
    runtime: &Arc<Runtime>,
    request: api::ListPodSandboxStatsRequest,
) -> Result<api::ListPodSandboxStatsResponse, Status> {
    let read = move |runtime: &Runtime| pod::list(runtime, &hierarchy()?, request.filter.as_ref());
    let stats = blocking(runtime, read).await?;
    Ok(api::ListPodSandboxStatsResponse { stats })
}

/// StreamPodSandboxStats.
pub async fn stream_pod_sandbox_stats(
    runtime: &Arc<Runtime>,
    request: api::StreamPodSandboxStatsRequest,
) -> Result<Answers<api::StreamPodSandboxStatsResponse>, Status> {
    let request = api::ListPodSandboxStatsRequest { filter: request.filter };
    let list = list_pod_sandbox_stats(runtime, request).await?.stats;
    Ok(in_parts(list, |pod_sandbox_stats| api::StreamPodSandboxStatsResponse { pod_sandbox_stats }))
}

/// Entries of a message of a stream: far below what gRPC's clients take, 16 MiB.
const PART: usize = 100;

fn in_parts<S: Send + 'static, T: Send + 'static>(mut list: Vec<S>, message: fn(Vec<S>) -> T) -> Answers<T> {
    let mut parts = Vec::new();
    while !list.is_empty() {
        let rest = list.split_off(list.len().min(PART));
        parts.push(Ok(message(std::mem::replace(&mut list, rest))));
    }
    Box::pin(tokio_stream::iter(parts))
}

fn hierarchy() -> Result<Hierarchy, Status> {
    Hierarchy::find().map_err(|error| Status::internal(format!("statistics: {error}")))
}

async fn blocking<T: Send + 'static>(
    runtime: &Arc<Runtime>,
    work: impl FnOnce(&Runtime) -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let runtime = Arc::clone(runtime);
    crate::work::blocking(move || work(&runtime)).await
}

/// Does every label that is asked for have its value?
fn matches(selector: &HashMap<String, String>, labels: &HashMap<String, String>) -> bool {
    selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}

fn value(value: u64) -> Option<api::UInt64Value> {
    Some(api::UInt64Value { value })
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt as _;

    use super::*;

    #[test]
    fn a_selector_asks_for_each_of_its_labels() {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let labels = map(&[("a", "1"), ("b", "2")]);
        assert!(matches(&map(&[]), &labels) && matches(&map(&[("a", "1")]), &labels));
        assert!(!matches(&map(&[("a", "2")]), &labels) && !matches(&map(&[("a", "1"), ("c", "")]), &labels));
    }

    #[tokio::test]
    async fn a_long_list_comes_in_parts() {
        let lengths = |count: usize| async move {
            let parts: Answers<Vec<usize>> = in_parts((0..count).collect(), |part| part);
            parts.map(|part| part.unwrap().len()).collect::<Vec<_>>().await
        };
        assert_eq!(lengths(0).await, [0; 0]);
        assert_eq!(lengths(100).await, [100]);
        assert_eq!(lengths(250).await, [100, 100, 50]);
    }
}
