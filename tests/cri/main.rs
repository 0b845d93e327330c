//! rcrun-cri from end to end: a tonic client, on nodes of its own (node.rs), each test one behaviour.
//!
//! ```text
//! #[test]
//! fn a_container_says_hello() {
//!     let node = node!();
//!     let pod = node.pod("web");
//!     let id = node.container(&pod, "hello", &["echo", "hello"]);
//!     assert_eq!(node.exited(&id).exit_code, 0);
//!     assert_eq!(node.output(&id), "hello\n");
//! }
//! ```
//! The node's end stops and removes all Pods and fails the test where something is left.

#[path = "../support/mod.rs"]
mod support;

/// A node, or a return from the test with a SKIP line where none can be.
macro_rules! node {
    () => {
        $crate::support::require!($crate::node::Node::new())
    };
}

// No test uses all of it.
#[allow(dead_code)]
mod calls;
mod cni;
mod container;
mod crash;
mod exec_sync;
#[path = "../images/fixtures/mod.rs"]
mod fixtures;
mod full;
mod handlers;
mod hostile;
mod image;
mod limits;
mod metrics;
#[allow(dead_code)]
mod node;
mod plugins;
mod processes;
mod programs;
mod sandbox;
mod security;
mod server;
mod stats;
#[path = "streaming/streamer.rs"]
mod streamer;
mod streams;
mod unknown;
