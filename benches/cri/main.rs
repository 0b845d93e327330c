//! What a kubelet waits for: `cri [--quick] IMAGE NAME=SOCKET=PROCESS[,PROCESS]...`, for benches/cri/run.
//!
//! The same client asks each runtime in turn, the order changing with each round: a Pod and a container until it runs, a
//! command in it, and both away again. Then the memory that Pods cost: PSS of the processes called PROCESS, with Pods less without,
//! the containers' own processes left out. The first runtime is the one that the others are compared with.
//!
//! Called as `runc-without-limits` it is an OCI runtime that leaves `linux.resources` out and then executes /run/bench/runc: containerd
//! always asks for cpu shares, and a host without that controller could run none of its Pods.

mod memory;
mod node;
mod without_limits;

use std::time::Instant;

use anyhow::{Context as _, bail};

use node::Node;

/// Rounds whose times count, after two that do not.
const ROUNDS: (usize, usize) = (40, 8);
/// Pods at once for the memory's measurement.
const PODS: (usize, usize) = (30, 8);

const STEPS: [&str; 3] = ["run pod + create + start", "ExecSync", "stop pod + remove"];

fn main() -> anyhow::Result<()> {
    let mut words: Vec<String> = std::env::args().collect();
    if words[0].ends_with("runc-without-limits") {
        return without_limits::execute(&words[1..]);
    }
    let quick = words.iter().any(|word| word == "--quick");
    words.retain(|word| word != "--quick");
    let [_, image, runtimes @ ..] = words.as_slice() else {
        bail!("usage: cri [--quick] IMAGE NAME=SOCKET=PROCESS,...")
    };
    let (rounds, pods) = if quick { (ROUNDS.1, PODS.1) } else { (ROUNDS.0, PODS.0) };
    let mut nodes =
        runtimes.iter().map(|word| Node::connect(word, image)).collect::<anyhow::Result<Vec<_>>>()?;
    if nodes.is_empty() {
        bail!("no runtime given");
    }
    let mut times = vec![[const { Vec::new() }; STEPS.len()]; nodes.len()];
    for round in 0..rounds + 2 {
        for turn in 0..nodes.len() {
            let number = (round + turn) % nodes.len();
            let taken = once(&mut nodes[number], round)?;
            if round >= 2 {
                for (all, time) in times[number].iter_mut().zip(taken) {
                    all.push(time);
                }
            }
        }
    }
    println!("Medians of {rounds} rounds in ms, in brackets the ratio of {} to it.", nodes[0].name);
    for (step, title) in STEPS.into_iter().enumerate() {
        let medians: Vec<f64> = times.iter_mut().map(|times| median(&mut times[step])).collect();
        line(title, &nodes, &medians);
    }
    println!("Memory in KiB for each of {pods} Pods, PSS of all processes that are not the containers'.");
    for (title, containers) in [("idle Pod", false), ("Pod with an idle container", true)] {
        let costs = nodes
            .iter_mut()
            .map(|node| memory::of_pods(node, pods, containers))
            .collect::<anyhow::Result<Vec<_>>>()?;
        line(title, &nodes, &costs);
    }
    Ok(())
}

/// One Pod's life; how long each of [`STEPS`] took, in milliseconds.
fn once(node: &mut Node, round: usize) -> anyhow::Result<[f64; STEPS.len()]> {
    let name = format!("round-{round}");
    let (begin, pod) = (Instant::now(), node.run_pod(&name)?);
    let container = node.run_container(&pod, "c")?;
    let up = begin.elapsed();
    let begin = Instant::now();
    node.exec(&container)?;
    let exec = begin.elapsed();
    let begin = Instant::now();
    node.remove_pod(&pod).with_context(|| format!("remove {name}"))?;
    Ok([up, exec, begin.elapsed()].map(|time| time.as_secs_f64() * 1000.0))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn line(title: &str, nodes: &[Node], values: &[f64]) {
    let columns = nodes.iter().zip(values).enumerate().map(|(number, (node, value))| match number {
        0 => format!("{} {value:.1}", node.name),
        _ => format!("{} {value:.1} ({:.3})", node.name, values[0] / value),
    });
    println!("{title:28} {}", columns.collect::<Vec<_>>().join("  "));
}
