//! GetContainerEvents.

use std::sync::Arc;

use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::BroadcastStream;
use tonic::Status;

use super::status;
use crate::api::{self, ContainerEventType};
use crate::runtime::Runtime;
use crate::server::Answers;
use crate::state::{Container, now};

/// GetContainerEvents: from now on. Who reads too slowly is told so and may begin anew.
pub fn container_events(runtime: &Arc<Runtime>) -> Answers<api::ContainerEventResponse> {
    let events = BroadcastStream::new(runtime.events.listen());
    Box::pin(events.map(|event| {
        event.map_err(|lagged| {
            Status::resource_exhausted(format!("events were lost, the client is too slow: {lagged}"))
        })
    }))
}

/// Tells everybody who listens; the statuses are those of now.
pub async fn send(runtime: &Arc<Runtime>, container: &Container, kind: ContainerEventType) {
    if !runtime.events.is_heard() {
        return;
    }
    let request = api::PodSandboxStatusRequest { pod_sandbox_id: container.pod.clone(), verbose: false };
    // A Pod that is gone has none.
    let pod = crate::sandbox::pod_sandbox_status(runtime, request).await.ok();
    runtime.events.send(api::ContainerEventResponse {
        container_id: container.id.clone(),
        container_event_type: kind as i32,
        created_at: now(),
        pod_sandbox_status: pod.and_then(|pod| pod.status),
        containers_statuses: status::statuses_of(runtime, &container.pod),
    });
}
