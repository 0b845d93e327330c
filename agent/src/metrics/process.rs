//! The agent itself, under the names that Prometheus' clients have for it.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::family::{counter, gauge};

/// What /proc says of this process.
#[derive(Debug)]
pub struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let encoder = &mut encoder;
        let version = [([("version", env!("CARGO_PKG_VERSION"))], 1.0)];
        gauge(encoder, "rcrun_agent_build_info", "The agent's version", version)?;
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let page = rustix::param::page_size() as f64;
        let tick = rustix::param::clock_ticks_per_second() as f64;
        let one = |value: Option<f64>| value.map(|value| ([], value));
        counter(
            encoder,
            "process_cpu_seconds",
            "Processor time, in seconds",
            one(ticks(&stat).map(|ticks| ticks / tick)),
        )?;
        gauge(
            encoder,
            "process_resident_memory_bytes",
            "Resident memory",
            one(field(&stat, 24).map(|pages| pages * page)),
        )?;
        gauge(encoder, "process_virtual_memory_bytes", "Address space", one(field(&stat, 23)))?;
        gauge(encoder, "process_threads", "Threads", one(field(&stat, 20)))?;
        let started = field(&stat, 22).zip(boot()).map(|(ticks, boot)| boot + ticks / tick);
        gauge(encoder, "process_start_time_seconds", "When it started, in seconds since 1970", one(started))?;
        let open = fs::read_dir("/proc/self/fd").ok().map(|descriptors| descriptors.count() as f64);
        gauge(encoder, "process_open_fds", "Open descriptors", one(open))?;
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        gauge(encoder, "process_max_fds", "How many there may be", one(limit.map(|limit| limit as f64)))
    }
}

/// A field of /proc/PID/stat by its number in proc_pid_stat(5); from the third on, as the second is a name with anything in it.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// User and system time.
fn ticks(stat: &str) -> Option<f64> {
    Some(field(stat, 14)? + field(stat, 15)?)
}

/// When the machine started, in seconds since 1970.
fn boot() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_the_name() {
        let stat = "17 (a ) b) S 1 17 17 0 -1 4194560 100 0 0 0 5 6 0 0 20 0 3 0 777 1000 42 1";
        assert_eq!(ticks(stat), Some(11.0));
        assert_eq!(
            [20, 22, 23, 24].map(|number| field(stat, number)),
            [Some(3.0), Some(777.0), Some(1000.0), Some(42.0)]
        );
        assert_eq!(field("", 20), None);
    }
}
