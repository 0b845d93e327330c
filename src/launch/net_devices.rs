//! Moves network devices into the container's network namespace, and back if its launch fails.
//!
//! Runs in the parent, which the devices belong to: found before the clone, moved when the child is
//! there and waits. The kernel takes a device's addresses away when it moves; those that a user gave
//! it are given again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::LaunchError;
use super::parent::Visit;
use crate::namespaces::Kind;
use crate::netlink::{Address, Link, Socket};
use crate::plan::{NetDevice, NetDevices};

/// The devices of a plan, found on the host.
pub(super) struct Found<'a> {
    host: Socket,
    devices: Vec<(&'a NetDevice, Link, Vec<Address>)>,
}

/// Devices that are in the container now; dropped, they go back.
#[derive(Debug)]
pub(super) struct Moved {
    /// The host's network namespace, and a socket in each of the two.
    home: OwnedFd,
    host: Socket,
    container: Socket,
    devices: Vec<MovedDevice>,
}

#[derive(Debug)]
struct MovedDevice {
    name: String,
    index: u32,
    was_up: bool,
    addresses: Vec<Address>,
}

impl<'a> Found<'a> {
    /// Looks for the devices; None where there is nothing to move.
    pub fn new(plan: &'a NetDevices) -> Result<Option<Self>, LaunchError> {
        if plan.devices.is_empty() {
            return Ok(None);
        }
        let host = Socket::open().map_err(|error| LaunchError::Netlink { error })?;
        let find = |device: &'a NetDevice| {
            let failed = |error| failed(&device.name, "find it", error);
            let link = host.link(&device.name).map_err(failed)?;
            Ok((device, link, host.addresses(link.index).map_err(failed)?))
        };
        let devices = plan.devices.iter().map(find).collect::<Result<_, LaunchError>>()?;
        Ok(Some(Self { host, devices }))
    }

    /// Moves them into `namespace`; those that were moved go back if one fails.
    pub fn move_to(self, namespace: BorrowedFd<'_>) -> Result<Moved, LaunchError> {
        let home = open_namespace("/proc/self/ns/net")?;
        let visit = Visit::enter(Kind::Network, namespace)?;
        let container = Socket::open();
        drop(visit);
        let container = container.map_err(|error| LaunchError::Netlink { error })?;
        let mut moved = Moved { home, host: self.host, container, devices: Vec::new() };
        for (device, link, addresses) in self.devices {
            let failed = |operation, error| failed(&device.name, operation, error);
            // The kernel would move it first and then not rename it.
            if moved.container.link(&device.inside).is_ok() {
                return Err(failed("move it", Errno::EXIST));
            }
            moved.host.set_up(link.index, false).map_err(|error| failed("set it down", error))?;
            if let Err(error) = moved.host.move_link(link.index, &device.inside, namespace) {
                let _ = restore(&moved.host, link.index, &addresses, link.up);
                return Err(failed("move it", error));
            }
            let there = moved.container.link(&device.inside);
            let there = there.map_err(|error| failed("find it there", error))?;
            let restored = restore(&moved.container, there.index, &addresses, true);
            let name = device.name.clone();
            moved.devices.push(MovedDevice { name, index: there.index, was_up: link.up, addresses });
            restored.map_err(|error| failed("set it up there, with its addresses", error))?;
        }
        Ok(moved)
    }
}

impl Moved {
    /// They stay.
    pub fn keep(mut self) {
        self.devices.clear();
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        for device in self.devices.drain(..).rev() {
            let index = device.index;
            let _ = self.container.set_up(index, false);
            let _ = self.container.move_link(index, &device.name, self.home.as_fd());
            if let Ok(back) = self.host.link(&device.name) {
                let _ = restore(&self.host, back.index, &device.addresses, device.was_up);
            }
        }
    }
}

/// Addresses and state of a device that a move has taken them from. Up first: an IPv6 address is lost
/// with a device that is down, depending on a sysctl.
fn restore(socket: &Socket, index: u32, addresses: &[Address], up: bool) -> Result<(), Errno> {
    socket.set_up(index, up)?;
    addresses.iter().try_for_each(|address| socket.add_address(index, address))
}

fn failed(device: &str, operation: &'static str, error: Errno) -> LaunchError {
    LaunchError::NetDevice { device: device.into(), operation, error }
}

/// A file of a network namespace.
pub(super) fn open_namespace(path: &str) -> Result<OwnedFd, LaunchError> {
    use crate::sys::During;
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .during("open")
        .map_err(|failure| LaunchError::Open { what: path.into(), failure })
}
