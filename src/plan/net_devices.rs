//! Network devices that move into the container: linux.netDevices.

use std::fmt::{self, Display, Formatter};

use super::step::{Source, SourceId};
use super::{Builder, PlanError};
use crate::namespaces::Kind;
use crate::spec::{SpecError, has_namespace};

/// The devices to move, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetDevices {
    /// In the order of their names on the host.
    pub devices: Vec<NetDevice>,
    /// The network namespace, where one is joined; None: that which the child is born in.
    pub joined: Option<SourceId>,
}

/// One device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name on the host.
    pub name: String,
    /// Its name in the container.
    pub inside: String,
}

/// Plans the devices; the namespaces are planned already.
pub(super) fn plan(b: &Builder<'_>) -> Result<NetDevices, PlanError> {
    let wanted = b.linux().and_then(|linux| linux.net_devices().as_ref()).filter(|all| !all.is_empty());
    let Some(wanted) = wanted else { return Ok(NetDevices::default()) };
    let refuse = |path: &str, reason: &str| Err(SpecError::invalid(path, reason).into());
    if !has_namespace(b.linux(), Kind::Network) {
        return refuse(
            "linux.netDevices",
            "set without a network namespace: add {\"type\": \"network\"} to linux.namespaces",
        );
    }
    let mut devices = Vec::new();
    for (name, device) in wanted {
        let path = format!("linux.netDevices[{name:?}]");
        let inside = device.name().as_deref().filter(|inside| !inside.is_empty()).unwrap_or(name);
        if !is_name(name) {
            return refuse(&path, "no name of a network device");
        }
        if !is_name(inside) {
            return refuse(&format!("{path}.name"), &format!("{inside:?} is no name of a network device"));
        }
        devices.push(NetDevice { name: name.clone(), inside: inside.into() });
    }
    devices.sort_by(|one, other| one.name.cmp(&other.name));
    for (index, device) in devices.iter().enumerate() {
        if devices[..index].iter().any(|earlier| earlier.inside == device.inside) {
            let reason = format!("{:?} is the name of two devices", device.inside);
            return refuse(&format!("linux.netDevices[{:?}].name", device.name), &reason);
        }
    }
    let is_network = |source: &Source| matches!(source, Source::Namespace { kind: Kind::Network, .. });
    Ok(NetDevices { devices, joined: b.sources.iter().position(is_network).map(SourceId) })
}

/// As the kernel has it (dev_valid_name), without `%`, in which it would put a number.
fn is_name(name: &str) -> bool {
    const IFNAMSIZ: usize = 16;
    let forbidden = |byte: u8| matches!(byte, b'/' | b':' | b'%' | 0) || byte.is_ascii_whitespace();
    (1..IFNAMSIZ).contains(&name.len()) && !matches!(name, "." | "..") && !name.bytes().any(forbidden)
}

impl Display for NetDevice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "move network device {}", self.name)?;
        if self.inside != self.name { write!(f, " as {}", self.inside) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_kernels() {
        for name in ["eth0", "a", "123456789012345", "veth-x.7"] {
            assert!(is_name(name), "{name:?}");
        }
        for name in ["", ".", "..", "a/b", "a:b", "a b", "eth%d", "1234567890123456", "a\0", "a\n"] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
