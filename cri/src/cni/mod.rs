//! Pods' networks: CNI plugins where there is a configuration, else the built-in bridge.
//!
//! In: a Pod's wishes and its network namespace. Out: addresses, and an [`Attachment`] that the Pod's record keeps, so that the
//! network is given back as it was made, whatever the configuration says by then. Nothing is remembered in memory: the
//! configuration's directory is read on each use, which costs less than one plugin's start. All of this blocks.

mod bandwidth;
mod builtin;
mod capabilities;
mod chain;
mod error;
mod list;
mod plugin;
mod result;

use std::net::IpAddr;
use std::path::Path;
use std::sync::{PoisonError, RwLock, TryLockError};

use rcrun::network::{BridgeSettings, NetworkNamespace, PortMapping};
use serde::{Deserialize, Serialize};

pub use chain::CniAttachment;
pub use error::CniError;
pub use list::ConfList;

use crate::config::Network;
use crate::runtime::{Paths, Runtime};
use crate::state::Pod;

/// The Pods' interface.
pub const INTERFACE: &str = "eth0";

/// All networks that this server knows.
#[derive(Debug, Default)]
pub struct Networks {
    /// Shared by ADDs and DELs; GC has it alone, CNI specification 1.1, section 4.
    plugins: RwLock<()>,
}

/// How a Pod is, or is about to be, attached. Recorded before anything is made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Attachment {
    /// To the built-in bridge.
    Bridge {
        /// The bridge's settings at that time.
        settings: BridgeSettings,
        /// Ports of the host.
        ports: Vec<PortMapping>,
    },
    /// By CNI plugins.
    Cni(CniAttachment),
}

impl Attachment {
    /// Has ADD of all plugins succeeded? The bridge leaves nothing half made.
    pub fn was_made(&self) -> bool {
        match self {
            Self::Bridge { .. } => true,
            Self::Cni(cni) => cni.result.is_some(),
        }
    }
}

impl Networks {
    /// What will attach this Pod: decided once, changes nothing.
    pub fn plan(&self, settings: &Network, paths: &Paths, pod: &Pod) -> Result<Attachment, CniError> {
        match ConfList::load(&settings.cni_conf_dir)? {
            Some(list) => {
                let planned = CniAttachment::plan(settings, list, &pod.id, &pod.config, &pod.cgroup_parent)?;
                Ok(Attachment::Cni(planned))
            }
            None => Ok(Attachment::Bridge {
                settings: builtin::settings(settings, paths),
                ports: capabilities::host_ports(&pod.config.port_mappings)?,
            }),
        }
    }

    /// Attaches the namespace; its addresses, the primary one first. After a failure [`Self::detach`] gives back what was made.
    pub fn attach(
        &self,
        settings: &Network,
        id: &str,
        namespace: &NetworkNamespace,
        attachment: &mut Attachment,
    ) -> Result<Vec<IpAddr>, CniError> {
        match attachment {
            Attachment::Bridge { settings, ports } => builtin::attach(settings, id, namespace, ports),
            Attachment::Cni(cni) => {
                let _shared = self.plugins.read().unwrap_or_else(PoisonError::into_inner);
                cni.add(settings, id, namespace.path())
            }
        }
    }

    /// Gives everything back; `namespace` is None where it is gone already. What is gone is fine.
    pub fn detach(
        &self,
        settings: &Network,
        id: &str,
        namespace: Option<&Path>,
        attachment: &Attachment,
    ) -> Result<(), CniError> {
        match attachment {
            Attachment::Bridge { settings, .. } => builtin::detach(settings, id),
            Attachment::Cni(cni) => {
                let _shared = self.plugins.read().unwrap_or_else(PoisonError::into_inner);
                cni.delete(settings, id, namespace)
            }
        }
    }

    /// Asks the plugins whether the Pod is attached as they left it; the built-in bridge has nothing to say.
    pub fn check(
        &self,
        settings: &Network,
        id: &str,
        namespace: &Path,
        attachment: &Attachment,
    ) -> Result<(), CniError> {
        match attachment {
            Attachment::Bridge { .. } => Ok(()),
            Attachment::Cni(cni) => cni.check(settings, id, namespace),
        }
    }

    /// Could a Pod be given a network now? The error says why not, and what to do. Status' NetworkReady.
    pub fn ready(&self, runtime: &Runtime) -> Result<(), String> {
        let config = runtime.config();
        let ready = match ConfList::load(&config.network.cni_conf_dir) {
            Ok(Some(list)) => chain::status(&list, &config.network),
            Ok(None) => builtin::ready(&builtin::settings(&config.network, &runtime.paths)),
            Err(error) => Err(error),
        };
        ready.map_err(|error| error.to_string())
    }

    /// Which network a Pod would get now, in words: `cni NAME (FILE)` or `bridge NAME`.
    pub fn describe(&self, runtime: &Runtime) -> String {
        let config = runtime.config();
        match ConfList::load(&config.network.cni_conf_dir) {
            Ok(Some(list)) => format!("cni {} ({})", list.name, list.file.display()),
            Ok(None) => format!("bridge {}", config.network.bridge),
            Err(error) => error.to_string(),
        }
    }

    /// Gives back what Pods that are no more have left: leases and devices of the bridge.
    pub fn collect(&self, settings: &Network, paths: &Paths, alive: &[&str]) -> Result<(), CniError> {
        builtin::collect(&builtin::settings(settings, paths), alive)
    }

    /// The same for what plugins of CNI 1.1 keep. None: plugins are at work, and nothing was done. `alive` is asked while none is.
    pub fn collect_of_plugins(
        &self,
        settings: &Network,
        list: &ConfList,
        alive: impl FnOnce() -> Vec<String>,
    ) -> Option<Result<(), CniError>> {
        let _alone = match self.plugins.try_write() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(alone)) => alone.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let alive = alive();
        let alive: Vec<&str> = alive.iter().map(String::as_str).collect();
        Some(chain::collect(list, settings, &alive))
    }

    /// UpdateRuntimeConfig's `pod_cidr`: the built-in bridge's subnets from now on, unless the configuration names its own. Kept
    /// on disk, for the kubelet says it once.
    pub fn set_pod_cidr(&self, paths: &Paths, cidr: &str) -> Result<(), String> {
        builtin::set_pod_cidr(paths, cidr)
    }
}
