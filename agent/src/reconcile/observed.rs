//! What is the case at the runtime, and what the agent remembers of it. Plain data: nothing here knows the CRI.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::jiff::Timestamp;

/// Everything that is observed.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// By the Pods' uids. Also of Pods that have no object any more.
    pub pods: BTreeMap<String, PodObserved>,
    /// Whether the runtime has been asked since the agent started: before that nothing is known to be absent.
    pub listed: bool,
    /// The node.
    pub node: NodeFacts,
}

/// What Pods are told about the machine.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    /// `spec.nodeName` of all Pods.
    pub name: String,
    /// Its addresses, the first of each family; in a Pod's status.hostIPs.
    pub addresses: Vec<IpAddr>,
}

/// What is known of one Pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodObserved {
    /// Namespace and name, from labels; for those without an object.
    pub namespace: String,
    /// See `namespace`.
    pub name: String,
    /// The newest first.
    pub sandboxes: Vec<Sandbox>,
    /// All containers of all sandboxes, also ended ones; of each name the newest attempt first.
    pub containers: Vec<Container>,
    /// Steps that are under way.
    pub busy: BTreeSet<Target>,
    /// Whether its volumes are there.
    pub volumes: Volumes,
    /// Why there is no sandbox.
    pub sandbox_failure: Option<Failure>,
    /// By container name.
    pub images: BTreeMap<String, Image>,
    /// Why a container did not start, by its name: reasons as kubelet's (CreateContainerConfigError, RunContainerError).
    pub start_failures: BTreeMap<String, Failure>,
    /// What came of postStart hooks, by container id. None in it: it succeeded.
    pub hooks: BTreeMap<String, Option<Failure>>,
    /// Results of probes, by container id.
    pub probes: BTreeMap<(String, ProbeKind), ProbeHistory>,
    /// Restarts that wait, by container name.
    pub backoff: BTreeMap<String, Backoff>,
    /// Containers that were told to end, by id: by when they are killed, and the reason that is told.
    pub stopping: BTreeMap<String, String>,
}

/// A Pod's sandbox.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Sandbox {
    pub id: String,
    pub attempt: u32,
    pub ready: bool,
    /// None of them where the Pod is in the host's network.
    pub addresses: Vec<IpAddr>,
    pub created: Timestamp,
}

/// A container at the runtime.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Container {
    pub id: String,
    pub sandbox: String,
    pub name: String,
    /// How many were there before it, of its name.
    pub attempt: u32,
    pub state: State,
    pub image: String,
    pub image_id: String,
    /// Of the container's spec, so that a changed one is noticed.
    pub hash: String,
}

/// Where a container is in its life.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum State {
    Created {
        at: Timestamp,
    },
    Running {
        since: Timestamp,
    },
    /// `message`: its termination message, or what the runtime says.
    Exited {
        started: Option<Timestamp>,
        finished: Timestamp,
        code: i32,
        reason: String,
        message: String,
    },
    Unknown,
}

/// What a step is about: one step of each at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Target {
    Volumes,
    Sandbox,
    /// A container of this name: pull, create, start, stop, remove, hooks.
    Container(String),
    /// A probe of a container of this id.
    Probe(String, ProbeKind),
}

/// Of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

/// Whether a Pod's volumes are there.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Volumes {
    /// Not since the agent started.
    #[default]
    Absent,
    /// As of the objects of these revisions, summed up: another number means that files change.
    Ready(u64),
    /// Not, because.
    Failed(Failure),
    /// They were taken away.
    Gone,
}

/// A step that failed, and how often in a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// As in a container's `waiting.reason`, or an event's: `ErrImagePull`.
    pub reason: String,
    /// For people, one line, without secrets.
    pub message: String,
    /// When the last of them failed.
    pub at: Timestamp,
    /// In a row.
    pub count: u32,
}

/// A container's image.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Image {
    Present { id: String },
    Failed(Failure),
}

/// What a probe said lately.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeHistory {
    /// When it was asked last.
    pub at: Timestamp,
    /// Of the last answer.
    pub success: bool,
    /// Answers like the last one, in a row.
    pub in_a_row: u32,
    /// What has been decided by thresholds. None: nothing yet.
    pub verdict: Option<bool>,
    /// Of the last failure, for events.
    pub message: String,
}

/// A container that ended and waits for its next start.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    /// Seconds: 10, doubled each time to 300; forgotten after ten minutes' run.
    pub seconds: u32,
    /// When it may start again.
    pub until: Timestamp,
}
