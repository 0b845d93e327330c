//! `make bench`: what rcrun, its peers and the floor cost, case by case, in one run.
//!
//! `harness OUT FLOOR [--quick] [--images LAYOUTS] [CASE]... NAME=PATH...`: the first runtime is the one that the others are compared with;
//! without CASEs all are measured, or those that are quick.
//! Runs as root in benches/enter's view; with --images, which is for the cases of images, in that of tests/clients/enter. OUT gets the bundles, results.json and a picture for each case.
//! A runtime that fails a case is left out of it, with its error; everything else that fails ends it all.

mod alive;
mod bundles;
mod cases;
mod idmap;
mod images;
mod probe;
mod results;
mod runtimes;
mod same;
mod svg;
mod syscalls;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use rcrun::bench::Spawner;

use crate::results::Results;
use crate::runtimes::{Floor, Runtime};

/// How much is measured: all of it, or what fits a minute.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// `make bench`.
    Full,
    /// `make bench-quick`.
    Quick,
}

/// What all cases work with.
pub struct Bench {
    /// Starts everything that is measured.
    pub spawner: Spawner,
    /// The first is the one that the others are compared with.
    pub runtimes: Vec<Runtime>,
    /// The kernel's own bill.
    pub floor: Floor,
    /// Where the bundles are.
    pub bundles: PathBuf,
    /// How much is measured.
    pub amount: Amount,
    /// Where the images are, for the cases of images.
    pub images: Option<images::Images>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("harness: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    // First, while this process is small.
    let spawner = Spawner::start()?;
    let mut words = std::env::args_os().skip(1);
    let mut layouts = None;
    let (Some(out), Some(floor)) = (words.next(), words.next()) else {
        bail!("usage: harness OUT FLOOR [--quick] [--images LAYOUTS] [CASE]... NAME=PATH...")
    };
    let (out, mut amount) = (PathBuf::from(out), Amount::Full);
    let (mut runtimes, mut chosen) = (Vec::new(), Vec::new());
    while let Some(word) = words.next() {
        let word = word.to_str().context("arguments must be UTF-8")?;
        match word.split_once('=') {
            Some((name, path)) => runtimes.push(Runtime::new(name, path)?),
            None if word == "--quick" => amount = Amount::Quick,
            None if word == "--images" => layouts = Some(words.next().context("--images wants a directory")?),
            None if all_cases().any(|case| case.name == word) => chosen.push(word.to_owned()),
            None => bail!("{word:?} is neither a case nor NAME=PATH"),
        }
    }
    if runtimes.is_empty() {
        bail!("no runtime given");
    }
    let bundles = bundles::make(&out)?;
    let floor = Floor { path: floor.into(), root: bundles.join("rootfs") };
    let images = layouts.map(|layouts| images::Images { layouts: layouts.into(), out: out.clone() });
    let cases = if images.is_some() { images::CASES } else { cases::CASES };
    if images.is_none() {
        same::check(&runtimes[0], &floor, &bundles)?;
    }
    let mut bench = Bench { spawner, runtimes, floor, bundles, amount, images };
    let mut results = Results::begin(&bench);
    for case in cases {
        let wanted = match chosen.is_empty() {
            true => amount == Amount::Full || case.quick,
            false => chosen.iter().any(|name| name == case.name),
        };
        if wanted {
            let outcome = (case.run)(&mut bench).with_context(|| case.title.to_owned())?;
            results.add(case, outcome, &out)?;
        }
    }
    results.end(&bench, &out)
}

/// Those of containers and those of images.
fn all_cases() -> impl Iterator<Item = &'static cases::Case> {
    cases::CASES.iter().chain(images::CASES)
}
