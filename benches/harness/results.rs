//! The tables on stdout, the ratios at the end, and the same as files.

use std::fs;
use std::path::Path;

use anyhow::Context;
use rcrun::bench::{Report, table};
use serde_json::{Value, json};

use crate::Bench;
use crate::cases::{Case, Outcome, Series};
use crate::images;
use crate::svg;

/// All cases' so far.
pub struct Results {
    cases: Vec<Value>,
    /// One line a series: its name, and medians of the first divided by those of the others.
    ratios: Vec<(String, Vec<(String, f64)>)>,
    load_before: String,
    /// Whom the others are compared with.
    first: String,
}

impl Results {
    /// Says what is measured, on what.
    pub fn begin(bench: &Bench) -> Self {
        let uname = rustix::system::uname();
        println!("Linux {}, {} processors", uname.release().to_string_lossy(), processors());
        for runtime in &bench.runtimes {
            let output = std::process::Command::new(&runtime.path).arg("--version").output();
            let output = output.map(|output| output.stdout).unwrap_or_default();
            let text = String::from_utf8_lossy(&output).into_owned();
            println!("{}: {}", runtime.name, text.lines().next().unwrap_or("-"));
        }
        println!("Times in ms, peak in MiB, in brackets the ratio to {}.", bench.runtimes[0].name);
        let first = bench.runtimes[0].name.clone();
        Self { cases: Vec::new(), ratios: Vec::new(), load_before: load(), first }
    }

    /// Prints a case and draws it.
    pub fn add(&mut self, case: &Case, outcome: Outcome, out: &Path) -> anyhow::Result<()> {
        println!("\n{}", case.title);
        for series in &outcome.series {
            if series.contenders.is_empty() {
                continue;
            }
            let costs: Vec<_> =
                series.contenders.iter().map(|(name, costs)| (name.as_str(), costs.as_slice())).collect();
            let report = Report::new(&costs, &series.bare);
            if !series.title.is_empty() {
                println!("{}:", series.title);
            }
            print!("{}", report.text());
            let words = [case.name].into_iter().chain(series.title.split_whitespace());
            let name: Vec<&str> = words.filter(|word| !word.starts_with('-')).collect();
            let file = out.join(format!("{}.svg", name.join("-")));
            let title = [case.title, &series.title].join(" ");
            fs::write(&file, svg::draw(title.trim(), &walls(series)))
                .with_context(|| format!("write {}", file.display()))?;
            // Where the first one was left out there is nothing to compare with.
            if !outcome.one_by_one && series.contenders[0].0 == self.first {
                self.ratios.push((format!("{} {}", case.name, series.title), ratios(&report)));
            }
            self.cases.push(json!({
                "case": case.name, "title": case.title, "series": series.title, "notes": outcome.notes,
                "report": report, "wall_ms": walls(series).into_iter().collect::<serde_json::Map<_, _>>(),
            }));
        }
        for note in &outcome.notes {
            println!("{note}");
        }
        Ok(())
    }

    /// Prints the ratios of all cases and writes results.json.
    pub fn end(self, bench: &Bench, out: &Path) -> anyhow::Result<()> {
        let name = &bench.runtimes[0].name;
        let others = match bench.images {
            None => ["floor", "crun", "runc", "youki"],
            Some(_) => ["containerd", "podman", "skopeo+umoci", images::FLOOR],
        };
        let header = ["", others[0], others[1], others[2], others[3]].map(str::to_owned);
        let rows = self.ratios.iter().map(|(title, ratios)| {
            let cell = |other: &str| ratios.iter().find(|(name, _)| name == other);
            let cell = |other| cell(other).map_or("-".to_owned(), |(_, ratio)| format!("{ratio:.2}"));
            [title.trim().to_owned(), cell(others[0]), cell(others[1]), cell(others[2]), cell(others[3])]
        });
        let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
        if !self.ratios.is_empty() {
            println!("\nMedians of wall time: {name} divided by\n{}", table(&rows));
        }
        let load = [self.load_before, load()];
        println!("load {} before, {} after", load[0], load[1]);
        let document = json!({"processors": processors(), "load": load, "cases": self.cases});
        let file = out.join("results.json");
        fs::write(&file, document.to_string()).with_context(|| format!("write {}", file.display()))
    }
}

/// The first contender's median divided by each other's.
fn ratios(report: &Report) -> Vec<(String, f64)> {
    report.rows.iter().skip(1).map(|row| (row.name.clone(), 1.0 / row.ratios.wall)).collect()
}

/// Wall times in milliseconds.
fn walls(series: &Series) -> Vec<(String, Value)> {
    let of = |costs: &[rcrun::bench::Cost]| costs.iter().map(|cost| json!(cost.wall as f64 / 1e6)).collect();
    series.contenders.iter().map(|(name, costs)| (name.clone(), of(costs))).collect()
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// /proc/loadavg's three.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
