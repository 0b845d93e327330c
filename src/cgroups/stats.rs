//! What a cgroup has used, in the JSON shape of `runc events --stats`.
//!
//! Names and units are runc's (its types/events.go), for those who parse them: bytes and
//! nanoseconds; no limit is the largest number of 64 bits, but for pids, where it is 0. Files of
//! controllers that are not enabled leave their part empty.

use std::collections::BTreeMap;

use rustix::fs::FileType;
use serde::Serialize;

use super::{Cgroup, CgroupError, MemoryEvents, files, tree};
use crate::resctrl;

/// The `data` of a `stats` event.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Stats {
    pub cpu: Cpu,
    pub cpuset: Cpuset,
    pub memory: Memory,
    pub pids: Pids,
    pub blkio: Blkio,
    /// By page size: `2MB`.
    pub hugetlb: BTreeMap<String, Hugetlb>,
    /// Filled in by who knows the resctrl group.
    pub intel_rdt: resctrl::Stats,
    /// Always null: cgroups do not count packets.
    pub network_interfaces: Option<Vec<()>>,
}

/// Processor time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Cpu {
    pub usage: CpuUsage,
    #[serde(skip_serializing_if = "is_default")]
    pub throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// In nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct CpuUsage {
    #[serde(skip_serializing_if = "is_default")]
    pub total: u64,
    pub kernel: u64,
    pub user: u64,
}

/// How cpu.max has held it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Throttling {
    #[serde(skip_serializing_if = "is_default")]
    pub periods: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub throttled_periods: u64,
    /// In nanoseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub throttled_time: u64,
}

/// What cgroup v1 told about cpusets: all zero on v2, as with runc.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Cpuset {
    pub cpu_exclusive: u64,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Memory {
    /// Of files, `file` of memory.stat.
    #[serde(skip_serializing_if = "is_default")]
    pub cache: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub usage: MemoryEntry,
    /// Memory and swap together, as the spec's limit counts.
    #[serde(skip_serializing_if = "is_default")]
    pub swap: MemoryEntry,
    /// memory.stat, whole.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One kind of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct MemoryEntry {
    pub limit: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub usage: u64,
    /// The most that there ever was.
    #[serde(skip_serializing_if = "is_default")]
    pub max: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Pids {
    #[serde(skip_serializing_if = "is_default")]
    pub current: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub limit: u64,
}

/// Block devices.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Blkio {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One number of one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct BlkioEntry {
    #[serde(skip_serializing_if = "is_default")]
    pub major: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub minor: u64,
    /// `Read` or `Write`.
    pub op: &'static str,
    #[serde(skip_serializing_if = "is_default")]
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Hugetlb {
    #[serde(skip_serializing_if = "is_default")]
    pub usage: u64,
    pub failcnt: u64,
}

/// Pressure stall information, Documentation/accounting/psi.rst of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Pressure {
    #[serde(skip_serializing_if = "is_default")]
    pub some: PressureTimes,
    #[serde(skip_serializing_if = "is_default")]
    pub full: PressureTimes,
}

/// Percentages over so many seconds, and microseconds in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct PressureTimes {
    pub avg10: f64,
    pub avg60: f64,
    pub avg300: f64,
    pub total: u64,
}

impl Cgroup {
    /// Reads all of it now.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        let mut stats = Stats::default();
        if let Some(text) = self.read_if_there("cpu.stat")? {
            (stats.cpu.usage, stats.cpu.throttling) = cpu(&text);
        }
        stats.cpu.psi = self.pressure("cpu.pressure")?;
        stats.memory = self.memory_stats()?;
        stats.pids = self.pid_stats()?;
        if let Some(text) = self.read_if_there("io.stat")? {
            stats.blkio = blkio(&text);
        }
        stats.blkio.psi = self.pressure("io.pressure")?;
        stats.hugetlb = self.hugetlb_stats()?;
        Ok(stats)
    }

    fn memory_stats(&self) -> Result<Memory, CgroupError> {
        let mut memory = Memory { psi: self.pressure("memory.pressure")?, ..Memory::default() };
        let Some(text) = self.read_if_there("memory.stat")? else { return Ok(memory) };
        memory.raw = key_values(&text);
        memory.cache = memory.raw.get("file").copied().unwrap_or(0);
        let events: MemoryEvents = self.memory_events()?.unwrap_or_default();
        memory.usage = self.memory_entry("memory")?;
        memory.usage.failcnt = events.max;
        let swap = self.memory_entry("memory.swap")?;
        memory.swap = MemoryEntry {
            limit: swap.limit.saturating_add(if swap.limit == u64::MAX { 0 } else { memory.usage.limit }),
            usage: swap.usage + memory.usage.usage,
            // The peaks of both need not have been at the same time.
            max: 0,
            failcnt: 0,
        };
        Ok(memory)
    }

    fn memory_entry(&self, prefix: &str) -> Result<MemoryEntry, CgroupError> {
        let number = |name| self.number(&format!("{prefix}.{name}")).map(Option::unwrap_or_default);
        Ok(MemoryEntry { limit: number("max")?, usage: number("current")?, max: number("peak")?, failcnt: 0 })
    }

    fn pid_stats(&self) -> Result<Pids, CgroupError> {
        match self.number("pids.current")? {
            Some(current) => {
                let limit = self.number("pids.max")?.filter(|limit| *limit != u64::MAX).unwrap_or(0);
                Ok(Pids { current, limit })
            }
            // Without the controller: processes, not threads, and of this cgroup alone.
            None => {
                let text = self.read_if_there("cgroup.procs")?.unwrap_or_default();
                Ok(Pids { current: text.lines().count() as u64, limit: 0 })
            }
        }
    }

    fn hugetlb_stats(&self) -> Result<BTreeMap<String, Hugetlb>, CgroupError> {
        let names = tree::entries(self.directory(), FileType::RegularFile)
            .map_err(|errno| self.read_error("its directory", errno))?;
        let mut sizes = BTreeMap::new();
        for name in names.iter().filter_map(|name| name.to_str().ok()) {
            let size = name.strip_prefix("hugetlb.").and_then(|name| name.strip_suffix(".max"));
            let Some(size) = size.filter(|size| !size.contains('.')) else { continue };
            let usage = match self.number(&format!("hugetlb.{size}.rsvd.current"))? {
                Some(reserved) => reserved,
                None => self.number(&format!("hugetlb.{size}.current"))?.unwrap_or(0),
            };
            let events = self.read_if_there(&format!("hugetlb.{size}.events"))?.unwrap_or_default();
            let failcnt = files::value_of(&events, "max").unwrap_or(0);
            sizes.insert(size.to_owned(), Hugetlb { usage, failcnt });
        }
        Ok(sizes)
    }

    fn pressure(&self, file: &str) -> Result<Option<Pressure>, CgroupError> {
        Ok(self.read_if_there(file)?.map(|text| pressure(&text)))
    }

    /// A file of one number, or `max` for the largest.
    fn number(&self, file: &str) -> Result<Option<u64>, CgroupError> {
        Ok(self.read_if_there(file)?.map(|text| match text.trim() {
            "max" => u64::MAX,
            number => number.parse().unwrap_or(0),
        }))
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn key_values(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

fn cpu(text: &str) -> (CpuUsage, Throttling) {
    let value = |key| files::value_of(text, key).unwrap_or(0);
    let nanoseconds = |key| value(key) * 1000;
    let usage = CpuUsage {
        total: nanoseconds("usage_usec"),
        kernel: nanoseconds("system_usec"),
        user: nanoseconds("user_usec"),
    };
    let throttling = Throttling {
        periods: value("nr_periods"),
        throttled_periods: value("nr_throttled"),
        throttled_time: nanoseconds("throttled_usec"),
    };
    (usage, throttling)
}

/// io.stat: `8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0`.
fn blkio(text: &str) -> Blkio {
    let mut blkio = Blkio::default();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        let number = fields.next().and_then(|device| device.split_once(':'));
        let Some((Ok(major), Ok(minor))) = number.map(|(major, minor)| (major.parse(), minor.parse())) else {
            continue;
        };
        for field in fields {
            let Some((key, Ok(value))) = field.split_once('=').map(|(key, value)| (key, value.parse()))
            else {
                continue;
            };
            let (table, op) = match key {
                "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
                "rios" => (&mut blkio.io_serviced_recursive, "Read"),
                "wios" => (&mut blkio.io_serviced_recursive, "Write"),
                _ => continue,
            };
            table.push(BlkioEntry { major, minor, op, value });
        }
    }
    blkio
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`.
fn pressure(text: &str) -> Pressure {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        let times = match fields.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => continue,
        };
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            match key {
                "avg10" => times.avg10 = value.parse().unwrap_or(0.0),
                "avg60" => times.avg60 = value.parse().unwrap_or(0.0),
                "avg300" => times.avg300 = value.parse().unwrap_or(0.0),
                "total" => times.total = value.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
    pressure
}

#[cfg(test)]
mod tests {
    use super::super::cgroup::tests::{Own, Shell};
    use super::*;

    #[test]
    fn the_kernels_files_become_runcs_names() {
        let (usage, throttling) =
            cpu("usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 2\nnr_throttled 1\nthrottled_usec 9\n");
        let mut stats = Stats { cpu: Cpu { usage, throttling, psi: None }, ..Stats::default() };
        stats.blkio = blkio("8:16 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n253:0 \n");
        stats.cpu.psi = Some(pressure("some avg10=1.50 avg60=0.25 avg300=0.00 total=12\n"));
        stats.hugetlb.insert("2MB".into(), Hugetlb { usage: 5, failcnt: 0 });
        let json = serde_json::to_value(&stats).unwrap();
        assert_eq!(json["cpu"]["usage"], serde_json::json!({"total": 7000, "kernel": 3000, "user": 4000}));
        assert_eq!(
            json["cpu"]["throttling"],
            serde_json::json!({"periods": 2, "throttledPeriods": 1, "throttledTime": 9000})
        );
        assert_eq!(json["cpu"]["psi"]["some"]["avg10"], 1.5);
        assert!(json["cpu"]["psi"].get("full").is_none());
        assert_eq!(
            json["blkio"]["ioServiceBytesRecursive"][1],
            serde_json::json!({"major": 8, "minor": 16, "op": "Write", "value": 20})
        );
        assert_eq!(json["hugetlb"], serde_json::json!({"2MB": {"usage": 5, "failcnt": 0}}));
        assert_eq!(json["memory"], serde_json::json!({}));
        assert_eq!(json["pids"], serde_json::json!({}));
        assert!(json["network_interfaces"].is_null() && json["cpuset"]["cpu_exclusive"] == 0);
    }

    #[test]
    fn a_busy_cgroup_has_used_processor_time() {
        let Some(own) = Own::or_skip("stats") else { return };
        let cgroup = own.open();
        let mut shell =
            Shell::inside(&cgroup, "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; echo done; read a");
        shell.go();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(shell.0.stdout.as_mut().unwrap()),
            &mut String::new(),
        )
        .unwrap();
        let stats = cgroup.stats().unwrap();
        assert!(stats.cpu.usage.total > 0, "{stats:?}");
        assert_eq!(stats.pids.current, 1);
    }
}
