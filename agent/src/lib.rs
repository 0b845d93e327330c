//! rcrun-agent: Pods from Kubernetes manifests on one machine, through a CRI socket and nothing else.
//!
//! One way through it: manifests ([`manifests`]) and requests ([`api`]) become [`objects`], checked and with defaults, in the
//! [`store`]. Each change makes [`reconcile`] decide, which is pure: (desired, observed, now) -> actions. [`node`] does them, for
//! which it asks [`spec`] and [`volumes`] what a Pod is for the runtime, and calls that ([`cri`]). [`services`] and [`ingress`]
//! turn objects to rules of the kernel, names and routes. [`cli`] is the other program: kubectl's verbs on the agent's socket.

pub mod api;
pub mod cli;
pub mod cri;
mod fnv;
pub mod ingress;
pub mod manifests;
pub mod metrics;
pub mod node;
pub mod objects;
pub mod reconcile;
pub mod services;
pub mod spec;
pub mod store;
pub mod volumes;
