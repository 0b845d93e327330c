//! The one way of users' objects into the store: fields, defaults, rules, namespaces, limits and quotas, addresses and ports.
//!
//! In: a manifest, or a patch of an object. Out: the object as it is stored, or a [`Refusal`] of one line. All of it may block: files are
//! written. One object is admitted at a time, so that no two get one port, or both the last of a quota.

mod addresses;
mod apply;
mod change;
mod delete;
mod host;
mod limits;
mod merge;
mod ports;
mod put;
mod quota;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use tokio::sync::watch;

pub use apply::{apply, is_applied};
pub use change::{create, patch, replace};
pub use delete::delete;
pub use limits::complete_pod;
pub use put::pending;
pub use quota::{MOST_PODS, may_create, no_room, room_for_pods};

use addresses::Network;

/// What the machine's runtime can, as it reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Volumes that are images.
    pub image_volumes: bool,
    /// What its handlers can, by their names; "" is that of Pods without a RuntimeClass.
    pub handlers: BTreeMap<String, HandlerFeatures>,
}

/// What a handler of the runtime can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandlerFeatures {
    /// Pods with `hostUsers: false`.
    pub user_namespaces: bool,
    /// Mounts with `recursiveReadOnly`.
    pub recursive_read_only: bool,
}

impl Features {
    /// What a handler can: nothing, if the runtime does not report one of this name.
    pub fn of(&self, handler: &str) -> HandlerFeatures {
        self.handlers.get(handler).copied().unwrap_or_default()
    }
}

/// What objects are admitted by that is the machine's: its name, where a Service's addresses and ports are taken from, and what the runtime
/// can. Copies are the same.
#[derive(Clone, Debug)]
pub struct Ranges {
    /// The node's name, which every Pod gets.
    pub node: String,
    /// ClusterIPs: `10.96.0.0/16`.
    pub services: String,
    /// The address of cluster DNS, which no Service gets.
    pub dns: Option<IpAddr>,
    /// NodePorts.
    pub node_ports: RangeInclusive<u16>,
    network: Network,
    features: watch::Sender<Option<Features>>,
    gate: Arc<Mutex<()>>,
}

impl Ranges {
    /// Of the node's name and the command line: `10.96.0.0/16`, `30000-32767`.
    pub fn new(node: &str, services: &str, node_ports: &str, dns: Option<IpAddr>) -> anyhow::Result<Self> {
        anyhow::ensure!(
            !services.contains(','),
            "--service-range {services}: one range is wanted, of IPv4 or IPv6: Services have one address"
        );
        let network = Network::parse(services).with_context(|| format!("--service-range {services}"))?;
        let ports = || {
            let (first, last) = node_ports.split_once('-')?;
            let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first > 0 && first <= last).then_some(first..=last)
        };
        let ports = ports()
            .with_context(|| format!("--node-ports {node_ports}: two ports as 30000-32767 are wanted"))?;
        Ok(Self {
            node: node.into(),
            services: services.into(),
            dns,
            node_ports: ports,
            network,
            features: watch::Sender::default(),
            gate: Arc::default(),
        })
    }

    /// Says what the runtime can, as soon as it is known. Until then Pods that need one of these are refused.
    pub fn set_features(&self, features: Features) {
        self.features.send_if_modified(|known| known.replace(features.clone()) != Some(features));
    }

    /// What the runtime can, if it is known.
    pub fn features(&self) -> Option<Features> {
        self.features.borrow().clone()
    }

    /// Tells when that changes: after it, what was refused may be taken.
    pub fn watch_features(&self) -> watch::Receiver<Option<Features>> {
        self.features.subscribe()
    }

    /// Held while an object is admitted.
    fn gate(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who puts an object: it is said in the annotation [`ORIGIN`] of what comes from a file, which nobody else may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Somebody at the socket.
    User,
    /// A file of the manifests' directory, by its name.
    File(String),
}

/// The annotation that names the file an object comes from.
pub const ORIGIN: &str = "rcrun.dev/manifest";
/// The annotation with the manifest as it was applied, as JSON; of Secrets without the values.
pub const APPLIED: &str = "rcrun.dev/last-applied";

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Applied {
    Created,
    Configured,
    Unchanged,
}

/// Why an object was not taken. For people; without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// As an HTTP status: 400, 403 (quota), 404 (namespace), 409, 422 (invalid), 503 (what the runtime can is not known yet).
    pub status: u16,
    /// One line.
    pub message: String,
}

impl Refusal {
    fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

#[cfg(test)]
mod tests;
