//! What is said on a shim's socket: JSON, one message a packet.

use serde::{Deserialize, Serialize};

/// The first message of a connection. What follows depends on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// [`Reply::Status`].
    Status,
    /// [`Reply::OutOfMemory`] as it happens; the connection ends after exit.json was written.
    Watch,
    /// Sends a signal to the container's init, or to all its processes. [`Reply::Done`].
    Kill {
        /// Its number.
        signal: i32,
        /// All processes of the cgroup.
        #[serde(default)]
        all: bool,
    },
    /// Runs a process in the container. `process` is OCI's object as JSON. Without a terminal, three descriptors come along:
    /// its standard streams. [`Reply::Started`] (with the terminal's master as its descriptor), then [`Reply::Exited`]. On
    /// the same connection [`Request::Kill`] is for this process.
    Exec {
        /// The OCI process.
        process: serde_json::Value,
    },
    /// Joins the container's streams. Descriptors as `stdin`, `stdout`, `stderr` say, in this order; the shim writes to them
    /// without ever waiting, and leaves a client behind whose pipe is full. [`Reply::Done`]; the connection ends with the container.
    Attach {
        /// The first descriptor is read into the container.
        stdin: bool,
        /// The next gets what it writes.
        stdout: bool,
        /// The last gets its errors.
        stderr: bool,
    },
    /// The terminal's size in characters. [`Reply::Done`].
    Resize {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// Goes on in a new file at the log's path: it was rotated. [`Reply::Done`].
    ReopenLog,
}

/// What a shim answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// It is done.
    Done,
    /// It is not, and why.
    Failed {
        /// One line.
        message: String,
    },
    /// Of [`Request::Status`].
    Status {
        /// [`super::SCHEMA`] of the shim.
        schema: u32,
        /// The container's init.
        pid: i32,
        /// Lines that no log took (disk full).
        lost_lines: u64,
    },
    /// The process runs.
    Started {
        /// Its pid.
        pid: i32,
    },
    /// The process of [`Request::Exec`] has ended.
    Exited {
        /// As [`super::Exit::code`].
        code: i32,
    },
    /// The kernel has killed a process of the container for lack of memory.
    OutOfMemory,
}

/// What a new shim says on the descriptor that it was started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "launched", rename_all = "snake_case")]
pub enum Launched {
    /// The container's program runs, or an adopted container is held.
    Running {
        /// Its init's pid.
        pid: i32,
        /// When it was started, in nanoseconds since 1970.
        at: i64,
    },
    /// There is no container; nothing is left of it.
    Failed {
        /// One line.
        message: String,
    },
    /// The container had ended, or was to be discarded: nothing volatile is left of it.
    Over,
}
