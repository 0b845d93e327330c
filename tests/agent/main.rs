//! rcrun-agent from end to end, on nodes of its own with rcrun-cri or containerd: each test one behaviour.
//!
//! ```text
//! #[test]
//! fn a_pod_runs() {
//!     let cluster = cluster!();
//!     cluster.apply("...");
//!     cluster.ready("web");
//! }
//! ```
//! The cluster's end deletes everything and fails the test where something is left.

#[path = "../support/mod.rs"]
mod support;

/// A cluster, or a return from the test with a SKIP line where none can be.
macro_rules! cluster {
    () => {
        $crate::support::require!($crate::cluster::Cluster::new())
    };
}

#[allow(dead_code)]
#[path = "../cri/calls.rs"]
mod calls;
mod cli;
// No test uses all of it.
#[allow(dead_code)]
mod cluster;
mod containerd;
mod features;
#[path = "../images/fixtures/mod.rs"]
mod fixtures;
mod images;
mod ingress;
mod leftovers;
mod limits;
mod logs;
mod network;
mod nfs;
#[allow(dead_code)]
#[path = "../cri/node.rs"]
mod node;
mod objects;
mod observability;
mod podlife;
mod pods;
mod probes;
mod programs;
mod service_kinds;
mod services;
mod spec;
mod trouble;
mod volumes;
mod workloads;
