//! A container as its record says.

use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Record;
use crate::api;

/// A container. Whether it runs is derived: no `started` is created, no `exit` is running, else exited.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Container {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its Pod's.
    pub pod: String,
    /// As CreateContainer was told.
    #[serde(with = "super::message")]
    pub config: api::ContainerConfig,
    /// The image's id (`sha256:…` of its configuration), and a reference that can be pulled.
    pub image_id: String,
    /// `NAME@DIGEST` where there is one, else the id.
    pub image_ref: String,
    /// The runtime that runs it.
    pub handler: Handler,
    /// The signal that stops it.
    pub stop_signal: i32,
    /// The log file, absolute; None: its output is dropped.
    pub log: Option<std::path::PathBuf>,
    /// Its cgroup as `linux.cgroupsPath` has it.
    pub cgroup: String,
    /// Nanoseconds since 1970.
    pub created: i64,
    /// Nanoseconds since 1970; None: it was not started.
    pub started: Option<i64>,
    /// Its init's pid while it runs.
    pub pid: Option<i32>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// The resources in force: those of `config`, or of the last UpdateContainerResources.
    #[serde(with = "super::message")]
    pub resources: api::ContainerResources,
    /// Whose its process is, as ContainerStatus says it.
    #[serde(default, with = "super::message")]
    pub user: api::LinuxContainerUser,
}

/// What is known of a container while this process lives.
#[derive(Debug, Default)]
pub struct Live {
    /// Its root file system, mounted and attached nowhere, from CreateContainer to StartContainer.
    pub root: Mutex<Option<OwnedFd>>,
    /// It was sent its stop signal: a second one means "at once" to some programs.
    pub signalled: AtomicBool,
    /// Who asks its shim for something that may take long.
    pub askers: Askers,
}

/// Places for requests that hold a thread until a container's shim answers: whoever keeps the shim busy, as a container's root can, takes
/// that many threads and not all.
#[derive(Clone, Debug)]
pub struct Askers(Arc<Semaphore>);

impl Default for Askers {
    fn default() -> Self {
        const MOST: usize = 8;
        Self(Arc::new(Semaphore::new(MOST)))
    }
}

impl Askers {
    /// Waits for a place. It goes where the thread goes, which may outlive the request.
    pub async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}

/// How a container ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exit {
    /// The exit status, 128 and the signal's number where a signal ended it; 255 where nobody saw it.
    pub code: i32,
    /// Nanoseconds since 1970.
    pub finished: i64,
    /// `Completed`, `Error`, `OOMKilled`, `ContainerCannotRun`, `ContainerStatusUnknown`.
    pub reason: String,
    /// One line for people.
    pub message: String,
}

/// Which runtime runs a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Handler {
    /// The handler's name in the configuration; empty: the default one.
    pub name: String,
}

impl Container {
    /// Its state in the CRI's words.
    pub fn state(&self) -> api::ContainerState {
        match (&self.exit, self.started) {
            (Some(_), _) => api::ContainerState::ContainerExited,
            (None, Some(_)) => api::ContainerState::ContainerRunning,
            (None, None) => api::ContainerState::ContainerCreated,
        }
    }
}

impl Record for Container {
    type Live = Live;

    fn id(&self) -> &str {
        &self.id
    }

    /// As other runtimes: its name, its Pod, and the attempt.
    fn name(&self) -> String {
        let m = self.config.metadata.clone().unwrap_or_default();
        format!("{}_{}_{}", m.name, self.pod, m.attempt)
    }

    fn schema(&self) -> u32 {
        self.schema
    }
}
