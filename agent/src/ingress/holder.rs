//! Who listens on a port: for errors that say so.

use std::fs;
use std::path::Path;

/// A program that listens on a TCP port: `nginx, process 17`. None: nobody does, or it is in a place that cannot be looked into.
pub fn of_port(port: u16) -> Option<String> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| inodes(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    let mut processes = fs::read_dir("/proc").ok()?.filter_map(|entry| {
        let entry = entry.ok()?;
        entry.file_name().to_str()?.parse::<u32>().ok().map(|pid| (pid, entry.path()))
    });
    let (pid, path) = processes.find(|(_, path)| holds(path, &sockets))?;
    let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
    Some(format!("{}, process {pid}", name.trim()))
}

fn holds(process: &Path, sockets: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|link| link.to_str().is_some_and(|link| sockets.iter().any(|socket| socket == link)))
}

/// Of /proc/net/tcp (proc_net(5)): sockets in state 0A, which is LISTEN.
fn inodes(table: &str, port: u16) -> Vec<String> {
    let ends = format!(":{port:04X}");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listening =
        lines.filter(|fields| fields.len() > 9 && fields[3] == "0A" && fields[1].ends_with(&ends));
    listening.map(|fields| fields[9].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_port_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let holder = of_port(port).expect("somebody");
        assert!(holder.ends_with(&format!(", process {}", std::process::id())), "{holder}");
        drop(listener);
        assert_eq!(of_port(port), None);
    }
}
