//! The commands of a container's life, on stored state: create, start, run, exec, kill, delete, ...
//!
//! Each function is one command: it opens what it needs, takes the container's lock where it
//! changes something, and returns when the command is done. All run in the caller's process with
//! the caller's privileges; nothing stays behind but the container and its state directory.

mod checkpoint;
mod container;
mod create;
mod delete;
mod error;
mod exec;
mod filters;
mod handover;
mod hooks;
mod kill;
mod launch;
mod mounts;
mod out_of_memory;
mod pause;
mod report;
mod restore;
mod root_mount;
mod run;
mod scope;
mod setup;
mod spawn;
mod start;
mod sub_cgroup;
mod update;

use std::path::PathBuf;

pub use checkpoint::checkpoint;
pub use create::{create, dry_run};
pub use delete::delete;
pub use error::Error;
pub use exec::exec;
pub use kill::kill;
pub use mounts::{add_mounts, remove_mounts};
pub use pause::{pause, resume};
pub use report::{ContainerReport, Statistics, list, processes, state, statistics};
pub use restore::restore;
pub use run::{run, run_bundle};
pub use spawn::{Spawned, exec_spawn, spawn};
pub use start::start;
pub use sub_cgroup::SubCgroup;
pub use update::update;

use crate::cgroups::MissingControllers;
use crate::id::ContainerId;

/// What `create` and `run` have in common; names and meanings are runc's.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// The directory that holds config.json.
    pub bundle: PathBuf,
    /// The container's name.
    pub id: ContainerId,
    /// AF_UNIX socket that receives the pseudo-terminal's master.
    pub console_socket: Option<PathBuf>,
    /// AF_UNIX socket that receives a pidfd of the container's init.
    pub pidfd_socket: Option<PathBuf>,
    /// File that receives the init's pid.
    pub pid_file: Option<PathBuf>,
    /// chroot(2) instead of pivot_root(2).
    pub no_pivot: bool,
    /// Stay in the caller's session keyring.
    pub no_new_keyring: bool,
    /// Descriptors from 3 on to pass, after those of LISTEN_FDS.
    pub preserve_fds: u32,
    /// What to do about limits whose controller the host lacks.
    pub missing_controllers: MissingControllers,
    /// Stay in the caller's cgroup: `--cgroup-manager disabled`.
    pub no_cgroup: bool,
    /// Have systemd make the cgroup: `--systemd-cgroup`.
    pub systemd_cgroup: bool,
    /// Do without a cgroup where rcrun may not make one and no limits are asked for; None where that
    /// depends on who rcrun is: everybody but the host's root may do without.
    pub rootless: Option<bool>,
}

/// What only `run` knows.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Return once the process runs.
    pub detach: bool,
    /// Do not delete the container when its process has ended.
    pub keep: bool,
    /// Do not become the subreaper of the container's processes.
    pub no_subreaper: bool,
    /// Where the costs of each step go.
    pub timings: Option<Timings>,
}

/// `--timings`: text on stderr, or JSON in a file.
#[derive(Clone, Debug)]
pub enum Timings {
    /// A table on stderr.
    Text,
    /// JSON into this file.
    Json(PathBuf),
}

/// An OCI process object.
#[derive(Clone, Debug)]
pub enum WholeProcess {
    /// `--process FILE`.
    File(PathBuf),
    /// Its JSON.
    Json(Vec<u8>),
}

/// What `exec` is told.
#[derive(Clone, Debug, Default)]
pub struct ExecOptions {
    /// A whole OCI process object; the flags below are not given then.
    pub process: Option<WholeProcess>,
    /// The command and its arguments.
    pub args: Vec<String>,
    /// `--cwd`.
    pub cwd: Option<String>,
    /// `--env NAME=VALUE`, added to the container's.
    pub env: Vec<String>,
    /// `--tty`.
    pub tty: bool,
    /// `--user UID[:GID]`.
    pub user: Option<String>,
    /// `--additional-gids`.
    pub additional_gids: Vec<u32>,
    /// `--detach`.
    pub detach: bool,
    /// `--console-socket`.
    pub console_socket: Option<PathBuf>,
    /// `--pidfd-socket`.
    pub pidfd_socket: Option<PathBuf>,
    /// `--pid-file`.
    pub pid_file: Option<PathBuf>,
    /// `--cap`.
    pub caps: Vec<String>,
    /// `--no-new-privs`; None leaves what the container's process has.
    pub no_new_privileges: Option<bool>,
    /// `--preserve-fds`.
    pub preserve_fds: u32,
    /// `--cgroup`: one below the container's.
    pub cgroup: Option<SubCgroup>,
    /// `--ignore-paused`.
    pub ignore_paused: bool,
    /// `--process-label` (SELinux) as given.
    pub process_label: Option<String>,
    /// `--apparmor` as given.
    pub apparmor: Option<String>,
}
