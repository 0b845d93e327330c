//! `bench`: what running a bundle costs, with this and other runtimes.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rcrun::bench::{BenchError, Contender, Report, Schedule, Spawner, measure};
use rcrun::bundle::Bundle;
use rcrun::host;
use serde::Serialize;

use super::create::absolute;
use super::output::{self, Format};
use super::{Command, Context};

const COLUMNS: &str = "\
Columns; times are in milliseconds, in brackets the ratio to the first runtime's:
  n          samples: turns times --parallel
  wall       median of the time from posix_spawn(3) of the runtime to the return of wait4(2) for it
  p90, p99   what 90 and 99 of 100 do not exceed; p99 only from 2,000 samples on
  less true  wall less that of a program that does nothing
  user, system  medians of processor time, of the runtime and what it waited for (ratio: of both together)
  peak       median of the largest resident set of one of these processes, in MiB

All take turns in random order. The bundle's program must end by itself and with status 0.
A runtime is called as PATH --root DIR run --bundle BUNDLE ID; for other options name a script that adds them.
docs/benchmarks.md of the source says more.";

/// Turns that are not counted: files get into the page cache.
const WARM_UP: usize = 2;

/// Flags of `bench`.
#[derive(clap::Args)]
#[command(after_help = COLUMNS)]
pub struct Bench {
    /// Bundle: a directory that holds config.json
    bundle: PathBuf,
    /// Another OCI runtime to measure beside this one, a path or a name in $PATH; may be repeated
    #[arg(long, value_name = "PATH")]
    runtime: Vec<PathBuf>,
    /// Turns of each runtime
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Containers that are started at once in a turn
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    parallel: u32,
    /// Seconds after which a runtime counts as hanging
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u32).range(1..))]
    timeout: u32,
    /// Format of the report
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

impl Command for Bench {
    const NAME: &'static str = "bench";
    const ABOUT: &'static str = "Measure what running a bundle costs, with this runtime and others";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        // First, while this process is small: see the module bench.
        let mut spawner = Spawner::start()?;
        let bundle = absolute(self.bundle)?;
        refuse_terminal(&bundle)?;
        let runtimes = runtimes(&self.runtime)?;
        let bare = host::find_program("true").context("find the program true in $PATH")?;
        let directory = StateDirectory::make(context)?;
        let mut contenders = vec![Contender::program("true", &bare)];
        for (at, (name, path)) in runtimes.iter().enumerate() {
            let root = directory.root(at)?;
            contenders.push(Contender::run(name, path, &root, &bundle));
        }
        let schedule = Schedule {
            count: self.count as usize,
            parallel: self.parallel as usize,
            warm_up: WARM_UP,
            limit: Duration::from_secs(self.timeout.into()),
        };
        let load_before = load();
        measure(&mut spawner, &mut contenders, &schedule)?;
        let document = Document::new(&contenders, &spawner, self.parallel, [load_before, load()]);
        let text = match self.format {
            Format::Table => document.text(),
            Format::Json => output::json_line(&document)?,
        };
        output::print(&text)?;
        Ok(0)
    }
}

/// Nobody is there to make the other end of a console socket, and no stream is a terminal.
fn refuse_terminal(bundle: &Path) -> anyhow::Result<()> {
    let spec = Bundle::open(bundle)?.spec;
    let terminal = spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
    if terminal {
        let config = bundle.join("config.json");
        bail!(
            "{}: process.terminal is true, but a benchmark has no terminal: set it to false",
            config.display()
        );
    }
    Ok(())
}

/// Name and path of each: this one first, then `others`. A name is a file's, or the whole path where two
/// files have the same.
fn runtimes(others: &[PathBuf]) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut paths = vec![own_path()?];
    for given in others {
        let in_path = !given.as_os_str().as_bytes().contains(&b'/');
        let name = given.to_str().filter(|_| in_path);
        let found = match name {
            Some(name) => {
                host::find_program(name).with_context(|| format!("find the runtime {name:?} in $PATH"))?
            }
            None => absolute(given.clone())?,
        };
        paths.push(found);
    }
    let file_name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = |path: &PathBuf| match paths.iter().filter(|other| file_name(other) == file_name(path)).count()
    {
        1 => file_name(path),
        _ => path.display().to_string(),
    };
    let names: Vec<String> = paths.iter().map(name).collect();
    Ok(names.into_iter().zip(paths).collect())
}

/// The path of this program. It has none where it runs from a mount that nobody else sees, because a word
/// of the command is run, create or exec (see the module sealed); then as it was called.
fn own_path() -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe().context("find this program: read /proc/self/exe")?;
    if path.is_file() {
        return Ok(path);
    }
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    match called.to_str().filter(|name| !name.contains('/')) {
        Some(name) => {
            host::find_program(name).with_context(|| format!("find this program, {name:?}, in $PATH"))
        }
        None => absolute(called),
    }
}

/// Where the runtimes keep their state: a directory each, gone with the benchmark.
struct StateDirectory(PathBuf);

impl StateDirectory {
    /// Beside this runtime's own, so that it is on the same file system.
    fn make(context: &Context) -> Result<Self, BenchError> {
        let mut digits = [0; 4];
        rcrun::sys::random(&mut digits);
        let path = context.beside_root(&format!("bench-{:08x}", u32::from_ne_bytes(digits)));
        Self::make_directory(&path)?;
        Ok(Self(path))
    }

    /// One for the runtime of this number.
    fn root(&self, number: usize) -> Result<PathBuf, BenchError> {
        let path = self.0.join(number.to_string());
        Self::make_directory(&path)?;
        Ok(path)
    }

    fn make_directory(path: &Path) -> Result<(), BenchError> {
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mkdir(path, mode).map_err(|errno| BenchError::StateDirectory { path: path.into(), errno })
    }
}

impl Drop for StateDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The whole result.
#[derive(Serialize)]
struct Document {
    kernel: String,
    processors: usize,
    /// Processes that were running or wanted to, before and after: /proc/loadavg's first figure.
    load: [f64; 2],
    parallel: u32,
    /// Peaks below this one cannot be seen.
    spawner_peak_kib: u64,
    #[serde(flatten)]
    report: Report,
    /// Wall time of every sample, in milliseconds, in the order of `rows`.
    wall_ms: Vec<Vec<f64>>,
}

impl Document {
    /// `contenders` begin with `true`.
    fn new(contenders: &[Contender], spawner: &Spawner, parallel: u32, load: [f64; 2]) -> Self {
        let costs: Vec<_> = contenders
            .iter()
            .map(|contender| (contender.name.as_str(), contender.costs[0].as_slice()))
            .collect();
        let milliseconds =
            |costs: &[rcrun::bench::Cost]| costs.iter().map(|cost| cost.wall as f64 / 1e6).collect();
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            load,
            parallel,
            spawner_peak_kib: spawner.peak(),
            report: Report::new(&costs[1..], costs[0].1),
            wall_ms: costs[1..].iter().map(|(_, costs)| milliseconds(costs)).collect(),
        }
    }

    fn text(&self) -> String {
        let Self { kernel, processors, load: [before, after], .. } = self;
        let report = self.report.text();
        format!(
            "{report}Linux {kernel}, {processors} processors, load {before:.2} before and {after:.2} after\n"
        )
    }
}

/// The load of the last minute; 0 where it is not known.
fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default()
}
