//! rcrun: a daemonless OCI container runtime for Linux.
//!
//! The library behind the `rcrun` command. One way through it:
//! bundle -> [`spec`] -> [`plan`] -> [`launch`] (clone3, steps) -> execve; [`lifecycle`] ties that
//! to the stored [`state`]. `docs/architecture.md` draws the whole.

pub mod background;
pub mod bench;
pub mod bundle;
pub mod cgroups;
pub mod checkpoint;
mod fault;
pub mod host;
pub mod id;
pub mod image;
pub mod launch;
pub mod lifecycle;
pub mod monitor;
pub mod namespaces;
pub mod netlink;
pub mod network;
pub mod plan;
pub mod process;
pub mod resctrl;
pub mod rootfs;
pub mod sealed;
pub mod seccomp;
pub mod signal;
pub mod sockets;
pub mod spec;
pub mod state;
pub mod sys;
pub mod text;
