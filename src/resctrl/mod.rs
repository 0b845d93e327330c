//! linux.intelRdt: shares of caches and of memory bandwidth, through the resctrl file system.
//!
//! In: `linux.intelRdt` of the spec and what the host's resctrl has. Out: a [`Group`], the directory
//! whose `tasks` the container's processes are in. [`Resctrl::find`], [`Wanted::of`] (pure),
//! [`Resctrl::look`], [`GroupPlan::new`] (pure) -> [`MadeGroup::make`] before the clone,
//! [`MadeGroup::assign`] after it, [`Group::remove`] at the end. All of it runs in the parent with the
//! caller's privileges; only the host's root may write there. Documentation/filesystems/resctrl.rst of
//! the kernel.

mod error;
#[cfg(test)]
mod fake;
mod filesystem;
mod group;
mod plan;
mod schemata;
mod stats;

pub use error::ResctrlError;
pub use filesystem::Resctrl;
pub use group::{Group, MadeGroup, Shares};
pub(crate) use plan::is_kernels_own;
pub use plan::{Found, GroupPlan, Wanted};
pub use stats::{BandwidthInfo, CacheInfo, Occupancy, Stats, Traffic};

/// The group that every process is in at first, and its name in `closID`: the file system's root.
pub const DEFAULT_GROUP: &str = "/";
