//! What went through a Pod's interfaces: its own /proc/net/dev, proc_pid_net(5).

use std::path::Path;

use rcrun::network::{NetworkError, NetworkNamespace};

use super::value;
use crate::api;

/// The interface that the kubelet asks for.
const DEFAULT: &str = "eth0";

/// Counts of the network namespace at `path`; None where it is gone.
pub(super) fn read(path: &Path) -> Result<Option<api::NetworkUsage>, NetworkError> {
    let Some(namespace) = NetworkNamespace::open(path)? else { return Ok(None) };
    // /proc/net is the first thread's.
    let text = namespace.enter(|| std::fs::read_to_string("/proc/thread-self/net/dev"))?;
    Ok(text.ok().map(|text| usage(&text, crate::state::now())))
}

fn usage(text: &str, timestamp: i64) -> api::NetworkUsage {
    let mut interfaces: Vec<_> = text.lines().filter_map(interface).collect();
    interfaces.retain(|interface| interface.name != "lo");
    let default = interfaces.iter().position(|interface| interface.name == DEFAULT);
    let default = default.or(if interfaces.is_empty() { None } else { Some(0) });
    let default_interface = default.map(|index| interfaces.remove(index));
    api::NetworkUsage { timestamp, default_interface, interfaces }
}

/// `eth0: bytes packets errs drop fifo frame compressed multicast` received, then the same sent but for two. The two lines
/// above have no colon, or no numbers.
fn interface(line: &str) -> Option<api::NetworkInterfaceUsage> {
    let (name, numbers) = line.split_once(':')?;
    let numbers: Vec<u64> = numbers.split_whitespace().map_while(|number| number.parse().ok()).collect();
    let [rx_bytes, _, rx_errors, _, _, _, _, _, tx_bytes, _, tx_errors, ..] = numbers[..] else {
        return None;
    };
    Some(api::NetworkInterfaceUsage {
        name: name.trim().to_owned(),
        rx_bytes: value(rx_bytes),
        rx_errors: value(rx_errors),
        tx_bytes: value(tx_bytes),
        tx_errors: value(tx_errors),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Inter-|   Receive                                                |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";

    fn names(usage: &api::NetworkUsage) -> Vec<&str> {
        usage.interfaces.iter().map(|interface| interface.name.as_str()).collect()
    }

    #[test]
    fn lines_of_proc_net_dev_become_interfaces() {
        let line =
            |name: &str, first: u64| format!("{name:>6}: {first} 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n");
        let text =
            [HEAD.to_owned(), line("lo", 1), line("net1", 2), line("eth0", 1000), line("a.7", 3)].concat();
        let found = usage(&text, 4);
        let default = found.default_interface.clone().unwrap();
        assert_eq!((found.timestamp, default.name.as_str()), (4, "eth0"));
        let numbers = [default.rx_bytes, default.rx_errors, default.tx_bytes, default.tx_errors];
        assert_eq!(numbers.map(|number| number.unwrap().value), [1000, 3, 9, 11]);
        assert_eq!(names(&found), ["net1", "a.7"]);
        let other = usage(&[HEAD.to_owned(), line("net1", 2), line("net2", 2)].concat(), 4);
        assert_eq!(other.default_interface.as_ref().unwrap().name, "net1");
        assert_eq!(names(&other), ["net2"]);
        assert_eq!(usage(&[HEAD.to_owned(), line("lo", 1)].concat(), 4).default_interface, None);
    }

    #[test]
    fn this_hosts_own_file_is_understood() {
        let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        assert!(text.lines().filter_map(interface).any(|interface| interface.name == "lo"));
    }
}
