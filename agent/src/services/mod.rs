//! Services: their endpoints, the kernel's rules that lead there, and names.

mod address;
mod conntrack;
pub mod dns;
pub mod endpoints;
#[cfg(test)]
mod examples;
mod flushed;
mod frontend;
mod keep;
mod load;
mod netlink;
pub mod rules;
mod trouble;

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use crate::metrics::Counters;
use crate::objects::{Key, Object, Objects};
use crate::reconcile::Decision;
use crate::store::Store;

/// Keeps a Service's Endpoints those of its ready Pods.
pub fn reconcile(key: &Key, desired: &Objects, now: Timestamp) -> Decision {
    endpoints::reconcile(key, desired, now)
}

/// Services that select a Pod that changed.
pub fn dependents(changed: &Object, desired: &Objects) -> Vec<Key> {
    endpoints::dependents(changed, desired)
}

/// Where and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of ClusterIPs: `10.96.0.0/16`, or several with commas.
    pub range: String,
    /// Cluster DNS: this address is put on lo. None: no DNS.
    pub dns: Option<IpAddr>,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// Whom names of others are asked of.
    pub resolv_conf: std::path::PathBuf,
}

/// Keeps the kernel's rules and the names true until the process ends.
pub async fn run(store: Arc<Store>, settings: Settings, counters: Arc<Counters>) -> anyhow::Result<()> {
    let dns = async {
        match settings.dns {
            Some(address) => dns::serve(store.clone(), &settings, address).await,
            None => std::future::pending().await,
        }
    };
    tokio::try_join!(keep::keep(store.clone(), &settings, &counters), dns)?;
    Ok(())
}

#[cfg(test)]
mod tests;
