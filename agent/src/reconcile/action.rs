//! What a decision asks for.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::pod::PodStep;
use crate::objects::{Key, Object};

/// What to do now, and when to ask again if nothing changes before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// In their order; those of Pods are started and not waited for.
    pub actions: Vec<Action>,
    /// When time alone changes what is to be done.
    pub wake: Option<Timestamp>,
}

impl Decision {
    /// Adds another decision about the same object.
    pub fn and(&mut self, other: Self) {
        self.actions.extend(other.actions);
        other.wake.into_iter().for_each(|at| self.wake_at(at));
    }

    /// Asks to be asked again at `at`, or before.
    pub fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// One thing to do. `uid` is that of the object a decision was about.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Action {
    /// Make an object. One that is there already is left as it is, and the decision comes again.
    Create(Object),
    /// Replace metadata and spec of the object with this uid; its status stays.
    Update(Object),
    /// Replace the status of the object with this uid; the rest stays.
    Status(Object),
    /// Begin an object's deletion: Pods and namespaces end gracefully, others are removed. Pods by this grace (None: their own).
    Delete { key: Key, uid: String, grace: Option<Duration> },
    /// Remove what is over: a Pod whose containers have ended, an empty namespace.
    Remove { key: Key, uid: String },
    /// Tell people. Equal ones are counted, not repeated.
    Event { about: Key, uid: String, kind: EventType, reason: &'static str, message: String },
    /// A step of a Pod's life at the runtime. Only steps of different targets are done at the same time.
    Pod { key: Key, uid: String, step: PodStep },
}

/// Of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    /// As in an Event's `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}
