//! The one way of users' objects into the store: fields, defaults, rules, namespaces, limits and quotas, addresses and ports.

use std::sync::Arc;

use serde_json::Value;

use crate::objects::{Key, Object};
use crate::store::Store;

/// Where a Service's addresses and ports are taken from.
#[derive(Clone, Debug)]
pub struct Ranges {
    /// ClusterIPs: `10.96.0.0/16`.
    pub services: String,
    /// The address of cluster DNS, which no Service gets.
    pub dns: Option<std::net::IpAddr>,
    /// NodePorts.
    pub node_ports: std::ops::RangeInclusive<u16>,
}

impl Ranges {
    /// Of the command line: `10.96.0.0/16`, `30000-32767`.
    pub fn new(services: &str, node_ports: &str, dns: Option<std::net::IpAddr>) -> anyhow::Result<Self> {
        let _ = node_ports;
        Ok(Self { services: services.into(), dns, node_ports: 30000..=32767 })
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
/// The annotation with the manifest as it was applied, as JSON; not on Secrets.
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
    /// As an HTTP status: 400, 403 (quota), 404 (namespace), 409, 422 (invalid).
    pub status: u16,
    /// One line.
    pub message: String,
}

/// Puts a manifest, or merges it into what is there as `kubectl apply` does.
pub fn apply(
    store: &Arc<Store>,
    ranges: &Ranges,
    origin: &Origin,
    namespace: &str,
    manifest: Value,
) -> Result<(Object, Applied), Refusal> {
    let _ = (store, ranges, origin, namespace, manifest);
    Err(Refusal { status: 501, message: "not yet".into() })
}

/// Begins an object's deletion: Pods get a deletionTimestamp and a grace, namespaces the phase Terminating, others are removed.
pub fn delete(store: &Store, key: &Key, uid: Option<&str>, grace: Option<u64>) -> Result<Object, Refusal> {
    let _ = (store, key, uid, grace);
    Err(Refusal { status: 501, message: "not yet".into() })
}
