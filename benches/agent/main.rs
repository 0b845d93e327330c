//! What the agent adds to its runtime: `agent [--quick] IMAGE CRI-SOCKET AGENT AGENT-SOCKET AGENT-PID`, for benches/agent/run.
//!
//! In turn: a Pod by the CRI's bare calls until its container runs, and a Pod by `rcrun-agent apply` until a watcher hears that it does.
//! Then many Pods applied at once: how long until all run, the agent's resident memory at most and after, its processor time while
//! nothing happens.

#[path = "../cri/node.rs"]
#[allow(dead_code)]
mod node;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use node::Node;

/// Rounds whose times count, after two that do not.
const ROUNDS: (usize, usize) = (40, 8);
/// Pods at once.
const PODS: (usize, usize) = (100, 20);
/// Before each Pod: the kernel goes on for a while with the end of the one before.
const PAUSE: Duration = Duration::from_millis(100);
/// Seconds without anything to do.
const IDLE: (u64, u64) = (60, 5);

struct Agent {
    program: String,
    socket: String,
    pid: i32,
    image: String,
}

fn main() -> anyhow::Result<()> {
    let mut words: Vec<String> = std::env::args().collect();
    let quick = words.iter().any(|word| word == "--quick");
    words.retain(|word| word != "--quick");
    let [_, image, cri, program, socket, pid] = words.as_slice() else {
        bail!("usage: agent [--quick] IMAGE CRI-SOCKET AGENT AGENT-SOCKET AGENT-PID")
    };
    let mut node = Node::connect(&format!("rcrun={cri}=rcrun-cri"), image)?;
    let agent =
        Agent { program: program.clone(), socket: socket.clone(), pid: pid.parse()?, image: image.clone() };
    let rounds = if quick { ROUNDS.1 } else { ROUNDS.0 };
    let (mut bare, mut applied) = (Vec::new(), Vec::new());
    for round in 0..rounds + 2 {
        let (by_calls, by_agent) = match round % 2 {
            0 => (by_calls(&mut node, round)?, agent.one(round)?),
            _ => {
                let by_agent = agent.one(round)?;
                (by_calls(&mut node, round)?, by_agent)
            }
        };
        if round >= 2 {
            bare.push(by_calls);
            applied.push(by_agent);
        }
    }
    let (bare, applied) = (median(&mut bare), median(&mut applied));
    println!("Medians of {rounds} rounds in ms, in brackets the ratio to the bare calls.");
    println!("run pod + create + start     {bare:.1}");
    println!("rcrun-agent apply to Running {applied:.1} ({:.2})", applied / bare);
    agent.many(if quick { PODS.1 } else { PODS.0 }, Duration::from_secs(if quick { IDLE.1 } else { IDLE.0 }))
}

/// In milliseconds.
fn by_calls(node: &mut Node, round: usize) -> anyhow::Result<f64> {
    std::thread::sleep(PAUSE);
    let begin = Instant::now();
    let pod = node.run_pod(&format!("bare-{round}"))?;
    node.run_container(&pod, "c")?;
    let time = begin.elapsed();
    node.remove_pod(&pod)?;
    Ok(time.as_secs_f64() * 1000.0)
}

impl Agent {
    fn manifest(&self, name: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 0\n  \
             containers:\n  - {{name: c, image: {}, command: [sleep, '1000000']}}\n",
            self.image
        )
    }

    fn apply(&self, manifests: &str) -> anyhow::Result<()> {
        let file = "/run/bench/manifests.yaml";
        std::fs::write(file, manifests)?;
        self.verb(&["apply", "-f", file])
    }

    fn verb(&self, words: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        let output = command
            .args(["--socket", &self.socket])
            .args(words)
            .output()
            .context("start the agent's program")?;
        ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Lines of JSON, one a change of a Pod; those that are there come first.
    fn watch(&self) -> anyhow::Result<impl Iterator<Item = String> + use<>> {
        let mut stream = UnixStream::connect(&self.socket).context(self.socket.clone())?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(b"GET /api/v1/namespaces/default/pods?watch=1 HTTP/1.1\r\nHost: agent\r\n\r\n")?;
        Ok(BufReader::new(stream).lines().map_while(Result::ok).filter(|line| line.starts_with('{')))
    }

    /// From the program's start to the news that the Pod runs, in milliseconds.
    fn one(&self, round: usize) -> anyhow::Result<f64> {
        let name = format!("applied-{round}");
        let mut watch = self.watch()?;
        std::thread::sleep(PAUSE);
        let begin = Instant::now();
        self.apply(&self.manifest(&name))?;
        watch.find(|line| runs(line, &name)).context("the watch ended")?;
        let time = begin.elapsed();
        self.verb(&["delete", "pod", &name, "--now"])?;
        Ok(time.as_secs_f64() * 1000.0)
    }

    fn many(&self, pods: usize, idle: Duration) -> anyhow::Result<()> {
        let names: Vec<_> = (0..pods).map(|number| format!("many-{number}")).collect();
        let manifests: Vec<_> = names.iter().map(|name| self.manifest(name)).collect();
        let watch = self.watch()?;
        let begin = Instant::now();
        self.apply(&manifests.join("---\n"))?;
        let mut waiting: Vec<_> = names.iter().collect();
        for line in watch {
            waiting.retain(|name| !runs(&line, name));
            if waiting.is_empty() {
                break;
            }
        }
        ensure!(waiting.is_empty(), "{} of {pods} Pods do not run", waiting.len());
        println!("{pods} Pods applied at once run after {:.2} s", begin.elapsed().as_secs_f64());
        let before = self.processor_ticks()?;
        std::thread::sleep(idle);
        let ticks = self.processor_ticks()? - before;
        let share = ticks as f64 / rustix::param::clock_ticks_per_second() as f64 / idle.as_secs_f64();
        println!("idle with them: {:.2} % of a core", share * 100.0);
        println!("resident: {:.1} MiB, at most {:.1} MiB", self.status("VmRSS:")?, self.status("VmHWM:")?);
        self.verb(&["delete", "pods", "--all", "--now"])
    }

    /// A line of /proc/PID/status, in MiB.
    fn status(&self, name: &str) -> anyhow::Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }

    fn processor_ticks(&self) -> anyhow::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let (_, rest) = text.rsplit_once(") ").context("no stat")?;
        let fields: Vec<u64> = rest.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(fields.iter().sum())
    }
}

fn runs(line: &str, name: &str) -> bool {
    line.contains(&format!("\"name\":\"{name}\"")) && line.contains("\"phase\":\"Running\"")
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
