//! Start latency as a function of how many containers of the same runtime are alive.

use anyhow::Context;
use rcrun::bench::Contender;

use crate::Bench;
use crate::cases::{Outcome, Series, once, schedule, turns};
use crate::runtimes::Runtime;

/// How many are alive.
const LEVELS: [usize; 4] = [0, 100, 500, 1000];
/// Runs at each level, in a full and in a quick benchmark.
const COUNTS: [usize; 2] = [100, 10];

/// One series for each level, and how the medians grow. The runtimes come one after the other, for a thousand containers
/// of each are too many at once; the floor runs among those of the first runtime, and shows what the kernel's part is.
pub fn run(bench: &mut Bench) -> anyhow::Result<Outcome> {
    let series =
        |level: &usize| Series { title: format!("{level} alive"), contenders: Vec::new(), bare: Vec::new() };
    let series = LEVELS.iter().map(series).collect();
    let mut outcome = Outcome { series, one_by_one: true, ..Outcome::default() };
    for (at, runtime) in bench.runtimes.clone().iter().enumerate() {
        let mut alive = 0;
        let measured = levels(bench, runtime, at == 0, &mut alive, &mut outcome)?;
        for number in 0..alive {
            if let Err(error) =
                once(bench, &runtime.command_on(&["delete", "--force"], &name(runtime, number), &[]))?
            {
                outcome.notes.push(format!("{}: delete: {error}", runtime.name));
            }
        }
        if let Err(error) = measured {
            outcome.notes.push(format!("{} is left out from there on: {error}", runtime.name));
        }
    }
    outcome.series.retain(|series| !series.contenders.is_empty());
    let growth = growth(&outcome.series);
    outcome.notes.extend(growth);
    Ok(outcome)
}

fn name(runtime: &Runtime, number: usize) -> String {
    format!("alive-{}-{number}", runtime.name)
}

fn levels(
    bench: &mut Bench,
    runtime: &Runtime,
    with_floor: bool,
    alive: &mut usize,
    outcome: &mut Outcome,
) -> anyhow::Result<Result<(), String>> {
    let sleeping = bench.bundles.join("sleep");
    let sleeping = sleeping.to_str().context("a path in UTF-8")?;
    for (level, series) in LEVELS.iter().zip(&mut outcome.series) {
        while *alive < *level {
            let run = ["run", "--detach", "--bundle", sleeping];
            if let Err(error) = once(bench, &runtime.command_on(&run, &name(runtime, *alive), &[]))? {
                return Ok(Err(error));
            }
            *alive += 1;
        }
        let mut contenders: Vec<Contender> = vec![runtime.run(&bench.bundles.join("default"))];
        contenders.extend(with_floor.then(|| bench.floor.contender()));
        let schedule = schedule(bench, COUNTS);
        let measured = turns(bench, &mut contenders, &[""], &schedule)?;
        outcome.notes.extend(measured.notes);
        for measured in measured.series {
            series.contenders.extend(measured.contenders);
            series.bare.extend(measured.bare);
        }
    }
    Ok(Ok(()))
}

/// Medians at each level divided by those at the first.
fn growth(series: &[Series]) -> Vec<String> {
    let Some(first) = series.first() else { return Vec::new() };
    let median = |series: &Series, name: &str| {
        let found = series.contenders.iter().find(|(other, _)| other == name);
        found.map(|(_, costs)| rcrun::bench::Summary::of(costs).wall_ms.median)
    };
    let line = |(name, _): &(String, Vec<_>)| {
        let begin = median(first, name)?;
        let grown = series.iter().filter_map(|series| Some(format!("{:.2}", median(series, name)? / begin)));
        Some(format!("{name}: medians grow by {}", grown.collect::<Vec<_>>().join(", ")))
    };
    first.contenders.iter().filter_map(line).collect()
}
