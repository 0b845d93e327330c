//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use rcrun_agent::cli::{Command, Scope};
use rcrun_agent::node::logs::Limits;
use rcrun_agent::objects::quantity;

/// Runs Pods from Kubernetes manifests on this machine, through a CRI socket.
///
/// Without a command it is the agent; each command is asked of a running agent.
#[derive(Parser, Debug)]
#[command(name = "rcrun-agent", version, subcommand_negates_reqs = true)]
pub struct Arguments {
    #[command(flatten)]
    pub settings: Settings,
    // Before a verb as well as after it.
    #[command(flatten)]
    pub scope: Scope,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Of the agent itself.
#[derive(Args, Debug)]
pub struct Settings {
    /// The agent's socket
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "RCRUN_AGENT_SOCKET",
        default_value = "/run/rcrun-agent/agent.sock"
    )]
    pub socket: PathBuf,
    /// The directory of manifests that are followed; without it there are those of `apply` alone
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<PathBuf>,
    /// The runtime's socket
    #[arg(long, value_name = "ENDPOINT", default_value = "unix:///run/rcrun/cri.sock")]
    pub cri: String,
    /// Where objects and volumes are kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/rcrun-agent")]
    pub state: PathBuf,
    /// Where containers' logs are
    #[arg(long, value_name = "DIR", default_value = "/var/log/pods")]
    pub logs: PathBuf,
    /// How long a container's log may become, in bytes, before the next file is begun
    #[arg(long, value_name = "QUANTITY", default_value = "10Mi")]
    pub log_max_size: String,
    /// How many files there may be of it, at least 2
    #[arg(long, value_name = "NUMBER", default_value = "5")]
    pub log_max_files: usize,
    /// The node's name [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// The node's address in Pods' statuses [default: the one that leads to the default route]
    #[arg(long, value_name = "ADDRESS")]
    pub node_address: Vec<IpAddr>,
    /// Addresses of Services
    #[arg(long, value_name = "CIDR", default_value = "10.96.0.0/16")]
    pub service_range: String,
    /// Ports of Services of type NodePort
    #[arg(long, value_name = "FROM-TO", default_value = "30000-32767")]
    pub node_ports: String,
    /// Where cluster DNS answers; "none" for no cluster DNS
    #[arg(long, value_name = "ADDRESS", default_value = "10.96.0.10")]
    pub cluster_dns: String,
    /// The domain of Services' names
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Where Ingresses are served over HTTP; "none" for no Ingresses
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:80")]
    pub ingress_http: String,
    /// And over HTTPS
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:443")]
    pub ingress_https: String,
    /// Where Prometheus finds /metrics; "none" for nowhere
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10256")]
    pub metrics: String,
    /// What is logged: error, warn, info, debug, trace
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "RCRUN_AGENT_LOG")]
    pub log_level: String,
}

/// What is switched off by "none".
pub fn optional<T: std::str::FromStr>(flag: &str, value: &str) -> anyhow::Result<Option<T>>
where
    T::Err: std::fmt::Display,
{
    match value {
        "none" => Ok(None),
        value => value.parse().map(Some).map_err(|error| anyhow::anyhow!("--{flag} {value}: {error}")),
    }
}

impl Settings {
    /// `--log-max-size` and `--log-max-files`.
    pub fn log_limits(&self) -> anyhow::Result<Limits> {
        let size = quantity::whole(&Quantity(self.log_max_size.clone()));
        match size.and_then(|size| u64::try_from(size).ok()).filter(|size| *size > 0) {
            None => anyhow::bail!("--log-max-size {}: give bytes, as 10Mi", self.log_max_size),
            Some(_) if self.log_max_files < 2 => {
                anyhow::bail!("--log-max-files {}: there are at least 2", self.log_max_files)
            }
            Some(size) => Ok(Limits { size, files: self.log_max_files }),
        }
    }

    /// `--ingress-http` and `--ingress-https`.
    pub fn ingress(&self) -> anyhow::Result<Option<(SocketAddr, SocketAddr)>> {
        let http = optional("ingress-http", &self.ingress_http)?;
        let https = optional("ingress-https", &self.ingress_https)?;
        match (http, https) {
            (Some(http), Some(https)) => Ok(Some((http, https))),
            (None, None) => Ok(None),
            _ => anyhow::bail!("--ingress-http and --ingress-https: both are an address, or both are none"),
        }
    }
}
