//! What a group has and has used, in the JSON shape of `runc events --stats`.
//!
//! Names are runc's (its types/events.go). Without a monitoring group of the container's the numbers are
//! those of all processes in its group.

use rustix::io::Errno;
use serde::Serialize;

use super::{Group, Resctrl, ResctrlError};

/// `intel_rdt` of the `data` of a `stats` event; what the host cannot do is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Stats {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<CacheInfo>,
    /// The line of the default group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<BandwidthInfo>,
    /// The line of the default group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema: String,
    /// All lines of the group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// By domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbm_stats: Option<Vec<Traffic>>,
    /// By domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmt_stats: Option<Vec<Occupancy>>,
}

/// What can be allocated of the L3 cache.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct CacheInfo {
    pub cbm_mask: String,
    pub min_cbm_bits: u64,
    pub num_closids: u64,
}

/// What can be allocated of memory bandwidth.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct BandwidthInfo {
    pub bandwidth_gran: u64,
    pub delay_linear: u64,
    pub min_bandwidth: u64,
    pub num_closids: u64,
}

/// What went over the memory bus, in bytes: 0 where the host does not count it, as with runc; null while
/// the processor cannot tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Traffic {
    pub mbm_total_bytes: Option<u64>,
    pub mbm_local_bytes: Option<u64>,
}

/// What is in the L3 cache, in bytes; null while the processor cannot tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Occupancy {
    pub llc_occupancy: Option<u64>,
}

impl Group {
    /// Reads it all.
    pub fn stats(&self, resctrl: &Resctrl) -> Result<Stats, ResctrlError> {
        let text = resctrl.read(&self.file("schemata"))?;
        let of_root = resctrl.read("schemata")?;
        let mut stats =
            Stats { schemata: text.trim().lines().map(str::to_owned).collect(), ..Stats::default() };
        if resctrl.has("info/L3") {
            stats.l3_cache_info = Some(CacheInfo {
                cbm_mask: resctrl.read("info/L3/cbm_mask")?.trim().into(),
                min_cbm_bits: resctrl.number("info/L3/min_cbm_bits")?,
                num_closids: resctrl.number("info/L3/num_closids")?,
            });
            stats.l3_cache_schema_root = line_of("L3", &of_root);
            stats.l3_cache_schema = line_of("L3", &text);
        }
        if resctrl.has("info/MB") {
            stats.mem_bw_info = Some(BandwidthInfo {
                bandwidth_gran: resctrl.number("info/MB/bandwidth_gran")?,
                delay_linear: resctrl.number("info/MB/delay_linear")?,
                min_bandwidth: resctrl.number("info/MB/min_bandwidth")?,
                num_closids: resctrl.number("info/MB/num_closids")?,
            });
            stats.mem_bw_schema_root = line_of("MB", &of_root);
            stats.mem_bw_schema = line_of("MB", &text);
        }
        self.read_counters(resctrl, &mut stats)?;
        Ok(stats)
    }
    fn read_counters(&self, resctrl: &Resctrl, stats: &mut Stats) -> Result<(), ResctrlError> {
        if !resctrl.has("info/L3_MON") {
            return Ok(());
        }
        let features = resctrl.read("info/L3_MON/mon_features")?;
        let counts = |name: &str| features.lines().any(|feature| feature == name);
        let (total, local) = (counts("mbm_total_bytes"), counts("mbm_local_bytes"));
        let occupancy = counts("llc_occupancy");
        if !(total || local || occupancy) {
            return Ok(());
        }
        let directory = match self.monitoring_directory() {
            Some(monitoring) => format!("{monitoring}/mon_data"),
            None => self.file("mon_data"),
        };
        let (mut traffic, mut occupied) = (Vec::new(), Vec::new());
        for domain in domains(resctrl, &directory)? {
            let read = |name: &str| counter(resctrl, &format!("{directory}/{domain}/{name}"));
            let read_if = |counts, name| if counts { read(name) } else { Ok(Some(0)) };
            traffic.push(Traffic {
                mbm_total_bytes: read_if(total, "mbm_total_bytes")?,
                mbm_local_bytes: read_if(local, "mbm_local_bytes")?,
            });
            occupied.push(Occupancy { llc_occupancy: read_if(occupancy, "llc_occupancy")? });
        }
        stats.mbm_stats = (total || local).then_some(traffic);
        stats.cmt_stats = occupancy.then_some(occupied);
        Ok(())
    }
}

/// The directories of the monitored L3 caches, in order.
fn domains(resctrl: &Resctrl, directory: &str) -> Result<Vec<String>, ResctrlError> {
    let path = resctrl.path(directory);
    let read = || {
        let names = std::fs::read_dir(&path)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.collect::<std::io::Result<Vec<_>>>()
    };
    let names = read().map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        ResctrlError::Read { path: path.clone(), errno }
    })?;
    // Newer kernels monitor more than caches.
    let mut names: Vec<String> = names.into_iter().flatten().filter(|n| n.starts_with("mon_L3_")).collect();
    names.sort();
    Ok(names)
}

/// A counter; None where the kernel says `Unavailable`, `Error` or `Unassigned`.
fn counter(resctrl: &Resctrl, file: &str) -> Result<Option<u64>, ResctrlError> {
    match resctrl.number(file) {
        Ok(number) => Ok(Some(number)),
        Err(ResctrlError::NoNumber { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The last line of a resource, as runc has it: `L3` finds L3CODE and L3DATA, too.
fn line_of(resource: &str, schemata: &str) -> String {
    schemata.lines().map(str::trim).rfind(|line| line.starts_with(resource)).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;
    use serde_json::json;

    fn stats(fake: &Fake, group: &Group) -> serde_json::Value {
        serde_json::to_value(group.stats(&fake.resctrl()).unwrap()).unwrap()
    }

    fn group(monitoring: Option<&str>) -> Group {
        Group { clos: "c1".into(), own: true, monitoring: monitoring.map(str::to_owned) }
    }

    #[test]
    fn everything_is_there_in_runcs_words() {
        let fake = Fake::new();
        fake.group("c1", "    L3:0=7f0;1=1f\n    MB:0=  20;1=  70\n");
        fake.monitoring_group("c1/mon_groups/c1");
        fake.write("c1/mon_groups/c1/mon_data/mon_L3_00/llc_occupancy", "1024\n");
        fake.write("c1/mon_groups/c1/mon_data/mon_L3_01/mbm_total_bytes", "Unavailable\n");
        let expected = json!({
            "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 1, "num_closids": 16},
            "l3_cache_schema_root": "L3:0=7ff;1=7ff",
            "l3_cache_schema": "L3:0=7f0;1=1f",
            "mem_bw_info": {"bandwidth_gran": 10, "delay_linear": 1, "min_bandwidth": 10, "num_closids": 8},
            "mem_bw_schema_root": "MB:0= 100;1= 100",
            "mem_bw_schema": "MB:0=  20;1=  70",
            "schemata": ["L3:0=7f0;1=1f", "    MB:0=  20;1=  70"],
            "mbm_stats": [
                {"mbm_total_bytes": 2, "mbm_local_bytes": 1},
                {"mbm_total_bytes": null, "mbm_local_bytes": 1},
            ],
            "cmt_stats": [{"llc_occupancy": 1024}, {"llc_occupancy": 3}],
        });
        assert_eq!(stats(&fake, &group(Some("c1"))), expected);
    }

    #[test]
    fn without_a_monitoring_group_the_numbers_are_the_groups() {
        let fake = Fake::new();
        fake.group("c1", "");
        fake.write("c1/mon_data/mon_L3_01/llc_occupancy", "77\n");
        fake.write("info/L3_MON/mon_features", "llc_occupancy\nllc_occupancy_config\n");
        let stats = stats(&fake, &group(None));
        assert_eq!(stats["cmt_stats"], json!([{"llc_occupancy": 3}, {"llc_occupancy": 77}]));
        assert_eq!(stats["mbm_stats"], json!(null));
    }

    #[test]
    fn what_the_host_cannot_do_is_left_out() {
        let fake = Fake::new();
        fake.group("c1", "");
        for part in ["info/L3", "info/MB", "info/L3_MON"] {
            std::fs::remove_dir_all(fake.path(part)).unwrap();
        }
        assert_eq!(stats(&fake, &group(None)), json!({}));
    }

    #[test]
    fn a_group_that_is_gone_is_named() {
        let error = group(None).stats(&Fake::new().resctrl()).unwrap_err();
        assert!(error.is_missing() && error.to_string().contains("c1/schemata"), "{error}");
    }
}
