//! What is measured, case by case.

use std::ffi::CString;
use std::time::Duration;

use anyhow::Context;
use rcrun::bench::{BenchError, Contender, Cost, Schedule, Step, TurnError, Word, measure};

use crate::probe::Probe;
use crate::runtimes::{Runtime, bare};
use crate::{Amount, Bench, alive, bundles, idmap, syscalls};

/// How long any command may take, in a full and in a quick benchmark; a runtime that takes longer hangs.
const LIMITS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(5)];

/// One of them.
pub struct Case {
    /// Its word in file names and in results.json.
    pub name: &'static str,
    /// Its line in the report.
    pub title: &'static str,
    /// Is it part of `make bench-quick`?
    pub quick: bool,
    /// Measures it.
    pub run: fn(&mut Bench) -> anyhow::Result<Outcome>,
}

/// What came out.
#[derive(Default)]
pub struct Outcome {
    /// One table each.
    pub series: Vec<Series>,
    /// Lines below the tables.
    pub notes: Vec<String>,
    /// Did the contenders not take turns? Noise differs then, and a ratio between them says little.
    pub one_by_one: bool,
}

/// The costs of one thing.
pub struct Series {
    /// What it is, where a case has several.
    pub title: String,
    /// Who, and what it cost; the first is whom the others are compared with.
    pub contenders: Vec<(String, Vec<Cost>)>,
    /// What `true` cost meanwhile.
    pub bare: Vec<Cost>,
}

/// In the order in which they run.
pub const CASES: &[Case] = &[
    Case { name: "default", title: "run true, runc's default configuration", quick: true, run: default },
    Case {
        name: "seccomp",
        title: "the same with podman's default seccomp profile",
        quick: true,
        run: seccomp,
    },
    Case { name: "network", title: "the same, joining a network namespace", quick: false, run: network },
    Case {
        name: "user",
        title: "the same with a user namespace, its root file system id-mapped",
        quick: false,
        run: user,
    },
    Case { name: "mounts", title: "the same with 40 bind mounts more", quick: false, run: mounts },
    Case {
        name: "steps",
        title: "create, start and delete --force of a container that sleeps",
        quick: true,
        run: steps,
    },
    Case { name: "exec", title: "exec of true in a running container", quick: true, run: exec },
    Case {
        name: "sequential",
        title: "100 runs of one runtime, then of the next",
        quick: false,
        run: sequential,
    },
    Case { name: "parallel", title: "32 runs at once", quick: true, run: parallel },
    Case {
        name: "alive",
        title: "run true beside containers of the same runtime that are alive, one runtime after the other",
        quick: false,
        run: alive::run,
    },
];

fn default(bench: &mut Bench) -> anyhow::Result<Outcome> {
    let floor = bench.floor.contender();
    runs(bench, "default", vec![floor], [300, 40])
}

fn seccomp(bench: &mut Bench) -> anyhow::Result<Outcome> {
    if !bench.bundles.join("seccomp").exists() {
        return Ok(Outcome::left_out(
            "podman's profile is missing (package golang-github-containers-common)",
        ));
    }
    runs(bench, "seccomp", Vec::new(), [300, 25])
}

fn network(bench: &mut Bench) -> anyhow::Result<Outcome> {
    idmap::make_network(bundles::NETWORK)?;
    let outcome = runs(bench, "network", Vec::new(), [300, 25]);
    rustix::mount::unmount(bundles::NETWORK, rustix::mount::UnmountFlags::DETACH)
        .context("unmount the network")?;
    outcome
}

fn user(bench: &mut Bench) -> anyhow::Result<Outcome> {
    let root = bench.bundles.join("user/rootfs");
    idmap::mount(&bench.floor.root, &root)?;
    let outcome = runs(bench, "user", Vec::new(), [300, 25]);
    rustix::mount::unmount(&root, rustix::mount::UnmountFlags::DETACH)
        .context("unmount the root file system")?;
    outcome
}

fn mounts(bench: &mut Bench) -> anyhow::Result<Outcome> {
    runs(bench, "mounts", Vec::new(), [300, 25])
}

fn steps(bench: &mut Bench) -> anyhow::Result<Outcome> {
    let bundle = bench.bundles.join("sleep");
    let bundle = bundle.to_str().context("a path in UTF-8")?;
    let contender = |runtime: &Runtime| {
        let words: [&[&str]; 3] = [&["create", "--bundle", bundle], &["start"], &["delete", "--force"]];
        runtime.contender(words.iter().map(|words| runtime.step(words, true)).collect())
    };
    let mut contenders: Vec<Contender> = bench.runtimes.iter().map(contender).collect();
    turns(bench, &mut contenders, &["create", "start", "delete --force"], &schedule(bench, [300, 15]))
}

fn exec(bench: &mut Bench) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let bundle = bench.bundles.join("sleep");
    let bundle = bundle.to_str().context("a path in UTF-8")?;
    let mut contenders = Vec::new();
    for runtime in bench.runtimes.clone() {
        let id = sleeper(&runtime);
        match once(bench, &runtime.command_on(&["run", "--detach", "--bundle", bundle], &id, &[]))? {
            Ok(()) => {
                let words = runtime.command_on(&["exec"], &id, &["/bin/true"]);
                contenders.push(Contender::new(&runtime.name, vec![Step { words, measured: true }], None));
            }
            Err(error) => outcome.notes.push(format!("{} is left out: {error}", runtime.name)),
        }
    }
    let measured = turns(bench, &mut contenders, &[""], &schedule(bench, [300, 40]));
    for runtime in bench.runtimes.clone() {
        // Nothing is there of who was left out.
        let _ = once(bench, &runtime.command_on(&["delete", "--force"], &sleeper(&runtime), &[]))?;
    }
    let measured = measured?;
    outcome.series = measured.series;
    outcome.notes.extend(measured.notes);
    Ok(outcome)
}

/// The container of the case `exec`: runtimes name cgroups after ids.
fn sleeper(runtime: &Runtime) -> String {
    format!("exec-{}", runtime.name)
}

/// What each leaves to be torn down in the background is paid for by its own next run.
fn sequential(bench: &mut Bench) -> anyhow::Result<Outcome> {
    let bundle = bench.bundles.join("default");
    let mut contenders: Vec<Contender> = bench.runtimes.iter().map(|runtime| runtime.run(&bundle)).collect();
    contenders.insert(1, bench.floor.contender());
    let mut outcome = Outcome { one_by_one: true, ..Outcome::default() };
    let mut bare = vec![bare()];
    let schedule = Schedule { warm_up: 2, ..schedule(bench, [100, 10]) };
    measure(&mut bench.spawner, &mut bare, &schedule)?;
    let mut series = Series { title: String::new(), contenders: Vec::new(), bare: bare[0].costs[0].clone() };
    for contender in &mut contenders {
        match measure(&mut bench.spawner, std::slice::from_mut(contender), &schedule) {
            Ok(()) => {
                let costs = contender.costs[0].clone();
                let seconds: f64 = costs.iter().map(|cost| cost.wall as f64 / 1e9).sum();
                outcome.notes.push(format!("{}: {} runs in {seconds:.2} s", contender.name, costs.len()));
                series.contenders.push((contender.name.clone(), costs));
            }
            Err(error) => outcome.notes.push(left_out(contender, error)?),
        }
    }
    outcome.series.push(series);
    Ok(outcome)
}

fn parallel(bench: &mut Bench) -> anyhow::Result<Outcome> {
    let bundle = bench.bundles.join("default");
    let mut contenders: Vec<Contender> = bench.runtimes.iter().map(|runtime| runtime.run(&bundle)).collect();
    contenders.insert(1, bench.floor.contender());
    let schedule = Schedule { parallel: 32, warm_up: 1, ..schedule(bench, [70, 2]) };
    let mut outcome = turns(bench, &mut contenders, &[""], &schedule)?;
    // Apart from the figures above, which a bystander would disturb.
    let schedule = Schedule { count: 2, warm_up: 0, ..schedule };
    for contender in &mut contenders {
        let probe = Probe::start();
        let measured = measure(&mut bench.spawner, std::slice::from_mut(contender), &schedule);
        let noticed = probe.stop();
        if measured.is_ok() {
            let stall = noticed.stall.as_secs_f64() * 1e3;
            let Contender { name, .. } = contender;
            outcome.notes.push(format!(
                "{name}: at most {} lines of mountinfo, read in at most {stall:.1} ms",
                noticed.mounts
            ));
        }
    }
    Ok(outcome)
}

/// Turns, in full and in a quick benchmark.
pub fn schedule(bench: &Bench, [full, quick]: [usize; 2]) -> Schedule {
    match bench.amount {
        Amount::Full => Schedule { count: full, parallel: 1, warm_up: 5, limit: LIMITS[0] },
        Amount::Quick => Schedule { count: quick, parallel: 1, warm_up: 1, limit: LIMITS[1] },
    }
}

/// `run` of the bundle `name` by every runtime, beside `others`, and the system calls of each.
fn runs(
    bench: &mut Bench,
    name: &str,
    others: Vec<Contender>,
    counts: [usize; 2],
) -> anyhow::Result<Outcome> {
    let bundle = bench.bundles.join(name);
    let mut contenders: Vec<Contender> = bench.runtimes.iter().map(|runtime| runtime.run(&bundle)).collect();
    contenders.extend(others);
    let mut outcome = turns(bench, &mut contenders, &[""], &schedule(bench, counts))?;
    let calls = |contender: &Contender| match syscalls::count(contender) {
        Some(calls) => format!("{} {calls}", contender.name),
        None => format!("{} -", contender.name),
    };
    let counted: Vec<String> = contenders.iter().map(calls).collect();
    outcome.notes.push(format!("system calls, of all processes: {}", counted.join(", ")));
    Ok(outcome)
}

/// Interleaved turns; each measured step, named by `titles`, is a series. Who fails alone beforehand, or among
/// the others, is taken out of `contenders`.
pub fn turns(
    bench: &mut Bench,
    contenders: &mut Vec<Contender>,
    titles: &[&str],
    schedule: &Schedule,
) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut taking_part = vec![bare()];
    for mut contender in contenders.drain(..) {
        let once = Schedule { count: 1, warm_up: 0, parallel: 1, ..*schedule };
        match measure(&mut bench.spawner, std::slice::from_mut(&mut contender), &once) {
            Ok(()) => taking_part.push(contender),
            Err(error) => outcome.notes.push(left_out(&contender, error)?),
        }
    }
    loop {
        taking_part.iter_mut().flat_map(|contender| &mut contender.costs).for_each(Vec::clear);
        match measure(&mut bench.spawner, &mut taking_part, schedule) {
            Ok(()) => break,
            Err(error) if error.contender == 0 => return Err(error.into()),
            Err(error) => {
                let failed = taking_part.remove(error.contender);
                outcome.notes.push(left_out(&failed, error)?);
            }
        }
    }
    let bare = taking_part.remove(0);
    for (at, title) in titles.iter().enumerate() {
        let costs = |contender: &Contender| (contender.name.clone(), contender.costs[at].clone());
        outcome.series.push(Series {
            title: (*title).to_owned(),
            contenders: taking_part.iter().map(costs).collect(),
            bare: bare.costs[0].clone(),
        });
    }
    *contenders = taking_part;
    Ok(outcome)
}

/// What is said of who failed; the end of it all where that is no runtime's fault.
fn left_out(contender: &Contender, failed: TurnError) -> anyhow::Result<String> {
    match failed.error {
        error @ (BenchError::Failed { .. } | BenchError::TimedOut { .. }) => {
            Ok(format!("{} is left out: {error}", contender.name))
        }
        error => Err(error).with_context(|| contender.name.clone()),
    }
}

/// Runs a command that is not measured; the inner error is the runtime's.
pub fn once(bench: &mut Bench, words: &[Word]) -> anyhow::Result<Result<(), String>> {
    let text = |word: &Word| match word {
        Word::Text(text) => Some(text.clone()),
        Word::Id => None,
    };
    let command: Vec<CString> = words.iter().filter_map(text).collect();
    let ended = match bench.spawner.run(&[command], LIMITS[0]) {
        Err(error @ BenchError::TimedOut { .. }) => return Ok(Err(error.to_string())),
        ended => ended?,
    };
    Ok(match ended[0].status {
        Ok(0) => Ok(()),
        Ok(status) => Err(format!("status {status:#x}: {}", bench.spawner.complaint().unwrap_or_default())),
        Err(errno) => Err(errno.to_string()),
    })
}

impl Outcome {
    /// Of a case that cannot be measured.
    pub fn left_out(why: &str) -> Self {
        Self { notes: vec![format!("left out: {why}")], ..Self::default() }
    }
}
