//! What the user asks for beside the image: `rcrun run`'s options, parsed, with docker's meanings.

use std::path::PathBuf;

use serde_json::Value;

use super::mounts::Wish;
use super::quantities::Ulimit;

/// The options of a container that is made from an image. The default is docker's, without a network.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The words after the image: the command's arguments, or the command.
    pub args: Vec<String>,
    /// `--entrypoint`; an empty one takes the image's away.
    pub entrypoint: Option<String>,
    /// `--env-file` and `--env`, in this order, `NAME=VALUE`; a bare `NAME` takes the image's away.
    pub env: Vec<String>,
    /// `--workdir`.
    pub workdir: Option<String>,
    /// `--user`.
    pub user: Option<String>,
    /// `--group-add`: names or numbers.
    pub group_add: Vec<String>,
    /// `--tty`.
    pub tty: bool,
    /// `--hostname`.
    pub hostname: Option<String>,
    /// `--network`.
    pub network: Network,
    /// With [`Network::Bridge`].
    pub plugged: Plugged,
    /// `--volume`, `--mount`, `--tmpfs`.
    pub mounts: Vec<Wish>,
    /// `--cap-add`.
    pub cap_add: Vec<String>,
    /// `--cap-drop`.
    pub cap_drop: Vec<String>,
    /// `--security-opt`.
    pub security: Security,
    /// `--read-only`.
    pub read_only: bool,
    /// `--shm-size`, in bytes.
    pub shm_size: Option<u64>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `--sysctl`, name and value.
    pub sysctls: Vec<(String, String)>,
    /// `--device`.
    pub devices: Vec<Device>,
    /// `--label`, name and value.
    pub labels: Vec<(String, String)>,
    /// `--stop-signal`.
    pub stop_signal: Option<String>,
    /// `--oom-score-adj`.
    pub oom_score_adj: Option<i32>,
    /// `--add-host`: name and address.
    pub add_hosts: Vec<(String, std::net::IpAddr)>,
    /// `--dns`, `--dns-search`, `--dns-option`.
    pub dns: Dns,
    /// `--userns`.
    pub userns: Userns,
    /// The limits of the cgroup.
    pub limits: Limits,
}

/// `--network`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// A network namespace with nothing but the loopback device.
    #[default]
    None,
    /// The host's.
    Host,
    /// A namespace that is there, plugged into a bridge: [`Options::plugged`].
    Bridge,
}

/// A network namespace that is there, and the addresses that it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plugged {
    /// Its path.
    pub namespace: PathBuf,
    /// Of its device.
    pub addresses: Vec<std::net::IpAddr>,
}

/// `--userns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Userns {
    /// rcrun's own.
    #[default]
    Host,
    /// One of the container's own with ids that no other running container has.
    Auto,
}

/// `--security-opt`.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// `no-new-privileges`.
    pub no_new_privileges: bool,
    /// `seccomp=...`.
    pub seccomp: Seccomp,
    /// `apparmor=PROFILE`.
    pub apparmor: Option<String>,
    /// The process's SELinux context, of `label=...`.
    pub selinux: Option<String>,
    /// `systempaths=unconfined`: no masked and no read-only paths.
    pub system_paths_unconfined: bool,
}

/// The seccomp filter.
#[derive(Clone, Debug, Default)]
pub enum Seccomp {
    /// [`crate::seccomp::default_profile`].
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile as docker has it, with conditions by capability and architecture.
    Profile(Value),
}

/// A device of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its node on the host, absolute.
    pub source: PathBuf,
    /// Its path in the container.
    pub path: String,
    /// `c` or `b`.
    pub kind: char,
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Some of `rwm`.
    pub access: String,
}

/// What resolv.conf says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Addresses of name servers.
    pub servers: Vec<std::net::IpAddr>,
    /// Search domains.
    pub search: Vec<String>,
    /// Options.
    pub options: Vec<String>,
}

/// Limits of the cgroup; None leaves each as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `--memory`, bytes.
    pub memory: Option<i64>,
    /// `--memory-swap`: memory and swap, bytes; -1 for no limit of swap.
    pub memory_swap: Option<i64>,
    /// `--memory-reservation`, bytes.
    pub memory_reservation: Option<i64>,
    /// `--cpus` or `--cpu-quota`, microseconds of each period.
    pub cpu_quota: Option<i64>,
    /// `--cpu-period`, microseconds.
    pub cpu_period: Option<u64>,
    /// `--cpu-shares`.
    pub cpu_shares: Option<u64>,
    /// `--cpuset-cpus`.
    pub cpuset_cpus: Option<String>,
    /// `--cpuset-mems`.
    pub cpuset_mems: Option<String>,
    /// `--pids-limit`; -1 for none.
    pub pids: Option<i64>,
}
