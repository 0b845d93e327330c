//! `top`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use hyper::Method;
use serde_json::Value;

use super::client::{Error, Result, with_query};
use super::table::Table;
use super::value::Look as _;
use super::watch::Query;
use super::{Session, Which};
use crate::objects::{Key, Kind};

/// Between two looks, of which the rate of processor time is the difference.
const BETWEEN: Duration = Duration::from_secs(1);

/// `top`.
#[derive(clap::Subcommand, Debug)]
pub enum Top {
    /// What Pods use: processors in thousandths, memory
    #[command(visible_aliases = ["pod", "po"])]
    Pods(Pods),
    /// What this machine uses
    #[command(visible_aliases = ["nodes", "no"])]
    Node(Node),
}

/// `top pods`.
#[derive(clap::Args, Debug)]
pub struct Pods {
    /// Only this Pod
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    which: Which,
    /// Each container by itself
    #[arg(long)]
    containers: bool,
    /// In the order of cpu or memory
    #[arg(long, value_name = "WHAT", value_parser = ["cpu", "memory"])]
    sort_by: Option<String>,
    /// No headings
    #[arg(long)]
    no_headers: bool,
}

/// `top node`.
#[derive(clap::Args, Debug)]
pub struct Node {
    /// No headings
    #[arg(long)]
    no_headers: bool,
}

/// Of a Pod or a container.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Usage {
    milli: u64,
    bytes: u64,
}

impl Top {
    pub async fn run(self, session: &mut Session<'_>) -> Result<()> {
        match self {
            Self::Pods(pods) => pods.run(session).await,
            Self::Node(node) => node.run(session).await,
        }
    }
}

impl Pods {
    fn pods(&self) -> Query {
        let namespace = self.which.namespace_of(Kind::Pod);
        Query { kind: Kind::Pod, namespace, labels: self.which.selector.clone(), fields: String::new() }
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        if self.name.is_some() && !self.which.selector.is_empty() {
            return Err(Error::usage("only one of a name and --selector can be given"));
        }
        let namespace = if self.which.all_namespaces { "" } else { self.which.scope.name() };
        if let Some(name) = &self.name {
            session.client.get(&Key::new(Kind::Pod, namespace, name)).await?;
        }
        let path = with_query("/stats", [("namespace", namespace)]);
        let before = session.client.json(Method::GET, &path, "").await?;
        tokio::time::sleep(BETWEEN).await;
        let after = session.client.json(Method::GET, &path, "").await?;
        let mut running = running(&self.pods().list(&session.client).await?);
        if let Some(name) = &self.name {
            running.retain(|[_, pod, _]| pod == name);
            if running.is_empty() {
                return Err(Error::usage(format!("pod {namespace}/{name} has no containers that run")));
            }
        }
        let mut rows: Vec<([String; 3], Usage)> =
            usages(&before, &after, &running, self.containers).into_iter().collect();
        match self.sort_by.as_deref() {
            Some("cpu") => rows.sort_by_key(|(_, usage)| std::cmp::Reverse(usage.milli)),
            Some(_) => rows.sort_by_key(|(_, usage)| std::cmp::Reverse(usage.bytes)),
            None => {}
        }
        if rows.is_empty() {
            self.which.say_none([Kind::Pod].into_iter());
            return Ok(());
        }
        let mut headings = vec!["NAME", "CPU(cores)", "MEMORY(bytes)"];
        if self.containers {
            headings.splice(..1, ["POD", "NAME"]);
        }
        let mut table = Table::new(&headings);
        for ([_, pod, container], usage) in &rows {
            let mut row = vec![pod.clone()];
            if self.containers {
                row.push(container.clone());
            }
            row.extend([format!("{}m", usage.milli), format!("{}Mi", usage.bytes >> 20)]);
            table.rows.push(row);
        }
        if self.which.all_namespaces {
            table.prepend("NAMESPACE", rows.iter().map(|([namespace, ..], _)| namespace.clone()));
        }
        session.out.write_all(table.text(!self.no_headers, &mut Vec::new()).as_bytes())?;
        Ok(())
    }
}

/// Namespaces, Pods and names of the containers that run: a runtime also counts those that ended.
fn running(pods: &[Value]) -> BTreeSet<[String; 3]> {
    let mut running = BTreeSet::new();
    for pod in pods {
        let of_pod = |container: &Value| {
            let names =
                [pod.text("/metadata/namespace"), pod.text("/metadata/name"), container.text("/name")];
            names.map(str::to_owned)
        };
        for list in ["/status/initContainerStatuses", "/status/containerStatuses"] {
            let running_ones = pod.items(list).iter().filter(|container| container.has("/state/running"));
            running.extend(running_ones.map(of_pod));
        }
    }
    running
}

/// Of two looks; by namespace, Pod and container, or "" for all of a Pod's together.
fn usages(
    before: &Value,
    after: &Value,
    running: &BTreeSet<[String; 3]>,
    by_container: bool,
) -> BTreeMap<[String; 3], Usage> {
    let earlier: BTreeMap<&str, &Value> =
        before.items("/containers").iter().map(|container| (container.text("/id"), container)).collect();
    let mut usages: BTreeMap<[String; 3], Usage> = BTreeMap::new();
    for now in after.items("/containers") {
        let Some(then) = earlier.get(now.text("/id")) else { continue };
        let span = now.number("/cpuAt") - then.number("/cpuAt");
        let used = now.number("/cpuNanoseconds") - then.number("/cpuNanoseconds");
        let mut key = [now.text("/namespace"), now.text("/pod"), now.text("/container")].map(str::to_owned);
        if !running.contains(&key) {
            continue;
        }
        if !by_container {
            key[2].clear();
        }
        let usage = usages.entry(key).or_default();
        // A runtime may answer with what it saw a while ago: then there is no rate.
        let milli = if span > 0 && used > 0 { i128::from(used) * 1000 / i128::from(span) } else { 0 };
        usage.milli += u64::try_from(milli).unwrap_or_default();
        usage.bytes += u64::try_from(now.number("/memoryBytes")).unwrap_or_default();
    }
    usages
}

impl Node {
    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let before = busy_and_all(&fs::read_to_string("/proc/stat")?);
        tokio::time::sleep(BETWEEN).await;
        let after = busy_and_all(&fs::read_to_string("/proc/stat")?);
        let (used, total) = memory(&fs::read_to_string("/proc/meminfo")?);
        let (busy, all) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1).max(1));
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let milli = busy * cores * 1000 / all;
        let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
        let mut table = Table::new(&["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]);
        table.rows.push(vec![
            name,
            format!("{milli}m"),
            format!("{}%", busy * 100 / all),
            format!("{}Mi", used >> 10),
            format!("{}%", used * 100 / total.max(1)),
        ]);
        session.out.write_all(table.text(!self.no_headers, &mut Vec::new()).as_bytes())?;
        Ok(())
    }
}

/// Ticks of all processors together, of /proc/stat: those with work, and all.
fn busy_and_all(stat: &str) -> (u64, u64) {
    let line = stat.lines().next().unwrap_or_default();
    // Guests' time is in users' already: user nice system idle iowait irq softirq steal.
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).take(8).map(|ticks| ticks.parse().unwrap_or(0)).collect();
    let all: u64 = ticks.iter().sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    (all - idle, all)
}

/// KiB in use and in all, of /proc/meminfo.
fn memory(meminfo: &str) -> (u64, u64) {
    let of = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    let total = of("MemTotal:");
    (total.saturating_sub(of("MemAvailable:")), total)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rates_are_differences() {
        let look = |at: u64, used: u64| {
            let of = |id: &str, used: u64| {
                json!({"id": id, "namespace": "n", "pod": "p", "container": id,
                    "cpuAt": at, "cpuNanoseconds": used, "memoryBytes": 3 << 20})
            };
            json!({"containers": [of("a", used), of("b", 2 * used)]})
        };
        let key = |container: &str| ["n", "p", container].map(str::to_owned);
        let running = BTreeSet::from([key("a"), key("b")]);
        let (before, after) = (look(1_000_000_000, 0), look(2_000_000_000, 100_000_000));
        let pods = usages(&before, &after, &running, false);
        assert_eq!(pods, [(key(""), Usage { milli: 300, bytes: 6 << 20 })].into());
        let containers = usages(&look(1, 5), &look(1, 5), &running, true);
        assert_eq!(containers.get(&key("b")), Some(&Usage { milli: 0, bytes: 3 << 20 }));
    }

    #[test]
    fn only_containers_that_run_are_counted() {
        let status = |name: &str, state: &str| json!({"name": name, "state": {state: {}}});
        let pod = |name: &str, init: Value, main: Value| {
            json!({"metadata": {"namespace": "n", "name": name},
                "status": {"initContainerStatuses": [init], "containerStatuses": [main]}})
        };
        let multi = pod("multi", status("init", "terminated"), status("main", "running"));
        let crashed = pod("crashed", status("side", "terminated"), status("main", "waiting"));
        let running = running(&[multi, crashed]);
        assert_eq!(running, [["n", "multi", "main"].map(str::to_owned)].into());
        let look = json!({"containers": [
            {"id": "1", "namespace": "n", "pod": "multi", "container": "init", "memoryBytes": 1 << 20},
            {"id": "2", "namespace": "n", "pod": "multi", "container": "main", "memoryBytes": 2 << 20},
            {"id": "3", "namespace": "n", "pod": "crashed", "container": "main"}]});
        let usages: Vec<_> = usages(&look, &look, &running, false).into_values().collect();
        assert_eq!(usages, [Usage { milli: 0, bytes: 2 << 20 }]);
    }

    #[test]
    fn the_machine_s_files() {
        assert_eq!(busy_and_all("cpu  10 0 5 80 5 0 0 0 3 0\ncpu0 1"), (15, 100));
        assert_eq!(memory("MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    400 kB\n"), (600, 1000));
    }
}
