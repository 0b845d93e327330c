//! What a cgroup has used, and how the CRI says it.

use rcrun::cgroups::Stats;
use rcrun::cgroups::stats::{Pressure, PressureTimes};

use super::value;
use crate::api;

/// What a cgroup has used, at one moment. None: there is no limit, or the kernel does not tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Usage {
    pub timestamp: i64,
    pub cpu: u64,
    pub memory: u64,
    pub memory_limit: Option<u64>,
    pub inactive_file: u64,
    pub rss: u64,
    pub page_faults: u64,
    pub major_page_faults: u64,
    pub swap: u64,
    pub swap_limit: Option<u64>,
    pub processes: u64,
    pub cpu_pressure: Option<Pressure>,
    pub memory_pressure: Option<Pressure>,
    pub io_pressure: Option<Pressure>,
}

impl Usage {
    /// `timestamp` is when `stats` were read.
    pub fn new(stats: &Stats, timestamp: i64) -> Self {
        let memory = &stats.memory;
        let raw = |key: &str| memory.raw.get(key).copied().unwrap_or(0);
        // Without the controller all of it is 0, limits included.
        let limit = |limit: u64| Some(limit).filter(|limit| !memory.raw.is_empty() && *limit != u64::MAX);
        let memory_limit = limit(memory.usage.limit);
        Self {
            timestamp,
            cpu: stats.cpu.usage.total,
            memory: memory.usage.usage,
            memory_limit,
            inactive_file: raw("inactive_file"),
            // As others count it: the anonymous part.
            rss: raw("anon"),
            page_faults: raw("pgfault"),
            major_page_faults: raw("pgmajfault"),
            // `memory.swap` counts both together.
            swap: memory.swap.usage.saturating_sub(memory.usage.usage),
            swap_limit: limit(memory.swap.limit)
                .zip(memory_limit)
                .map(|(both, memory)| both.saturating_sub(memory)),
            processes: stats.pids.current,
            cpu_pressure: stats.cpu.psi,
            memory_pressure: memory.psi,
            io_pressure: stats.blkio.psi,
        }
    }

    /// Of several cgroups together: there is no limit of all, and what part of the time they waited does not add up.
    pub fn sum<'u>(all: impl Iterator<Item = &'u Self>, timestamp: i64) -> Self {
        all.fold(Self { timestamp, ..Self::default() }, |sum, one| Self {
            timestamp,
            cpu: sum.cpu + one.cpu,
            memory: sum.memory + one.memory,
            inactive_file: sum.inactive_file + one.inactive_file,
            rss: sum.rss + one.rss,
            page_faults: sum.page_faults + one.page_faults,
            major_page_faults: sum.major_page_faults + one.major_page_faults,
            swap: sum.swap + one.swap,
            processes: sum.processes + one.processes,
            ..Self::default()
        })
    }

    /// `nano_cores`: processor time a second, once two samples are there.
    pub fn cpu(&self, nano_cores: Option<u64>) -> api::CpuUsage {
        api::CpuUsage {
            timestamp: self.timestamp,
            usage_core_nano_seconds: value(self.cpu),
            usage_nano_cores: nano_cores.and_then(value),
            psi: self.cpu_pressure.as_ref().map(pressure),
        }
    }

    pub fn memory(&self) -> api::MemoryUsage {
        let working_set = self.memory.saturating_sub(self.inactive_file);
        let available = self.memory_limit.map_or(0, |limit| limit.saturating_sub(working_set));
        api::MemoryUsage {
            timestamp: self.timestamp,
            working_set_bytes: value(working_set),
            available_bytes: value(available),
            usage_bytes: value(self.memory),
            rss_bytes: value(self.rss),
            page_faults: value(self.page_faults),
            major_page_faults: value(self.major_page_faults),
            psi: self.memory_pressure.as_ref().map(pressure),
        }
    }

    pub fn swap(&self) -> api::SwapUsage {
        let available = self.swap_limit.map_or(0, |limit| limit.saturating_sub(self.swap));
        api::SwapUsage {
            timestamp: self.timestamp,
            swap_available_bytes: value(available),
            swap_usage_bytes: value(self.swap),
        }
    }

    pub fn io(&self) -> api::IoUsage {
        api::IoUsage { timestamp: self.timestamp, psi: self.io_pressure.as_ref().map(pressure) }
    }

    pub fn process(&self) -> api::ProcessUsage {
        api::ProcessUsage { timestamp: self.timestamp, process_count: value(self.processes) }
    }
}

fn pressure(pressure: &Pressure) -> api::PsiStats {
    // The kernel counts microseconds.
    let data = |times: &PressureTimes| api::PsiData {
        total: times.total.saturating_mul(1000),
        avg10: times.avg10,
        avg60: times.avg60,
        avg300: times.avg300,
    };
    api::PsiStats { full: Some(data(&pressure.full)), some: Some(data(&pressure.some)) }
}

#[cfg(test)]
mod tests {
    use rcrun::cgroups::stats::{Cpu, CpuUsage, Memory, MemoryEntry, Pids};

    use super::*;

    fn stats() -> Stats {
        let raw = [("anon", 30), ("inactive_file", 20), ("pgfault", 7), ("pgmajfault", 2)];
        let times = PressureTimes { avg10: 1.5, total: 3, ..PressureTimes::default() };
        Stats {
            cpu: Cpu {
                usage: CpuUsage { total: 9000, ..CpuUsage::default() },
                psi: Some(Pressure { some: times, ..Pressure::default() }),
                ..Cpu::default()
            },
            memory: Memory {
                usage: MemoryEntry { limit: 200, usage: 100, ..MemoryEntry::default() },
                swap: MemoryEntry { limit: 250, usage: 110, ..MemoryEntry::default() },
                raw: raw.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
                ..Memory::default()
            },
            pids: Pids { current: 4, limit: 0 },
            ..Stats::default()
        }
    }

    fn number(value: Option<api::UInt64Value>) -> u64 {
        value.unwrap().value
    }

    #[test]
    fn files_of_a_cgroup_become_the_cris_numbers() {
        let usage = Usage::new(&stats(), 5);
        let cpu = usage.cpu(Some(12));
        assert_eq!((cpu.timestamp, number(cpu.usage_core_nano_seconds)), (5, 9000));
        assert_eq!(number(cpu.usage_nano_cores), 12);
        let some = cpu.psi.unwrap().some.unwrap();
        assert_eq!((some.total, some.avg10), (3000, 1.5));
        let memory = usage.memory();
        let numbers = [
            memory.working_set_bytes,
            memory.available_bytes,
            memory.usage_bytes,
            memory.rss_bytes,
            memory.page_faults,
            memory.major_page_faults,
        ];
        assert_eq!(numbers.map(number), [80, 120, 100, 30, 7, 2]);
        let swap = usage.swap();
        assert_eq!((number(swap.swap_usage_bytes), number(swap.swap_available_bytes)), (10, 40));
        assert_eq!(number(usage.process().process_count), 4);
    }

    #[test]
    fn what_the_host_does_not_count_is_zero_and_there() {
        let usage = Usage::new(&Stats::default(), 5);
        assert_eq!(usage.cpu(None).usage_nano_cores, None);
        let memory = usage.memory();
        assert_eq!((memory.timestamp, number(memory.usage_bytes), number(memory.available_bytes)), (5, 0, 0));
        assert_eq!(number(usage.swap().swap_available_bytes), 0);
        assert_eq!((usage.io().timestamp, usage.io().psi), (5, None));
    }

    #[test]
    fn no_limit_leaves_nothing_to_be_told_available() {
        let mut unlimited = stats();
        unlimited.memory.usage.limit = u64::MAX;
        unlimited.memory.swap.limit = u64::MAX;
        let usage = Usage::new(&unlimited, 5);
        assert_eq!((usage.memory_limit, usage.swap_limit), (None, None));
        assert_eq!(number(usage.memory().available_bytes), 0);
    }

    #[test]
    fn several_are_summed_up() {
        let one = Usage::new(&stats(), 5);
        let sum = Usage::sum([&one, &one].into_iter(), 6);
        assert_eq!((sum.timestamp, sum.cpu, sum.memory, sum.swap, sum.processes), (6, 18000, 200, 20, 8));
        assert_eq!((sum.memory_limit, sum.cpu_pressure), (None, None));
        assert_eq!(number(sum.memory().working_set_bytes), 160);
    }
}
