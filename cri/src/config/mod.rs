//! rcrun-cri's configuration: a TOML file, every key with a default.

mod change;
mod file;

use std::collections::BTreeMap;
use std::path::PathBuf;

use rcrun::cgroups::MissingControllers;
use serde::{Deserialize, Serialize};

pub use file::{ConfigError, DEFAULT, PATH, parse, read};

/// The whole file. `rcrun-cri config default` prints it with every key explained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The socket's path.
    pub listen: PathBuf,
    /// See [`crate::runtime::Paths::state`].
    pub state: PathBuf,
    /// See [`crate::runtime::Paths::run`].
    pub run: PathBuf,
    /// The image store.
    pub images: PathBuf,
    /// Who makes cgroups; the kubelet asks for it.
    pub cgroup_driver: CgroupDriver,
    /// What to do about limits whose controller the host lacks.
    pub missing_controllers: MissingControllers,
    /// What to do about an oom_score_adj lower than this process may set.
    pub restrict_oom_score_adj: RestrictOomScoreAdj,
    /// Images that the kubelet must not collect.
    pub pinned_images: Vec<String>,
    /// Bytes of a log line before it is cut into partial ones.
    pub max_log_line: usize,
    /// Where metrics are asked for, `ADDRESS:PORT`; empty: nowhere.
    pub metrics_address: String,
    /// Pods' networks.
    pub network: Network,
    /// The streaming server.
    pub streaming: Streaming,
    /// Runtime handlers by the name that a RuntimeClass gives.
    pub runtimes: BTreeMap<String, RuntimeProfile>,
}

/// Who makes cgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupDriver {
    /// This process.
    #[default]
    Cgroupfs,
    /// systemd, as scopes.
    Systemd,
}

/// About an oom_score_adj that may not be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestrictOomScoreAdj {
    /// Raise it to what may be set where CAP_SYS_RESOURCE is missing.
    #[default]
    Auto,
    /// Raise it always to this process' own.
    Always,
    /// Fail.
    Never,
}

/// Pods' networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Where CNI's conf lists are.
    pub cni_conf_dir: PathBuf,
    /// Where its plugins are.
    pub cni_bin_dirs: Vec<PathBuf>,
    /// Where network namespaces are named.
    pub netns_dir: PathBuf,
    /// The built-in bridge's device, where no CNI configuration is.
    pub bridge: String,
    /// Its IPv4 subnet; empty: none.
    pub ipv4: String,
    /// Its IPv6 subnet; empty: none.
    pub ipv6: String,
}

/// The streaming server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Streaming {
    /// Where it listens; the kubelet and crictl are told so.
    pub address: String,
    /// 0: one that is free.
    pub port: u16,
    /// Seconds without a byte after which a connection is ended.
    pub idle_timeout: u64,
    /// Seconds that a URL's token is good for.
    pub token_lifetime: u64,
}

/// A runtime handler.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeProfile {
    /// Another OCI runtime's program with runc's command line; none: rcrun's own library.
    pub program: Option<PathBuf>,
    /// Containers with `privileged` get no devices of the host beside the usual ones.
    pub privileged_without_host_devices: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "/run/rcrun/cri.sock".into(),
            state: "/var/lib/rcrun/cri".into(),
            run: "/run/rcrun/cri".into(),
            images: "/var/lib/rcrun".into(),
            cgroup_driver: CgroupDriver::default(),
            missing_controllers: MissingControllers::default(),
            restrict_oom_score_adj: RestrictOomScoreAdj::default(),
            pinned_images: Vec::new(),
            max_log_line: 16384,
            metrics_address: String::new(),
            network: Network::default(),
            streaming: Streaming::default(),
            runtimes: BTreeMap::new(),
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            cni_conf_dir: "/etc/cni/net.d".into(),
            cni_bin_dirs: vec!["/opt/cni/bin".into()],
            netns_dir: "/run/netns".into(),
            bridge: "rcrun0".into(),
            ipv4: "10.88.0.0/20".into(),
            ipv6: "fd72:6372:756e::/64".into(),
        }
    }
}

impl Default for Streaming {
    fn default() -> Self {
        Self { address: "127.0.0.1".into(), port: 0, idle_timeout: 4 * 60 * 60, token_lifetime: 60 }
    }
}
