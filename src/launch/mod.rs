//! From a plan to a running process: the parent's half, the child's half, what they say to each other.
//!
//! Enters: a plan, an open cgroup, descriptors. Leaves: a process that runs its program, or an error
//! that names the step that failed. [`parent`] and [`child`] can be read side by side.

pub mod child;
mod error;
mod foreground;
pub mod hooks;
pub(crate) mod idmap;
pub(crate) mod mapping;
mod net_devices;
mod notify;
mod open;
mod order;
mod parent;
mod protocol;
mod signals;
mod stage;
mod timings;
mod visit;

pub use error::LaunchError;
pub use foreground::{Foreground, wait};
pub use notify::NotifySocket;
pub use parent::{Answers, Conversation, Launch, Launched, Outcome};
pub use protocol::{Message, Received, receive, send};
pub use signals::Signals;
pub use timings::{Clock, Laps, StepTime, now, step_time};
pub use visit::Visit;
