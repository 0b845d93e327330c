//! `events`: statistics and out-of-memory events of a container, one JSON line each.

use std::time::{Duration, Instant};

use rcrun::cgroups::{Stats, Watched};
use rcrun::id::ContainerId;
use rcrun::lifecycle::{self, Statistics};
use serde::Serialize;

use super::{Command, Context, output};

/// Flags of `events`.
#[derive(clap::Args)]
pub struct Events {
    /// Name of the container
    id: String,
    /// Time between two lines of statistics: 5s, 500ms, 1m30s
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = interval)]
    interval: Duration,
    /// Print the statistics once
    #[arg(long)]
    stats: bool,
}

/// One line of output, in runc's words.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Stats>,
}

impl Command for Events {
    const NAME: &'static str = "events";
    const ABOUT: &'static str = "Print statistics and out-of-memory events of a container as JSON";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let id = ContainerId::parse(&self.id)?;
        let sources = lifecycle::statistics(&context.store(), &id)?;
        if self.stats {
            print_stats(&id, sources.stats()?)?;
        } else {
            follow(&id, &sources, self.interval)?;
        }
        Ok(0)
    }
}

fn print_stats(id: &ContainerId, stats: Stats) -> anyhow::Result<()> {
    output::print(&output::json_line(&Event { kind: "stats", id: id.as_str(), data: Some(stats) })?)
}

/// Statistics every `interval`, and each OOM kill at once, until the container's last process ends.
fn follow(id: &ContainerId, sources: &Statistics, interval: Duration) -> anyhow::Result<()> {
    let mut watch = sources.cgroup.oom_watch()?;
    let mut next = Instant::now() + interval;
    loop {
        match watch.wait(Some(next.saturating_duration_since(Instant::now())))? {
            Watched::Ended => return Ok(()),
            Watched::Quiet => {
                // Of one that has just ended the next look tells.
                if let Some(stats) = sources.stats_if_running()? {
                    print_stats(id, stats)?;
                }
                next += interval;
            }
            Watched::OomKills(kills) => {
                for _ in 0..kills {
                    output::print(&output::json_line(&Event { kind: "oom", id: id.as_str(), data: None })?)?;
                }
            }
        }
    }
}

/// An interval as Go writes it: `5s`, `1m30s`, `500ms`, `0.5h`; more than nothing.
fn interval(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "expected a time such as 5s, 500ms or 1m30s, longer than 0";
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(WRONG)?;
        let (number, tail) = rest.split_at(unit);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(WRONG),
        };
        total += number.parse::<f64>().map_err(|_| WRONG)? * seconds;
        rest = tail;
    }
    match Duration::try_from_secs_f64(total) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err(WRONG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_gos() {
        for (text, milliseconds) in
            [("5s", 5_000), ("500ms", 500), ("1m30s", 90_000), ("0.5h", 1_800_000), ("1.5s", 1_500)]
        {
            assert_eq!(interval(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "0s", "5", "-1s", "s", "5 s", "1x", "1e9s", "99999999999999999999h"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
