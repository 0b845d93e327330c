//! What a shim is told, and what it leaves.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{EXIT_FILE, MonitorError, SETTINGS_FILE};
use crate::cgroups::MissingControllers;

/// The version of [`Settings`], [`Exit`] and the messages. A newer rcrun speaks with older shims: fields are only added, each with a default.
pub const SCHEMA: u32 = 1;

/// `shim.json`: all that a shim knows of its container beside config.json.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The container's id.
    pub id: String,
    /// Who makes the container.
    pub runtime: Runtime,
    /// The directory of config.json, shim.json and exit.json.
    pub bundle: PathBuf,
    /// The volatile directory.
    pub run: PathBuf,
    /// Where the root file system is: its mount is handed over as a descriptor, attached nowhere, and this is its empty mount
    /// point (an image's); None: config.json's `root.path` has the files.
    #[serde(default)]
    pub root: Option<PathBuf>,
    /// The directory that goes away with the container's state, absolute; None: the caller removes what there is.
    #[serde(default)]
    pub directory: Option<PathBuf>,
    /// Standard input stays open for who attaches; else it is /dev/null.
    #[serde(default)]
    pub stdin: bool,
    /// Standard input ends when the first who attached to it goes.
    #[serde(default)]
    pub stdin_once: bool,
    /// `process.terminal`: one stream, and sizes.
    #[serde(default)]
    pub terminal: bool,
    /// The log in the CRI's format, absolute; None: nothing is kept.
    #[serde(default)]
    pub log: Option<PathBuf>,
    /// Bytes of a line of the log; longer lines are cut into parts (`P`).
    #[serde(default = "max_log_line")]
    pub max_log_line: usize,
    /// `skip` or `refuse`.
    #[serde(default)]
    pub missing_controllers: MissingControllers,
    /// Have systemd make the cgroup.
    #[serde(default)]
    pub systemd_cgroup: bool,
    /// With [`Settings::root`]: the network namespace is nobody else's, so bring its loopback device up.
    #[serde(default)]
    pub loopback: bool,
}

impl Settings {
    /// Those of a bundle.
    pub fn read(bundle: &Path) -> Result<Self, MonitorError> {
        read(bundle, SETTINGS_FILE)
    }
}

impl Exit {
    /// How the container of a bundle ended; None where it has not, or nobody was there to write it. Where the bundle's disk was full
    /// exit.json is in the volatile directory.
    pub fn read(bundle: &Path) -> Result<Option<Self>, MonitorError> {
        let there = |directory: &Path| match read(directory, EXIT_FILE) {
            Err(MonitorError::File { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            exit => exit.map(Some),
        };
        match there(bundle)? {
            Some(exit) => Ok(Some(exit)),
            None => Settings::read(bundle).map_or(Ok(None), |settings| there(&settings.run)),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(bundle: &Path, name: &str) -> Result<T, MonitorError> {
    let path = bundle.join(name);
    let failed = |error| {
        let id = bundle.file_name().unwrap_or_default().to_string_lossy().into_owned();
        MonitorError::File { id, operation: "read", path: path.clone(), error }
    };
    let bytes = std::fs::read(&path).map_err(failed)?;
    serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))
}

/// containerd's and CRI-O's.
fn max_log_line() -> usize {
    16384
}

/// Who makes the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// The library, in the shim itself. `state` is the directory that `rcrun --root` names.
    Own {
        /// `--root`.
        state: PathBuf,
    },
    /// Another OCI runtime with runc's command line.
    Program {
        /// Its file.
        program: PathBuf,
        /// `--root`.
        state: PathBuf,
    },
}

/// `exit.json`: how a container ended, written (and renamed there) before anybody can see the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The exit status, 128 and the signal's number where a signal ended it; None where nobody saw it.
    pub code: Option<i32>,
    /// Nanoseconds since 1970.
    pub started: i64,
    /// Nanoseconds since 1970.
    pub finished: i64,
    /// The kernel killed a process of the container for lack of memory.
    pub oom_killed: bool,
}
