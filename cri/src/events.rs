//! What GetContainerEvents streams: what happens to containers and Pods, as it happens.

use tokio::sync::broadcast;

use crate::api;

/// Everybody who listens hears everything from then on; who is too slow loses the oldest.
#[derive(Debug)]
pub struct Events(broadcast::Sender<api::ContainerEventResponse>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::channel(1024).0)
    }
}

impl Events {
    /// Tells all listeners.
    pub fn send(&self, event: api::ContainerEventResponse) {
        // Nobody may be there.
        let _ = self.0.send(event);
    }

    /// Does anybody listen?
    pub fn is_heard(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Listens from now on.
    pub fn listen(&self) -> broadcast::Receiver<api::ContainerEventResponse> {
        self.0.subscribe()
    }
}
