//! What was going on when a command did not end: the processes around it, what each waits for, and their networks' connections, as
//! sockets, conntrack and ARP know them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Of processes, as many as there are in a test's cgroup and not in a machine's.
const MOST: usize = 100;
/// Of /proc/PID/net/tcp: connections that listen, and those that have ended.
const OVER: [&str; 2] = ["0A", "06"];

/// All in the cgroup that the process's cgroup is in; the process alone where that is the machine's.
pub fn around(pid: i32) -> String {
    let own = cgroup(pid);
    let above = Path::new(&own).parent().and_then(Path::to_str).filter(|above| above.len() > 1);
    let is_near = |other: &i32| *other == pid || above.is_some_and(|above| cgroup(*other).starts_with(above));
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let all = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut text = String::new();
    let mut seen = BTreeSet::new();
    for pid in all.filter(is_near).take(MOST) {
        let of = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let state = of("status").lines().find_map(|line| line.strip_prefix("State:\t").map(str::to_owned));
        let (state, line) = (state.unwrap_or_default(), of("cmdline").replace('\0', " "));
        text.push_str(&format!("{pid} {state}, in {}: {line}\n", of("wchan")));
        if fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|network| seen.insert(network)) {
            for connection in [of("net/tcp"), of("net/tcp6")].concat().lines() {
                let fields: Vec<&str> = connection.split_whitespace().take(5).collect();
                if let [_, from, to, state, queues] = fields[..]
                    && !OVER.contains(&state)
                    && state != "st"
                {
                    text.push_str(&format!("  {from} to {to}, state {state}, queues {queues}\n"));
                }
            }
            // Not on every kernel.
            let tracked = of("net/nf_conntrack");
            let unanswered = tracked.lines().filter(|line| line.contains("[UNREPLIED]"));
            let neighbours = of("net/arp");
            for line in unanswered.chain(neighbours.lines().skip(1)).take(MOST) {
                text.push_str(&format!("  {}\n", line.split_whitespace().collect::<Vec<_>>().join(" ")));
            }
        }
    }
    text
}

fn cgroup(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned()
}
