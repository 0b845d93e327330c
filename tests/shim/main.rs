//! The shim's tests: containers of busybox held by the built `rcrun-shim`, through [`rcrun::monitor`].
//!
//! They need root, a cgroup2 mount and busybox-static; a test that cannot run prints a SKIP line.
//! Each bundle checks when it is dropped that nothing of its test is left on the host.

mod adopt;
mod bundle;
mod exec;
mod lives;
mod log;
mod memory;
mod program;
mod streams;
