//! A host for one test, and what is asked of its network.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcrun::netlink::Socket;
use rcrun::network::{Attachment, Bridge, BridgeSettings, NetworkNamespace, PortMapping};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::UnshareFlags;

/// Namespaces that the test's thread is in, and those that it starts; they end with it.
pub struct Host {
    directory: tempfile::TempDir,
}

/// A network namespace that is plugged into a bridge.
pub struct Pod {
    pub namespace: NetworkNamespace,
    pub addresses: Vec<IpAddr>,
}

impl Host {
    /// Err is a reason to skip.
    pub fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("not root".into());
        }
        rcrun::sys::process::unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS).expect("unshare");
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .expect("private mounts");
        Socket::open().and_then(|socket| socket.set_up(1, true)).expect("set lo up");
        let host = Self { directory: tempfile::tempdir().expect("a directory") };
        host.filter_bridges(false);
        Ok(host)
    }

    /// Sets whether rules see packets that stay on a bridge: so where br_netfilter is loaded, as for Kubernetes.
    pub fn filter_bridges(&self, filters: bool) {
        for family in ["ip", "ip6"] {
            let path = format!("/proc/sys/net/bridge/bridge-nf-call-{family}tables");
            let _ = std::fs::write(path, if filters { "1" } else { "0" });
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The bridge of these subnets.
    pub fn bridge_of(&self, ipv4: Option<&str>, ipv6: Option<&str>) -> Bridge {
        bridge_of(self.directory.path(), ipv4, ipv6)
    }

    pub fn bridge(&self) -> Bridge {
        bridge_in(self.directory.path())
    }

    pub fn namespace(&self, name: &str) -> NetworkNamespace {
        NetworkNamespace::make(&self.path("netns"), name).expect("a namespace")
    }

    pub fn pod(&self, bridge: &Bridge, name: &str, ports: &[PortMapping]) -> Pod {
        let namespace = self.namespace(name);
        let Attachment { addresses } = bridge.attach(&namespace, name, "eth0", ports).expect("attach");
        Pod { namespace, addresses }
    }

    /// The names of its devices.
    pub fn devices(&self) -> Vec<String> {
        let text = std::fs::read_to_string("/proc/thread-self/net/dev").expect("net/dev");
        let names = text.lines().skip(2).filter_map(|line| line.split_once(':'));
        names.map(|(name, _)| name.trim().to_owned()).collect()
    }

    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect()
    }

    /// Nothing of a container is left but the bridge.
    #[track_caller]
    pub fn is_empty(&self) {
        let ports: Vec<_> = self.devices().into_iter().filter(|name| name.starts_with("rcv")).collect();
        let of_others = self.names("lan/owners").len();
        assert_eq!(ports.len(), of_others, "{ports:?}");
        for kind in ["owners", "addresses", "ports"] {
            let names = self.names(&format!("leases/{kind}"));
            assert!(names.is_empty(), "{kind}: {names:?}");
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        unmount_below(self.directory.path());
    }
}

/// The default bridge, of the host of this directory.
pub fn bridge_in(directory: &Path) -> Bridge {
    bridge_of(directory, Some("10.88.0.0/20"), Some("fd72:6372:756e::/64"))
}

fn bridge_of(directory: &Path, ipv4: Option<&str>, ipv6: Option<&str>) -> Bridge {
    Bridge::new(BridgeSettings {
        name: "rcrun0".into(),
        ipv4: ipv4.map(Into::into),
        ipv6: ipv6.map(Into::into),
        mtu: None,
        leases: directory.join("leases"),
    })
    .expect("settings")
}

/// The names of namespaces are mounts; the directory could not be removed otherwise.
fn unmount_below(path: &Path) {
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let mut mounts: Vec<_> =
        table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect();
    mounts.reverse();
    for mount in mounts.iter().filter(|mount| mount.starts_with(path)) {
        let _ = rustix::mount::unmount(mount, rustix::mount::UnmountFlags::DETACH);
    }
}

impl Pod {
    /// A TCP server in the Pod, on all its addresses, which answers each connection with `word` and the client's address.
    pub fn serve(&self, port: u16, word: &'static str) {
        let listener = self.namespace.enter(|| TcpListener::bind(("::", port))).expect("enter");
        serve(listener.expect("listen"), word);
    }

    /// What a server answers to a client in the Pod.
    pub fn ask(&self, to: SocketAddr) -> Result<String, std::io::Error> {
        self.namespace.enter(|| ask(to)).expect("enter")
    }
}

/// Answers each connection with `word` and the client's address.
pub fn serve(listener: TcpListener, word: &'static str) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let client = stream.peer_addr().map(|address| address.ip().to_canonical());
            let client = client.map_or_else(|error| error.to_string(), |address| address.to_string());
            let _ = stream.write_all(format!("{word} {client}").as_bytes());
        }
    });
}

/// What the server of an address answers to a client in this thread's namespace.
pub fn ask(to: SocketAddr) -> Result<String, std::io::Error> {
    ask_within(to, Duration::from_secs(30))
}

/// The same where nobody is expected to answer, not even with a refusal.
pub fn ask_within(to: SocketAddr, patience: Duration) -> Result<String, std::io::Error> {
    let mut stream = TcpStream::connect_timeout(&to, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// How many packets of TCP were sent again in this thread's namespace, for no answer came within a second.
pub fn sent_again() -> usize {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp").expect("snmp");
    let mut of_tcp = text.lines().filter(|line| line.starts_with("Tcp:")).map(str::split_whitespace);
    let (Some(names), Some(mut values)) = (of_tcp.next(), of_tcp.next()) else { panic!("{text}") };
    let at = names.into_iter().position(|name| name == "RetransSegs").expect("RetransSegs");
    values.nth(at).expect("a value").parse().expect("a number")
}

/// Says that the running test was not done and why. Past libtest's capture, so that it is seen.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!("SKIP {}: {reason}\n", thread.name().unwrap_or("?"));
    std::io::stderr().write_all(line.as_bytes()).expect("write to stderr");
}

/// The value of a `Result<_, String>`, or a return from the test with a SKIP line.
macro_rules! require {
    ($need:expr) => {
        match $need {
            Ok(value) => value,
            Err(reason) => return $crate::host::skip(&reason),
        }
    };
}
pub(crate) use require;
