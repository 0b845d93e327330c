//! `update`: other limits for a container's cgroup.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};
use rcrun::id::ContainerId;
use rcrun::lifecycle;
use rcrun::resctrl::Shares;

use super::size::parse_or_unlimited;
use super::{Command, Context, log};

/// Flags of `update`.
#[derive(clap::Args)]
pub struct Update {
    /// Name of the container
    id: String,
    /// File with linux.resources as JSON, or - for stdin; flags of limits are ignored then
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    #[command(flatten)]
    pub limits: Limits,
    /// Share of the L3 cache, such as L3:0=7f0;1=1f, for a container with linux.intelRdt
    #[arg(long, value_name = "SCHEMA")]
    l3_cache_schema: Option<String>,
    /// Share of memory bandwidth, such as MB:0=20;1=70, for a container with linux.intelRdt
    #[arg(long, value_name = "SCHEMA")]
    mem_bw_schema: Option<String>,
}

/// The limits by flag.
#[derive(clap::Args)]
pub struct Limits {
    /// Weight in block IO, 10 to 1000
    #[arg(long, value_name = "WEIGHT", default_value_t = 0, hide_default_value = true)]
    blkio_weight: u16,
    /// Length of a CPU period in microseconds
    #[arg(long, value_name = "USEC")]
    cpu_period: Option<u64>,
    /// CPU time in a period in microseconds, -1 for no limit
    #[arg(long, value_name = "USEC", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// CPU time that may be saved up for a burst, in microseconds
    #[arg(long, value_name = "USEC")]
    cpu_burst: Option<u64>,
    /// CPU shares, 2 to 262144: the weight beside other containers
    #[arg(long, value_name = "SHARES")]
    cpu_share: Option<u64>,
    /// Length of a realtime CPU period in microseconds (cgroup v1 alone has it)
    #[arg(long, value_name = "USEC")]
    cpu_rt_period: Option<u64>,
    /// Realtime CPU time in a period in microseconds (cgroup v1 alone has it)
    #[arg(long, value_name = "USEC", allow_negative_numbers = true)]
    cpu_rt_runtime: Option<i64>,
    /// 1 for SCHED_IDLE, 0 for the usual scheduling
    #[arg(long, value_name = "0|1")]
    cpu_idle: Option<i64>,
    /// CPUs to run on, such as 0-3,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use, such as 0,1
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Memory, in bytes or with b, k, m, g (powers of 1024); -1 for no limit
    #[arg(long, value_name = "SIZE", value_parser = parse_or_unlimited, allow_negative_numbers = true)]
    memory: Option<i64>,
    /// Memory that is kept when memory gets scarce; units as --memory
    #[arg(long, value_name = "SIZE", value_parser = parse_or_unlimited, allow_negative_numbers = true)]
    memory_reservation: Option<i64>,
    /// Memory and swap together; units as --memory
    #[arg(long, value_name = "SIZE", value_parser = parse_or_unlimited, allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Number of processes and threads, -1 for no limit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Has no effect since Linux 5.4
    #[arg(long, hide = true, allow_negative_numbers = true)]
    kernel_memory: Option<String>,
    /// Has no effect in cgroup v2
    #[arg(long, hide = true, allow_negative_numbers = true)]
    kernel_memory_tcp: Option<String>,
}

impl Limits {
    /// The limits as the specification has them; what no flag names stays unset.
    pub fn resources(self) -> LinuxResources {
        let mut cpu = LinuxCpu::default();
        cpu.set_shares(self.cpu_share)
            .set_quota(self.cpu_quota)
            .set_idle(self.cpu_idle)
            .set_burst(self.cpu_burst)
            .set_period(self.cpu_period)
            .set_realtime_runtime(self.cpu_rt_runtime)
            .set_realtime_period(self.cpu_rt_period)
            .set_cpus(given(self.cpuset_cpus))
            .set_mems(given(self.cpuset_mems));
        let mut memory = LinuxMemory::default();
        memory.set_limit(self.memory).set_reservation(self.memory_reservation).set_swap(self.memory_swap);
        let mut block_io = LinuxBlockIo::default();
        block_io.set_weight((self.blkio_weight != 0).then_some(self.blkio_weight));

        let mut resources = LinuxResources::default();
        resources
            .set_cpu((cpu != LinuxCpu::default()).then_some(cpu))
            .set_memory((memory != LinuxMemory::default()).then_some(memory))
            .set_block_io(block_io.weight().map(|_| block_io))
            .set_pids(self.pids_limit.map(|limit| {
                let mut pids = LinuxPids::default();
                pids.set_limit(limit);
                pids
            }));
        resources
    }
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

impl Command for Update {
    const NAME: &'static str = "update";
    const ABOUT: &'static str = "Change the limits of a container";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let id = ContainerId::parse(&self.id)?;
        if self.limits.kernel_memory.is_some() || self.limits.kernel_memory_tcp.is_some() {
            log::warning("kernel memory limits are ignored: cgroup v2 has none");
        }
        let resources = match &self.resources {
            Some(file) => read(file)?,
            None => self.limits.resources(),
        };
        let shares =
            Shares { l3_cache: given(self.l3_cache_schema), memory_bandwidth: given(self.mem_bw_schema) };
        lifecycle::update(&context.store(), &id, &resources, &shares, context.missing_controllers)?;
        Ok(0)
    }
}

/// The limits in a file, `-` for stdin.
fn read(file: &Path) -> anyhow::Result<LinuxResources> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).context("read resources from stdin")?;
    } else {
        File::open(file)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .with_context(|| format!("read resources from {}", file.display()))?;
    }
    Ok(rcrun::spec::parse_json("resources", &bytes)?)
}
