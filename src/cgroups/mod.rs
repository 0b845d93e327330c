//! Cgroups, version 2: where the hierarchy is, what a container's cgroup is given, and its life.
//!
//! In: `linux.cgroupsPath` and `linux.resources` of the spec. Out: a [`Cgroup`] whose directory is
//! given to clone3(2) with CLONE_INTO_CGROUP, and which freezes, kills, counts and goes away.
//! [`Hierarchy::find`] -> [`CgroupPath::for_container`], [`Limits::new`], [`Limits::settle`] (pure) ->
//! [`Cgroup::create`], [`Cgroup::apply`]. All of it runs in the parent, before the clone or after the
//! container's end, with the caller's privileges; cgroup v1 is not supported.

mod apply;
mod cgroup;
mod create;
mod current;
mod delegate;
pub mod devices;
mod error;
mod events;
pub(crate) mod files;
mod freeze;
mod hierarchy;
pub mod limits;
mod path;
mod processes;
mod remove;
pub mod stats;
pub mod systemd;
mod tree;

pub use cgroup::Cgroup;
pub use delegate::owner;
pub use error::{CgroupError, LimitError};
pub use events::{MemoryEvents, OomWatch, Watched};
pub use hierarchy::{Controllers, Hierarchy};
pub use limits::{Limits, MissingControllers, Setting};
pub use path::CgroupPath;
pub use stats::Stats;
