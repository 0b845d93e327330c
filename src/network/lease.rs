//! Who has which address and which port: names in a directory, so that a crash loses nothing and two cannot have the same.
//!
//! `owners/OWNER` is a record of all that an owner has, written before anything else of it is made and removed last.
//! `addresses/ADDRESS` and `ports/PROTOCOL-PORT-ADDRESS` are symbolic links that read OWNER: made in one call, with their content.
//! `last` is the lock for allocation, and says which address was given last.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::NetworkError;
use super::port::{Key, PortMapping, overlaps};
use super::subnet::Subnet;

/// The form of [`Lease`] on disk.
const SCHEMA: u32 = 1;

/// All that an owner has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    schema: u32,
    /// The name of its device inside.
    pub interface: String,
    /// One of each family, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Ports of the host.
    pub ports: Vec<PortMapping>,
}

/// The directory.
#[derive(Clone, Debug)]
pub(super) struct Leases {
    directory: PathBuf,
}

impl Leases {
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// What the owner has. A record that does not parse (the machine lost its power while it was written) is made anew from the links.
    pub fn of(&self, owner: &str) -> Result<Option<Lease>, NetworkError> {
        let path = self.owner(owner);
        match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(lease) => Ok(Some(lease)),
                Err(_) => self.read_links(owner).map(Some),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(call("read", &path, error)),
        }
    }

    /// All owners.
    pub fn owners(&self) -> Result<Vec<String>, NetworkError> {
        let names = names(&self.directory.join("owners"))?;
        Ok(names.into_iter().filter(|name| !name.starts_with('.')).collect())
    }

    /// Leases an address of each subnet, at the same place in each, and the ports.
    ///
    /// # Errors
    /// [`NetworkError::Exhausted`], [`NetworkError::PortTaken`].
    pub fn take(
        &self,
        owner: &str,
        subnets: &[Subnet],
        interface: &str,
        ports: &[PortMapping],
    ) -> Result<Lease, NetworkError> {
        let mut lock = self.lock()?;
        self.ports_are_free(owner, ports)?;
        let mut last = String::new();
        lock.read_to_string(&mut last).map_err(|error| call("read", &self.directory.join("last"), error))?;
        let addresses = self.next(subnets, last.trim().parse().ok())?;
        let lease = Lease { schema: SCHEMA, interface: interface.into(), addresses, ports: ports.to_vec() };
        self.record(owner, &lease)?;
        for name in self.links(&lease) {
            symlink(owner, &name).map_err(|error| call("create", &name, error))?;
        }
        if let Some(address) = lease.addresses.first() {
            // As long as any: a file that is cut makes filesystems write it out at once.
            let written = lock.write_all_at(format!("{address:<45}\n").as_bytes(), 0);
            written.map_err(|error| call("write", &self.directory.join("last"), error))?;
        }
        Ok(lease)
    }

    /// What `done` finds, or else what `work` makes while nobody else takes, gives back or makes.
    pub fn locked_unless<T>(
        &self,
        done: impl Fn() -> Result<Option<T>, NetworkError>,
        work: impl FnOnce() -> Result<T, NetworkError>,
    ) -> Result<T, NetworkError> {
        if let Some(found) = done()? {
            return Ok(found);
        }
        let _lock = self.lock()?;
        match done()? {
            Some(found) => Ok(found),
            None => work(),
        }
    }

    /// All leases, with their owners.
    pub fn all(&self) -> Result<Vec<(String, Lease)>, NetworkError> {
        let mut leases = Vec::new();
        for owner in self.owners()? {
            if let Some(lease) = self.of(&owner)? {
                leases.push((owner, lease));
            }
        }
        Ok(leases)
    }

    /// Does the owner hold all that its record says? Not after a crash half way.
    pub fn holds(&self, owner: &str, lease: &Lease) -> bool {
        let is_his = |link: &PathBuf| fs::read_link(link).is_ok_and(|has| has.as_os_str() == owner);
        self.links(lease).iter().all(is_his)
    }

    /// Gives the ports back, where `close` can take away what they led to; nobody meanwhile installs rules with them.
    pub fn give_ports_back(
        &self,
        owner: &str,
        lease: &mut Lease,
        close: impl FnOnce(&Lease) -> Result<(), NetworkError>,
    ) -> Result<(), NetworkError> {
        let _lock = self.lock()?;
        close(lease)?;
        let closed = Lease { ports: Vec::new(), ..lease.clone() };
        for port in lease.ports.drain(..) {
            self.unlink(owner, &self.port(&port))?;
        }
        self.record(owner, &closed)
    }

    /// Gives all back; the record goes last.
    pub fn give_back(&self, owner: &str, lease: &Lease) -> Result<(), NetworkError> {
        self.links(lease).iter().try_for_each(|link| self.unlink(owner, link))?;
        remove(&self.owner(owner))
    }

    /// Removes a link that is the owner's.
    fn unlink(&self, owner: &str, link: &Path) -> Result<(), NetworkError> {
        match fs::read_link(link).is_ok_and(|has| has.as_os_str() == owner) {
            true => remove(link),
            false => Ok(()),
        }
    }

    /// Gives back links that no record speaks of, and records that a crash left half written.
    pub fn collect_links(&self) -> Result<(), NetworkError> {
        let _lock = self.lock()?;
        for kind in ["addresses", "ports"] {
            let directory = self.directory.join(kind);
            for name in names(&directory)? {
                let link = directory.join(name);
                let Ok(owner) = fs::read_link(&link) else { continue };
                if !self.directory.join("owners").join(owner).exists() {
                    remove(&link)?;
                }
            }
        }
        let owners = self.directory.join("owners");
        let halves = names(&owners)?.into_iter().filter(|name| name.starts_with('.'));
        halves.map(|name| owners.join(name)).try_for_each(|half| remove(&half))
    }

    /// Addresses that are free at the same place of each subnet: the next after the last one that was given, so that an address rests
    /// before somebody else has it.
    fn next(&self, subnets: &[Subnet], last: Option<IpAddr>) -> Result<Vec<IpAddr>, NetworkError> {
        let (Some(first), Some(end)) = (subnets.first(), subnets.iter().map(Subnet::last).min()) else {
            return Ok(Vec::new());
        };
        let directory = self.directory.join("addresses");
        let last = last.and_then(|last| first.position(last)).filter(|n| (2..=end).contains(n)).unwrap_or(1);
        for n in (last + 1..=end).chain(2..=last.max(1)) {
            let addresses: Vec<IpAddr> = subnets.iter().map(|subnet| subnet.nth(n)).collect();
            let is_free = |address: &IpAddr| fs::read_link(directory.join(address.to_string())).is_err();
            if addresses.iter().all(is_free) {
                return Ok(addresses);
            }
        }
        let subnet = subnets.iter().min_by_key(|subnet| subnet.last()).unwrap_or(first);
        let names = names(&directory)?;
        let taken = names.iter().filter_map(|name| subnet.position(name.parse().ok()?));
        let leases = taken.count();
        Err(NetworkError::Exhausted { subnet: subnet.to_string(), leases, directory })
    }

    /// Has no other owner one of these ports?
    fn ports_are_free(&self, owner: &str, ports: &[PortMapping]) -> Result<(), NetworkError> {
        if ports.is_empty() {
            return Ok(());
        }
        let taken_by = |port: &PortMapping, holder| NetworkError::PortTaken {
            port: port.host,
            protocol: port.protocol.name(),
            holder,
        };
        // They come sorted by their keys, without what is the same.
        if let Some([_, port]) = ports.array_windows().find(|[one, other]| one.key() == other.key()) {
            return Err(taken_by(port, format!("another port of {owner}")));
        }
        let directory = self.directory.join("ports");
        let taken = names(&directory)?;
        for port in ports {
            let conflicts =
                |name: &&String| PortMapping::parse_key(name).is_some_and(|key| overlaps(port, key));
            for name in taken.iter().filter(conflicts) {
                let holder = fs::read_link(directory.join(name)).unwrap_or_default();
                if holder.as_os_str() != owner {
                    return Err(taken_by(port, holder.display().to_string()));
                }
            }
        }
        Ok(())
    }

    fn read_links(&self, owner: &str) -> Result<Lease, NetworkError> {
        let of = |kind: &str| -> Result<Vec<String>, NetworkError> {
            let directory = self.directory.join(kind);
            let is_his =
                |name: &String| fs::read_link(directory.join(name)).is_ok_and(|has| has.as_os_str() == owner);
            Ok(names(&directory)?.into_iter().filter(is_his).collect())
        };
        let mut addresses: Vec<IpAddr> =
            of("addresses")?.iter().filter_map(|name| name.parse().ok()).collect();
        addresses.sort();
        let mapping = |key: Key| {
            let Key { protocol, port, address } = key;
            PortMapping { address, host: port, container: 0, protocol }
        };
        let ports = of("ports")?;
        let ports = ports.iter().filter_map(|name| PortMapping::parse_key(name)).map(mapping).collect();
        Ok(Lease { schema: SCHEMA, interface: String::new(), addresses, ports })
    }

    fn links(&self, lease: &Lease) -> Vec<PathBuf> {
        let addresses = lease.addresses.iter().map(|a| self.directory.join("addresses").join(a.to_string()));
        addresses.chain(lease.ports.iter().map(|port| self.port(port))).collect()
    }

    fn port(&self, port: &PortMapping) -> PathBuf {
        self.directory.join("ports").join(port.key())
    }

    fn record(&self, owner: &str, lease: &Lease) -> Result<(), NetworkError> {
        let path = self.owner(owner);
        let beside = self.directory.join("owners").join(format!(".{owner}"));
        let bytes = serde_json::to_vec(lease).map_err(|error| call("write", &path, error.into()))?;
        fs::write(&beside, bytes).map_err(|error| call("write", &beside, error))?;
        fs::rename(&beside, &path).map_err(|error| call("rename", &beside, error))
    }

    fn owner(&self, owner: &str) -> PathBuf {
        self.directory.join("owners").join(owner)
    }

    /// The lock, which is also the file of the last address. The directories are made with it held: who has it finds them.
    pub fn lock(&self) -> Result<File, NetworkError> {
        let path = self.directory.join("last");
        let make = |directory: &Path| {
            fs::create_dir_all(directory).map_err(|error| call("create", directory, error))
        };
        let open = || File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(&self.directory)?;
                open()
            }
            result => result,
        };
        let file = file.map_err(|error| call("open", &path, error))?;
        rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
            .map_err(|errno| call("lock", &path, errno.into()))?;
        let kinds = ["owners", "addresses", "ports"].map(|kind| self.directory.join(kind));
        // The last one that is made.
        if !kinds[2].exists() {
            kinds.iter().try_for_each(|kind| make(kind))?;
        }
        Ok(file)
    }
}

/// The names in a directory; none where it is not there.
fn names(directory: &Path) -> Result<Vec<String>, NetworkError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(|error| call("list", directory, error))?,
    };
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

fn remove(path: &Path) -> Result<(), NetworkError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(call("remove", path, error)),
        _ => Ok(()),
    }
}

fn call(operation: &str, path: &Path, error: io::Error) -> NetworkError {
    NetworkError::Call { operation: format!("{operation} {}", path.display()), error }
}

#[cfg(test)]
mod tests {
    #[test]
    fn many_at_once_find_all_directories() {
        for _ in 0..50 {
            let place = tempfile::tempdir().unwrap();
            let directory = place.path().join("leases");
            let together = std::sync::Barrier::new(8);
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        together.wait();
                        let _lock = super::Leases::new(directory.clone()).lock().unwrap();
                        for kind in ["owners", "addresses", "ports"] {
                            assert!(directory.join(kind).is_dir(), "{kind}");
                        }
                    });
                }
            });
        }
    }

    use super::*;
    use crate::network::Protocol;

    fn leases() -> (tempfile::TempDir, Leases) {
        let directory = tempfile::tempdir().unwrap();
        let leases = Leases::new(directory.path().join("leases"));
        (directory, leases)
    }

    fn both() -> [Subnet; 2] {
        ["10.9.0.0/29", "fd09::/64"].map(|subnet| Subnet::parse(subnet).unwrap())
    }

    fn tcp(host: u16, container: u16) -> PortMapping {
        PortMapping { address: None, host, container, protocol: Protocol::Tcp }
    }

    fn texts(lease: &Lease) -> Vec<String> {
        lease.addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_are_at_the_same_place_of_each_subnet_and_rest() {
        let (_directory, leases) = leases();
        let take = |owner: &str| leases.take(owner, &both(), "eth0", &[]).unwrap();
        let first = take("a");
        assert_eq!(texts(&first), ["10.9.0.2", "fd09::2"]);
        leases.give_back("a", &first).unwrap();
        assert_eq!(texts(&take("b")), ["10.9.0.3", "fd09::3"]);
        // One that somebody has at its place of either subnet is passed over, and the search goes round.
        symlink("other", leases.directory.join("addresses/fd09::4")).unwrap();
        assert_eq!(texts(&take("c")), ["10.9.0.5", "fd09::5"]);
        assert_eq!(texts(&take("d")), ["10.9.0.6", "fd09::6"]);
        assert_eq!(texts(&take("e")), ["10.9.0.2", "fd09::2"]);
        let full = leases.take("f", &both(), "eth0", &[]).unwrap_err();
        assert!(matches!(full, NetworkError::Exhausted { leases: 4, .. }), "{full}");
        assert_eq!(leases.of("f").unwrap(), None);
    }

    #[test]
    fn a_record_is_read_back_and_made_anew_from_its_links() {
        let (_directory, leases) = leases();
        let taken = leases.take("a", &both(), "eth0", &[tcp(80, 8080)]).unwrap();
        assert_eq!(leases.of("a").unwrap().as_ref(), Some(&taken));
        assert!(leases.holds("a", &taken));
        fs::write(leases.owner("a"), "").unwrap();
        let found = leases.of("a").unwrap().unwrap();
        assert_eq!((&found.addresses, found.ports.len()), (&taken.addresses, 1));
        leases.give_back("a", &found).unwrap();
        assert!(!leases.holds("a", &taken));
        for kind in ["owners", "addresses", "ports"] {
            assert!(names(&leases.directory.join(kind)).unwrap().is_empty(), "{kind}");
        }
    }

    #[test]
    fn a_port_is_had_by_one() {
        let (_directory, leases) = leases();
        let mut one = leases.take("a", &both(), "eth0", &[tcp(80, 1)]).unwrap();
        let taken = |owner: &str, ports: &[PortMapping]| match leases.take(owner, &both(), "eth0", ports) {
            Err(NetworkError::PortTaken { port, holder, .. }) => (port, holder),
            other => panic!("{other:?}"),
        };
        assert_eq!(taken("b", &[tcp(79, 1), tcp(80, 2)]), (80, "a".into()));
        assert_eq!(taken("b", &[tcp(81, 1), tcp(81, 2)]), (81, "another port of b".into()));
        let refused =
            |_: &Lease| Err(NetworkError::PortTaken { port: 1, protocol: "tcp", holder: "x".into() });
        leases.give_ports_back("a", &mut one, refused).unwrap_err();
        assert_eq!(taken("b", &[tcp(80, 2)]).1, "a");
        leases.give_ports_back("a", &mut one, |_| Ok(())).unwrap();
        assert_eq!(leases.of("a").unwrap().unwrap().ports, []);
        leases.take("b", &both(), "eth0", &[tcp(80, 2)]).unwrap();
    }
}
