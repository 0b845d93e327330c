//! rcrun-cri: the Container Runtime Interface v1 (as of Kubernetes 1.37) on rcrun.
//!
//! One way through it: [`server`] takes a request, one module a noun does it ([`sandbox`], [`container`], [`image`], [`stats`],
//! [`streaming`]), on records that are on disk before anybody is told ([`state`]). Containers are held by `rcrun-shim`
//! ([`rcrun::monitor`]), so that this process may die at any moment: [`recover`] finds everything again.
//!
//! What blocks (the library, files, netlink) runs in `tokio::task::spawn_blocking`.

/// The CRI's messages and services, generated from proto/runtime.proto.
#[allow(missing_docs, clippy::all)]
pub mod api {
    tonic::include_proto!("runtime.v1");
}

pub mod check;
pub mod cni;
pub mod config;
pub mod container;
pub mod events;
pub mod fault;
mod http;
pub mod image;
pub mod metrics;
pub mod recover;
pub mod runtime;
pub mod sandbox;
pub mod server;
pub mod spec;
pub mod state;
pub mod stats;
pub mod streaming;
#[cfg(test)]
mod testing;
mod work;
