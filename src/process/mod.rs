//! What the child applies to itself: namespaces that it joins, sysctls, ids and capabilities.
//!
//! Runs in the child between clone3(2) and execve(2): no allocation, no lock, no panic.

pub mod credentials;
pub mod join;
pub mod label;
pub mod proc;
pub mod sysctl;
pub mod time;
pub mod tuning;
