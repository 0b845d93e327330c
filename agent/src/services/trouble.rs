//! What goes wrong is told once, in the log and as an Event about the node, and not again while it is the same.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::objects::Typed as _;
use crate::store::{self, Durability, Store};

/// One kind of trouble.
pub(super) struct Trouble {
    store: Arc<Store>,
    reason: &'static str,
    /// What was told last.
    told: Option<String>,
}

impl Trouble {
    /// `reason` is that of its Events.
    pub fn new(store: Arc<Store>, reason: &'static str) -> Self {
        Self { store, reason, told: None }
    }

    /// It is over: the next one is told, even if it is the same.
    pub fn over(&mut self) {
        if self.told.take().is_some() {
            tracing::info!(reason = self.reason, "over");
        }
    }

    /// Tells it, unless it is what was told last.
    pub fn tell(&mut self, error: &anyhow::Error) {
        let message = format!("{error:#}");
        if self.told.as_ref() == Some(&message) {
            return;
        }
        tracing::error!(reason = self.reason, "{message}; trying again");
        let event = self.event(&message);
        if let Err(error) = self.store.create(event.wrap(), Durability::Written) {
            tracing::debug!("no event: {error}");
        }
        self.told = Some(message);
    }

    fn event(&self, message: &str) -> Event {
        let node = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
        let now = store::now();
        let component = "rcrun-agent".to_owned();
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{node}.{:x}", now.as_nanosecond())),
                namespace: Some("default".into()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                kind: Some("Node".into()),
                name: Some(node.clone()),
                uid: Some(node.clone()),
                ..ObjectReference::default()
            },
            reason: Some(self.reason.into()),
            message: Some(message.into()),
            type_: Some("Warning".into()),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            source: Some(EventSource { component: Some(component.clone()), host: Some(node) }),
            reporting_component: Some(component),
            ..Event::default()
        }
    }
}
