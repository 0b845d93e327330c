//! A node of its own: the test starts itself again in fresh namespaces, in which `run` is the agent's.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::objects::Object;
use crate::services::{Settings, run};
use crate::store::{Durability, Store};

const MARK: &str = "RCRUN_AGENT_TEST_WORLD";
/// For what happens at once, but on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
pub const PORT: u16 = 8080;

/// Runs `test` in namespaces of its own; `path` is the test's own.
pub fn inside(path: &str, test: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        return test();
    }
    let namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];
    let possible =
        Command::new("unshare").args(namespaces).args(["nft", "--version"]).stdout(Stdio::null()).status();
    if !possible.is_ok_and(|status| status.success()) {
        eprintln!("SKIP {path}: unshare --net --mount --pid, or nft, does not run here");
        return;
    }
    let own = std::env::current_exe().unwrap();
    let mut command = Command::new("unshare");
    command.args(namespaces).arg(own).args(["--exact", path, "--nocapture"]).env(MARK, "1");
    let done = command.output().unwrap();
    let said = [&done.stdout[..], &done.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("1 passed"), "{path}:\n{said}");
}

/// The node, seen from within it.
pub struct World {
    pub store: Arc<Store>,
    pub resolv_conf: tempfile::NamedTempFile,
    _state: tempfile::TempDir,
    settings: Settings,
    agent: tokio::runtime::Runtime,
}

fn shell(script: &str) -> String {
    let done = Command::new("sh").args(["-euc", script]).output().unwrap();
    assert!(done.status.success(), "{script}\n{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

impl World {
    /// As [`World::without_agent`], and with the agent's part.
    pub fn new(bridged: bool) -> Option<Self> {
        let world = Self::without_agent(bridged)?;
        world.start();
        Some(world)
    }

    /// The agent's part begins.
    pub fn start(&self) {
        self.agent.spawn(run(self.store.clone(), self.settings.clone(), Arc::default()));
    }

    /// A node with a bridge (10.88.0.1, fd00:88::1) and a machine outside (192.0.2.1, the node's address there is 192.0.2.254).
    /// `bridged`: rules see what stays on the bridge. None: it cannot be set here.
    pub fn without_agent(bridged: bool) -> Option<Self> {
        shell(
            "mount -t tmpfs none /run; mkdir /run/netns; ip link set lo up
             sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0
             ip link add rcrun0 type bridge; ip link set rcrun0 up
             ip address add 10.88.0.1/24 dev rcrun0; ip address add fd00:88::1/64 dev rcrun0 nodad
             ip netns add outside; ip link add uplink type veth peer name eth0 netns outside
             ip link set uplink up; ip address add 192.0.2.254/24 dev uplink
             ip -n outside link set lo up; ip -n outside link set eth0 up; ip -n outside address add 192.0.2.1/24 dev eth0",
        );
        for family in ["ip", "ip6"] {
            let set = fs::write(
                format!("/proc/sys/net/bridge/bridge-nf-call-{family}tables"),
                if bridged { "1" } else { "0" },
            );
            if bridged && set.is_err() {
                eprintln!("SKIP rules see what stays on the bridge: there is no br_netfilter here");
                return None;
            }
        }
        let state = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(state.path()).unwrap());
        let resolv_conf = tempfile::NamedTempFile::new().unwrap();
        let settings = Settings {
            range: "10.96.0.0/16,fd00:96::/112".into(),
            dns: Some("10.96.0.10".parse().unwrap()),
            cluster_domain: "cluster.local".into(),
            resolv_conf: resolv_conf.path().to_owned(),
        };
        let agent =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Some(Self { store, resolv_conf, _state: state, settings, agent })
    }

    /// A Pod in the bridge's network, with the last part of its addresses; it answers on [`PORT`].
    pub fn pod(&self, last: u8) -> String {
        let name = self.attach(last);
        answer(&name);
        let addresses = [format!("10.88.0.{last}"), format!("fd00:88::{last}")];
        self.put(super::super::examples::pod(&name, "web", true, &[&addresses[0], &addresses[1]]));
        name
    }

    /// The network of a Pod of which the agent does not know yet.
    pub fn attach(&self, last: u8) -> String {
        let name = format!("pod{last}");
        shell(&format!(
            "ip netns add {name}; ip link add v{last} type veth peer name eth0 netns {name}
             ip link set v{last} master rcrun0 up; bridge link set dev v{last} hairpin on
             ip -n {name} link set lo up; ip -n {name} link set eth0 up
             ip -n {name} address add 10.88.0.{last}/24 dev eth0; ip -n {name} route add default via 10.88.0.1
             ip -n {name} address add fd00:88::{last}/64 dev eth0 nodad; ip -n {name} route add default via fd00:88::1",
        ));
        name
    }

    /// Makes an object, or what there is this one.
    pub fn put(&self, object: Object) {
        let key = object.key();
        if self.store.read(|objects| objects.get(&key).is_some()) {
            self.store.update(&key, Durability::Written, |_| Some(object)).unwrap();
        } else {
            self.store.create(object, Durability::Written).unwrap();
        }
    }
}

/// Runs `work` in a Pod's network, `outside`, or the node's own ("").
pub fn at<T: Send>(place: &str, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            enter(place);
            work()
        });
        done.join().unwrap()
    })
}

fn enter(place: &str) {
    if !place.is_empty() {
        let namespace = File::open(format!("/run/netns/{place}")).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }
}

/// Answers on a port, over TCP and UDP, with the name of the place and whom it sees. A connection that says something is answered again.
pub fn answer(place: &str) {
    let place = place.to_owned();
    let (tcp, udp) = at(&place, || {
        let at = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), PORT);
        (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap())
    });
    let place = if place.is_empty() { "node".to_owned() } else { place };
    let name = place.clone();
    std::thread::spawn(move || {
        for stream in tcp.incoming().map_while(Result::ok) {
            let name = name.clone();
            std::thread::spawn(move || serve(stream, &name));
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Ok((_, peer)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(format!("{place} {}", peer.ip().to_canonical()).as_bytes(), peer);
        }
    });
}

fn serve(mut stream: TcpStream, name: &str) {
    let Ok(peer) = stream.peer_addr() else { return };
    let text = format!("{name} {}\n", peer.ip().to_canonical());
    while stream.write_all(text.as_bytes()).is_ok() {
        if !matches!(stream.read(&mut [0; 16]), Ok(1..)) {
            return;
        }
    }
}

/// Who answers at an address, and whom he sees.
pub type Answer = io::Result<(String, IpAddr)>;

/// Over TCP.
pub fn connect(to: &str) -> Answer {
    ask(&mut open(to)?)
}

pub fn open(to: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to.parse().unwrap(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The next answer of a connection.
pub fn ask(stream: &mut TcpStream) -> Answer {
    let mut text = Vec::new();
    let mut byte = [0];
    while text.last() != Some(&b'\n') {
        stream.read_exact(&mut byte)?;
        text.push(byte[0]);
    }
    read(&text)
}

/// Over UDP, from a socket that is connected; it waits as long as the socket says.
pub fn datagram(socket: &UdpSocket) -> Answer {
    socket.set_read_timeout(socket.read_timeout()?.or(Some(PATIENCE)))?;
    socket.send(b"?")?;
    let mut buffer = [0; 128];
    let length = socket.recv(&mut buffer)?;
    read(&buffer[..length])
}

pub fn udp(to: &str) -> io::Result<UdpSocket> {
    let to: SocketAddr = to.parse().unwrap();
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(to)?;
    Ok(socket)
}

fn read(text: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(text);
    let (name, peer) = text.trim().split_once(' ').ok_or_else(|| io::Error::other("no answer"))?;
    Ok((name.to_owned(), peer.parse().map_err(io::Error::other)?))
}

/// Waits until it is so.
pub fn until<T>(what: &str, mut is_so: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = is_so() {
            return found;
        }
        assert!(Instant::now() < end, "it never happened: {what}\n{}", shell("nft list ruleset"));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the table has this in it.
pub fn until_rules(contain: &str) {
    until(contain, || {
        let listing = Command::new("nft").args(["list", "table", "inet", "rcrun-agent"]).output().unwrap();
        String::from_utf8_lossy(&listing.stdout).contains(contain).then_some(())
    });
}
