//! The built-in bridge: what Pods are attached to where there is no CNI configuration.

use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::PathBuf;

use rcrun::network::{Bridge, BridgeSettings, NetworkNamespace, PortMapping};

use super::{CniError, INTERFACE};
use crate::config::Network;
use crate::runtime::Paths;

/// The bridge as it would be made now.
pub fn settings(network: &Network, paths: &Paths) -> BridgeSettings {
    let (mut ipv4, mut ipv6) = (Some(network.ipv4.clone()), Some(network.ipv6.clone()));
    let default = Network::default();
    if network.ipv4 == default.ipv4 && network.ipv6 == default.ipv6 {
        // The administrator has named none: the cluster's subnet of this node.
        if let Some((pod_ipv4, pod_ipv6)) = pod_cidr(paths) {
            (ipv4, ipv6) = (pod_ipv4, pod_ipv6);
        }
    }
    let some = |subnet: Option<String>| subnet.filter(|subnet| !subnet.is_empty());
    BridgeSettings {
        name: network.bridge.clone(),
        ipv4: some(ipv4),
        ipv6: some(ipv6),
        mtu: None,
        leases: paths.state.join("leases").join(&network.bridge),
    }
}

pub fn attach(
    settings: &BridgeSettings,
    id: &str,
    namespace: &NetworkNamespace,
    ports: &[PortMapping],
) -> Result<Vec<IpAddr>, CniError> {
    let attached = open(settings)?.attach(namespace, id, INTERFACE, ports);
    attached.map(|attachment| attachment.addresses).map_err(|error| failed(settings, error))
}

pub fn detach(settings: &BridgeSettings, id: &str) -> Result<(), CniError> {
    open(settings)?.detach(id).map_err(|error| failed(settings, error))
}

pub fn collect(settings: &BridgeSettings, alive: &[&str]) -> Result<(), CniError> {
    if !settings.leases.exists() {
        // No Pod was ever attached to it.
        return Ok(());
    }
    open(settings)?.collect(&|owner| alive.contains(&owner)).map_err(|error| failed(settings, error))
}

/// Subnets that can be used; the bridge itself is made with the first Pod.
pub fn ready(settings: &BridgeSettings) -> Result<(), CniError> {
    open(settings).map(drop)
}

/// Keeps `cidr` for [`settings`]: a subnet, or one of each family with a comma between. Empty: as if it had never been said.
pub fn set_pod_cidr(paths: &Paths, cidr: &str) -> Result<(), String> {
    let file = file(paths);
    let failed = |error: std::io::Error| format!("write {}: {error}", file.display());
    if cidr.is_empty() {
        return match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        };
    }
    split(cidr)?;
    let new = file.with_extension("new");
    fs::write(&new, cidr).and_then(|()| fs::rename(&new, &file)).map_err(failed)
}

fn pod_cidr(paths: &Paths) -> Option<(Option<String>, Option<String>)> {
    split(&fs::read_to_string(file(paths)).ok()?).ok()
}

fn split(cidr: &str) -> Result<(Option<String>, Option<String>), String> {
    let (mut ipv4, mut ipv6) = (None, None);
    for subnet in cidr.split(',').map(str::trim) {
        let (address, prefix) = subnet.split_once('/').unwrap_or((subnet, ""));
        let parsed = (address.parse::<IpAddr>(), prefix.parse::<u8>());
        match parsed {
            (Ok(IpAddr::V4(_)), Ok(0..=32)) if ipv4.is_none() => ipv4 = Some(subnet.to_owned()),
            (Ok(IpAddr::V6(_)), Ok(0..=128)) if ipv6.is_none() => ipv6 = Some(subnet.to_owned()),
            _ => return Err("not ADDRESS/PREFIX, or one of each family with a comma between".into()),
        }
    }
    Ok((ipv4, ipv6))
}

fn file(paths: &Paths) -> PathBuf {
    paths.state.join("pod-cidr")
}

fn open(settings: &BridgeSettings) -> Result<Bridge, CniError> {
    Bridge::new(settings.clone()).map_err(|error| failed(settings, error))
}

fn failed(settings: &BridgeSettings, error: rcrun::network::NetworkError) -> CniError {
    CniError::Bridge { bridge: settings.name.clone(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(state: &std::path::Path) -> Paths {
        Paths { state: state.into(), run: "/nowhere".into(), images: "/nowhere".into() }
    }

    #[test]
    fn the_clusters_subnet_counts_unless_the_configuration_names_one() {
        let directory = tempfile::tempdir().unwrap();
        let paths = paths(directory.path());
        let mut network = Network::default();
        assert_eq!(settings(&network, &paths).ipv4.as_deref(), Some("10.88.0.0/20"));
        set_pod_cidr(&paths, "10.244.1.0/24, fd00:1::/64").unwrap();
        let found = settings(&network, &paths);
        assert_eq!(found.ipv4.as_deref(), Some("10.244.1.0/24"));
        assert_eq!(found.ipv6.as_deref(), Some("fd00:1::/64"));
        network.ipv4 = "10.9.0.0/16".into();
        network.ipv6 = String::new();
        let found = settings(&network, &paths);
        assert_eq!((found.ipv4.as_deref(), found.ipv6), (Some("10.9.0.0/16"), None));
        set_pod_cidr(&paths, "").unwrap();
        set_pod_cidr(&paths, "").unwrap();
        assert_eq!(settings(&Network::default(), &paths).ipv4.as_deref(), Some("10.88.0.0/20"));
    }

    #[test]
    fn what_is_no_subnet_is_refused() {
        for cidr in ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/8,10.1.0.0/16", "ten/8"] {
            assert!(split(cidr).is_err(), "{cidr}");
        }
        assert_eq!(split("fd00::/64").unwrap(), (None, Some("fd00::/64".into())));
    }
}
