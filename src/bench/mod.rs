//! Measuring what runtimes cost, side by side: `rcrun bench` and `make bench`.
//!
//! In: [`Contender`]s, each a list of commands. Out: what every command cost, and [`Summary`]s of that.
//! All contenders take turns in random order, so that whatever else the machine does hits all alike:
//! the kernel, too, tears a dead container's namespaces down in the background, and the next one pays.
//!
//! Programs are started by a process of their own, the [`Spawner`], which is forked before anything else
//! is done and stays small. docs/benchmarks.md says what the figures mean.

mod contender;
mod error;
mod report;
mod spawner;
mod statistics;
mod turns;

pub use contender::{Contender, Step, Word, command, delete};
pub use error::BenchError;
pub use report::{Report, Row, table};
pub use spawner::{Cost, Ended, Spawner};
pub use statistics::{P99_SAMPLES, Spread, Summary};
pub use turns::{Schedule, TurnError, measure};
