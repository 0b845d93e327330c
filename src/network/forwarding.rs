//! The host's settings that a bridge needs, below `/proc/sys/net`: of the network namespace that this thread is in.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use super::NetworkError;
use super::subnet::Subnet;

const IPV4: &str = "/proc/sys/net/ipv4";
const IPV6: &str = "/proc/sys/net/ipv6/conf";
/// Each is lost only to somebody who writes in the same microseconds.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(1);

/// Does the host have IPv6?
pub(super) fn has_ipv6() -> bool {
    fs::read(format!("{IPV6}/all/disable_ipv6")).is_ok_and(|text| text.starts_with(b"0"))
}

/// Does the host forward packets that come from this bridge?
pub(super) fn is_allowed(bridge: &str, subnets: &[Subnet]) -> bool {
    subnets.iter().all(|subnet| is_on(&of_device(subnet, bridge)))
}

/// Lets the host forward packets of the subnets' families.
pub(super) fn allow(subnets: &[Subnet]) -> Result<(), NetworkError> {
    for subnet in subnets {
        match subnet.first().is_ipv4() {
            true => allow_ipv4(subnet)?,
            false => {
                let path = of_device(subnet, "all");
                if !is_on(&path) {
                    keep_routers()?;
                    set(&path, "1")?;
                }
            }
        }
    }
    Ok(())
}

/// Linux writes the value before it has the lock to tell devices, and takes it back where it has to wait (devinet_sysctl_forward). Who
/// writes the same meanwhile has changed nothing, and tells none; and so may find the first one when it tries again. ip_forward then is 1,
/// while no device forwards, nor will one that is made later. lo tells: it is told with the others. It helps to say it again.
fn allow_ipv4(subnet: &Subnet) -> Result<(), NetworkError> {
    let all = format!("{IPV4}/ip_forward");
    let [default, lo] = ["default", "lo"].map(|device| of_device(subnet, device));
    for _ in 0..TRIES {
        if is_on(&all) {
            if is_on(&default) || is_on(&lo) {
                return Ok(());
            }
            // Whoever writes it now is done with it then.
            std::thread::sleep(PAUSE);
            set(&all, "0")?;
        }
        set(&all, "1")?;
    }
    let why = format!("it is 1, but {lo} stays 0; write 0 and then 1 to it");
    Err(NetworkError::Call { operation: format!("write 1 to {all}"), error: std::io::Error::other(why) })
}

/// Lets the host forward packets that come from this bridge, also where new devices are not to.
pub(super) fn allow_from(bridge: &str, subnets: &[Subnet]) -> Result<(), NetworkError> {
    let paths = subnets.iter().map(|subnet| of_device(subnet, bridge));
    paths.filter(|path| !is_on(path)).try_for_each(|path| set(&path, "1"))
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
    if is_on(&path) { Ok(()) } else { set(&path, "1") }
}

fn of_device(subnet: &Subnet, device: &str) -> String {
    match subnet.first().is_ipv4() {
        true => format!("{IPV4}/conf/{device}/forwarding"),
        false => format!("{IPV6}/{device}/forwarding"),
    }
}

fn is_on(path: &str) -> bool {
    fs::read(path).is_ok_and(|text| text.starts_with(b"1"))
}

fn set(path: &str, value: &str) -> Result<(), NetworkError> {
    fs::write(path, value)
        .map_err(|error| NetworkError::Call { operation: format!("write {value} to {path}"), error })
}
