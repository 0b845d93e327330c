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
    /// As the runtime calls itself: `containerd`. It is the scheme of status.containerStatuses' containerID.
    pub runtime: String,
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
    /// How long restarts have to wait, by container name.
    pub backoff: BTreeMap<String, Backoff>,
    /// Containers that were told to end, by id.
    pub stopping: BTreeMap<String, Stopping>,
    /// Containers that were started since the agent was, by id. What others were told before is unknown.
    pub own: BTreeSet<String>,
    /// Sandboxes that the runtime was told to stop since the agent started, by id.
    pub stopped: BTreeSet<String>,
    /// Why stops and removals failed.
    pub end_failures: BTreeMap<Target, Failure>,
}

impl PodObserved {
    /// Whether nothing is left to be known, so that it may be forgotten once there is no object.
    pub fn is_over(&self) -> bool {
        self.sandboxes.is_empty()
            && self.containers.is_empty()
            && self.busy.is_empty()
            && self.volumes == Volumes::Gone
    }

    /// The newest sandbox.
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.iter().max_by_key(|sandbox| sandbox.attempt)
    }

    /// Containers of a name, the newest first.
    pub fn named<'a>(&'a self, name: &str) -> Vec<&'a Container> {
        let mut found: Vec<_> = self.containers.iter().filter(|container| container.name == name).collect();
        found.sort_by_key(|container| std::cmp::Reverse(container.attempt));
        found
    }

    /// Forgets what is remembered of a container.
    pub(super) fn forget(&mut self, id: &str) {
        self.containers.retain(|container| container.id != id);
        self.probes.retain(|(of, _), _| of != id);
        self.hooks.remove(id);
        self.stopping.remove(id);
        self.own.remove(id);
    }
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
    /// The image of a container of this name.
    Image(String),
    /// A container of this name: create, start, stop, remove.
    Container(String),
    /// The postStart hook of a container of this id.
    PostStart(String),
    /// A container of this id that is being stopped and has to end sooner.
    Kill(String),
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
    /// Taken away, because the Pod is over; what the agent remembers of its containers is still there.
    Released,
    /// They were taken away, with all that is remembered of the Pod.
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
    /// Answers like the last one, in a row. 0: there was none yet.
    pub in_a_row: u32,
    /// What has been decided by thresholds. None: nothing yet.
    pub verdict: Option<bool>,
    /// Of the last failure, for events.
    pub message: String,
}

/// How long a container's next start has to wait after its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    /// 10, doubled with each start to 300; forgotten after ten minutes' run.
    pub seconds: u32,
    /// When it was started last.
    pub at: Timestamp,
}

/// A container that was told to end.
#[derive(Clone, Debug, PartialEq)]
pub struct Stopping {
    /// When it is killed at the latest.
    pub until: Timestamp,
    /// Whether another one follows, whatever the exit code and the restartPolicy say.
    pub restart: bool,
    /// When the runtime said that it has ended. Then it will be seen ended soon.
    pub done: Option<Timestamp>,
}
