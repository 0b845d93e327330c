//! The node's network and its Pods', for servers and clients of the test itself.

use std::fs::{self, File};
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::cluster::Cluster;
use crate::node::Node;

impl Node {
    /// Does `work` on a thread that is in the node's network, and so are the sockets and programs that it makes.
    pub fn in_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        within(Path::new(&format!("/proc/{}/ns/net", self.pid())), work)
    }
}

impl Cluster {
    /// The same in the network of a Pod.
    pub fn in_pod<T: Send>(&self, name: &str, work: impl FnOnce() -> T + Send) -> T {
        let pod = self.object("pod", name).expect("a Pod");
        let address: IpAddr =
            pod["status"]["podIP"].as_str().expect("an address").parse().expect("an address");
        let all = fs::read_dir(self.node.path("/run/netns")).expect("networks").flatten();
        let is_its = |path: &Path| within(path, || UdpSocket::bind((address, 0)).is_ok());
        let network = all.map(|entry| entry.path()).find(|path| is_its(path));
        within(&network.expect("the Pod's network"), work)
    }
}

/// On a thread that is in this network.
pub fn within<T: Send>(network: &Path, work: impl FnOnce() -> T + Send) -> T {
    let network = File::open(network).expect("a network");
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(network.as_fd(), kind).expect("setns");
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
