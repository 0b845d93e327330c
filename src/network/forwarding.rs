//! The host's settings that a bridge needs, below `/proc/sys/net`: of the network namespace that this thread is in.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;

use super::NetworkError;
use super::subnet::Subnet;

const IPV4: &str = "/proc/sys/net/ipv4";
const IPV6: &str = "/proc/sys/net/ipv6/conf";

/// Does the host have IPv6?
pub(super) fn has_ipv6() -> bool {
    fs::read(format!("{IPV6}/all/disable_ipv6")).is_ok_and(|text| text.starts_with(b"0"))
}

/// Lets the host forward packets of the subnets' families.
pub(super) fn allow(subnets: &[Subnet]) -> Result<(), NetworkError> {
    for subnet in subnets {
        match subnet.first().is_ipv4() {
            true => set(&format!("{IPV4}/ip_forward"), "1")?,
            false => {
                let path = format!("{IPV6}/all/forwarding");
                if !fs::read(&path).is_ok_and(|text| text.starts_with(b"1")) {
                    keep_routers()?;
                    set(&path, "1")?;
                }
            }
        }
    }
    Ok(())
}

/// A host that forwards no longer listens to routers, and would lose its own way out: devices that listen are told to go on.
fn keep_routers() -> Result<(), NetworkError> {
    let Ok(devices) = fs::read_dir(IPV6) else { return Ok(()) };
    for device in devices.filter_map(Result::ok).filter(|device| device.file_name() != "all") {
        let path = device.path().join("accept_ra");
        if fs::read(&path).is_ok_and(|text| text.trim_ascii_end() == b"1") {
            set(&path.to_string_lossy(), "2")?;
        }
    }
    Ok(())
}

/// Before a bridge is set up: it takes none of its containers for a router, and need not ask them for its address.
pub(super) fn quiet(bridge: &str) {
    for setting in ["accept_ra", "accept_dad"] {
        // Not there on a host without IPv6.
        let _ = fs::write(Path::new(IPV6).join(bridge).join(setting), "0");
    }
}

/// Does this host reach the subnet by the subnet's first address, its own? Then its bridge is there, up, with its address. Asked without a
/// packet, by a socket's choice of its own address.
pub(super) fn reaches(subnet: &Subnet) -> bool {
    let any = if subnet.first().is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let Ok(socket) = UdpSocket::bind(any) else { return false };
    let connected = socket.connect((subnet.nth(2), 9)).and_then(|()| socket.local_addr());
    connected.is_ok_and(|own| own.ip() == subnet.first())
}

/// Lets packets from and to 127.0.0.1 pass the bridge, on which rules send those to a host's port.
pub(super) fn allow_loopback(bridge: &str) -> Result<(), NetworkError> {
    let path = format!("{IPV4}/conf/{bridge}/route_localnet");
    match fs::read(&path).is_ok_and(|text| text.starts_with(b"1")) {
        true => Ok(()),
        false => set(&path, "1"),
    }
}

fn set(path: &str, value: &str) -> Result<(), NetworkError> {
    fs::write(path, value)
        .map_err(|error| NetworkError::Call { operation: format!("write {value} to {path}"), error })
}
