//! What Pods cost while nothing happens.

use std::fs;
use std::time::Duration;

use super::node::Node;

/// KiB of a Pod, of so many, in processes that are the runtime's.
pub fn of_pods(node: &mut Node, count: usize, containers: bool) -> anyhow::Result<f64> {
    settle();
    let before = pss(&node.processes);
    let mut pods = Vec::new();
    for number in 0..count {
        let pod = node.run_pod(&format!("idle-{number}-{containers}"))?;
        if containers {
            node.run_container(&pod, "c")?;
        }
        pods.push(pod);
    }
    settle();
    let cost = pss(&node.processes).saturating_sub(before) as f64 / count as f64;
    pods.iter().try_for_each(|pod| node.remove_pod(pod))?;
    Ok(cost)
}

/// Threads that are not needed any more end, and memory is given back.
fn settle() {
    std::thread::sleep(Duration::from_secs(4));
}

/// Sum over all processes of these names, proc_pid_smaps_rollup; in KiB.
fn pss(names: &[String]) -> u64 {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let directories = processes.map(|entry| entry.path());
    let of = |path: std::path::PathBuf| {
        let name = fs::read_to_string(path.join("comm")).ok()?;
        // comm has room for 15 bytes.
        names.iter().find(|wanted| name.trim() == &wanted[..wanted.len().min(15)])?;
        let rollup = fs::read_to_string(path.join("smaps_rollup")).ok()?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()
    };
    directories.filter_map(of).sum()
}
