//! Which group a container is to be in, and what is done to it: config-linux.md, "IntelRdt".

use std::path::PathBuf;

use oci_spec::runtime::LinuxIntelRdt;

use super::{DEFAULT_GROUP, Group, ResctrlError, schemata};
use crate::id::ContainerId;
use crate::spec::SpecError;

/// What the configuration asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// `closID`, or the container's id.
    pub(super) clos: String,
    /// Was it `closID`? Then the group stays when the container is deleted.
    pub(super) named: bool,
    l3_cache: Option<String>,
    memory_bandwidth: Option<String>,
    schemata: Vec<String>,
    /// The name of the monitoring group.
    pub(super) monitoring: Option<String>,
}

/// What the host has.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Where resctrl is mounted.
    pub mount_point: PathBuf,
    /// The `schemata` of the group; None where there is no such group.
    pub schemata: Option<String>,
    /// Is there a monitoring group of the container's name in it?
    pub monitoring_group: bool,
    /// Can the L3 cache be allocated?
    pub allocates_cache: bool,
    /// Can memory bandwidth be allocated?
    pub allocates_bandwidth: bool,
    /// Are there monitoring groups?
    pub monitors: bool,
    /// Shares of memory bandwidth are multiples of this.
    pub bandwidth_step: u64,
}

/// What is done before the clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPlan {
    /// The group that the process will be in.
    pub group: Group,
    /// Is it to be made?
    pub makes: bool,
    /// What is written to its `schemata`, in this order and at once.
    pub schemata: Vec<String>,
}

/// Directories of resctrl's own: no names of groups.
pub(crate) fn is_kernels_own(name: &str) -> bool {
    matches!(name, "info" | "mon_groups" | "mon_data")
}

impl Wanted {
    /// Reads a checked `linux.intelRdt`. `enableCMT` and `enableMBM` ask for nothing, as with runc: the
    /// specification has replaced them by `enableMonitoring`.
    pub fn of(rdt: &LinuxIntelRdt, id: &ContainerId) -> Result<Self, SpecError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let clos = given(rdt.clos_id());
        if clos.is_none() && is_kernels_own(id.as_str()) {
            let reason = format!("missing: the container's id, {id}, is a directory of resctrl's own");
            return Err(SpecError::invalid("linux.intelRdt.closID", reason));
        }
        Ok(Self {
            named: clos.is_some(),
            clos: clos.unwrap_or_else(|| id.to_string()),
            l3_cache: given(rdt.l3_cache_schema()),
            memory_bandwidth: given(rdt.mem_bw_schema()),
            schemata: rdt.schemata().iter().flatten().filter(|line| !line.is_empty()).cloned().collect(),
            monitoring: (*rdt.enable_monitoring() == Some(true)).then(|| id.to_string()),
        })
    }

    fn shares(&self) -> [(&'static str, &'static str, Option<&String>); 2] {
        [
            ("linux.intelRdt.l3CacheSchema", "info/L3", self.l3_cache.as_ref()),
            ("linux.intelRdt.memBwSchema", "info/MB", self.memory_bandwidth.as_ref()),
        ]
    }
}

impl GroupPlan {
    /// Decides; nothing is made.
    pub fn new(wanted: &Wanted, found: &Found) -> Result<Self, ResctrlError> {
        let group = Group::of(wanted);
        let missing = |field, file: &str| {
            let path = found.mount_point.join(file);
            Err(ResctrlError::NoResource { field, path })
        };
        let there = [found.allocates_cache, found.allocates_bandwidth];
        for ((field, file, share), there) in wanted.shares().into_iter().zip(there) {
            if share.is_some() && !there {
                return missing(field, file);
            }
        }
        if wanted.monitoring.is_some() && !found.monitors {
            return missing("linux.intelRdt.enableMonitoring", "mon_groups");
        }
        let shares = wanted.shares().into_iter().filter_map(|(field, _, share)| Some((field, share?)));
        let lines: Vec<String> =
            shares.clone().map(|(_, share)| share).chain(&wanted.schemata).cloned().collect();
        let path = found.mount_point.join(group.directory());
        match &found.schemata {
            None if wanted.named && lines.is_empty() => return Err(ResctrlError::NoGroup { path }),
            Some(present) if wanted.named => {
                let other =
                    shares.clone().find(|(_, share)| !schemata::holds(present, share, found.bandwidth_step));
                if let Some((field, share)) = other {
                    let (wanted, present) = (share.clone(), present.trim().to_owned());
                    return Err(ResctrlError::OtherSchemata { field, wanted, path, present });
                }
            }
            _ => {}
        }
        if let Some(directory) = group.monitoring_directory().filter(|_| found.monitoring_group) {
            let path = found.mount_point.join(directory);
            return Err(ResctrlError::MonitoringGroupExists { path });
        }
        let makes = found.schemata.is_none();
        Ok(Self { group: Group { own: makes && !wanted.named, ..group }, makes, schemata: lines })
    }

    /// What is done, in words, a line each, before the clone.
    pub fn lines(&self) -> Vec<String> {
        let name = match self.group.clos.as_str() {
            DEFAULT_GROUP => "the default resctrl group".into(),
            name => format!("resctrl group {name}"),
        };
        let mut lines = vec![format!("{} {name}", if self.makes { "make" } else { "use" })];
        lines.extend(self.schemata.iter().map(|line| format!("set schemata {line:?} of {name}")));
        let monitoring = self.group.monitoring.iter();
        lines.extend(monitoring.map(|monitoring| format!("make monitoring group {monitoring} of {name}")));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(json: &str) -> Wanted {
        Wanted::of(&serde_json::from_str(json).unwrap(), &ContainerId::parse("c1").unwrap()).unwrap()
    }

    fn host() -> Found {
        Found {
            mount_point: "/r".into(),
            allocates_cache: true,
            allocates_bandwidth: true,
            monitors: true,
            bandwidth_step: 10,
            ..Found::default()
        }
    }

    fn plan(json: &str, found: &Found) -> Result<GroupPlan, String> {
        GroupPlan::new(&wanted(json), found).map_err(|error| error.to_string())
    }

    fn existing(schemata: &str) -> Found {
        Found { schemata: Some(schemata.into()), ..host() }
    }

    #[test]
    fn without_a_name_the_group_is_the_containers_and_goes_with_it() {
        let plan = plan("{}", &host()).unwrap();
        assert_eq!(plan.group, Group { clos: "c1".into(), own: true, monitoring: None });
        assert!(plan.makes && plan.schemata.is_empty());
        assert_eq!(plan.lines(), ["make resctrl group c1"]);
    }

    #[test]
    fn a_group_that_is_there_already_stays() {
        let plan = plan(r#"{"schemata": ["L3:0=f"]}"#, &existing("L3:0=ff\n")).unwrap();
        assert!(!plan.makes && !plan.group.own);
        assert_eq!(plan.schemata, ["L3:0=f"]);
    }

    #[test]
    fn a_named_group_is_made_and_stays() {
        let plan = plan(r#"{"closID": "gold", "l3CacheSchema": "L3:0=f"}"#, &host()).unwrap();
        assert!(plan.makes && !plan.group.own);
        assert_eq!(
            plan.lines(),
            ["make resctrl group gold", "set schemata \"L3:0=f\" of resctrl group gold"]
        );
    }

    #[test]
    fn a_named_group_without_schemata_must_be_there() {
        let json = r#"{"closID": "gold", "enableMonitoring": true}"#;
        let error = plan(json, &host()).unwrap_err();
        assert!(error.contains("closID") && error.contains("\"/r/gold\" does not exist"), "{error}");
        let plan = plan(json, &existing("L3:0=f\n")).unwrap();
        assert_eq!(plan.group, Group { clos: "gold".into(), own: false, monitoring: Some("c1".into()) });
        assert!(!plan.makes && plan.schemata.is_empty());
        let of = "of resctrl group gold";
        assert_eq!(plan.lines(), ["use resctrl group gold".into(), format!("make monitoring group c1 {of}")]);
    }

    #[test]
    fn a_named_group_that_is_there_must_have_what_is_asked_for() {
        let present = existing("    MB:0= 20;1= 70\n    L3:0=7f0;1=1f\n");
        let json = r#"{"closID": "gold", "l3CacheSchema": "L3:1=01f;0=7f0", "memBwSchema": "MB:0=11;1=70"}"#;
        let plan_of = plan(json, &present).unwrap();
        assert_eq!(plan_of.schemata, ["L3:1=01f;0=7f0", "MB:0=11;1=70"]);
        let error = plan(r#"{"closID": "gold", "memBwSchema": "MB:0=90"}"#, &present).unwrap_err();
        for part in ["memBwSchema", "MB:0=90", "\"/r/gold\" exists", "MB:0= 20;1= 70"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains('\n'), "{error}");
        // The specification has no such rule for `schemata`: it says what the group is to have.
        plan(r#"{"closID": "gold", "schemata": ["MB:0=90"]}"#, &present).unwrap();
    }

    #[test]
    fn schemata_come_last_and_empty_ones_are_none() {
        let json = r#"{"schemata": ["L2:0=f", "", "MB:0=9"], "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f",
            "closID": ""}"#;
        let plan = plan(json, &host()).unwrap();
        assert_eq!(plan.schemata, ["L3:0=f", "MB:0=20", "L2:0=f", "MB:0=9"]);
        assert_eq!(plan.group.clos, "c1");
    }

    #[test]
    fn the_default_group_is_used_and_not_made() {
        let plan = plan(r#"{"closID": "/", "enableMonitoring": true}"#, &existing("L3:0=ff\n")).unwrap();
        assert!(!plan.makes && !plan.group.own);
        assert_eq!(plan.lines()[0], "use the default resctrl group");
    }

    #[test]
    fn what_the_host_cannot_do_is_named() {
        let nothing = Found { mount_point: "/r".into(), ..Found::default() };
        for (json, field, file) in [
            (r#"{"l3CacheSchema": "L3:0=f"}"#, "linux.intelRdt.l3CacheSchema", "/r/info/L3"),
            (r#"{"memBwSchema": "MB:0=20"}"#, "linux.intelRdt.memBwSchema", "/r/info/MB"),
            (r#"{"enableMonitoring": true}"#, "linux.intelRdt.enableMonitoring", "/r/mon_groups"),
        ] {
            let error = plan(json, &nothing).unwrap_err();
            assert!(error.starts_with(field) && error.contains(file), "{error}");
        }
        assert!(plan(r#"{"schemata": ["L2:0=f"], "enableCMT": true, "enableMBM": true}"#, &nothing).is_ok());
    }

    #[test]
    fn a_monitoring_group_is_the_containers_alone() {
        let found = Found { monitoring_group: true, ..host() };
        let error = plan(r#"{"enableMonitoring": true}"#, &found).unwrap_err();
        assert!(error.contains("\"/r/c1/mon_groups/c1\" exists"), "{error}");
    }

    #[test]
    fn an_id_that_is_a_directory_of_resctrls_needs_a_name() {
        let id = ContainerId::parse("info").unwrap();
        let error = Wanted::of(&serde_json::from_str("{}").unwrap(), &id).unwrap_err().to_string();
        assert!(error.contains("linux.intelRdt.closID") && error.contains("info"), "{error}");
        let named = serde_json::from_str(r#"{"closID": "gold", "enableMonitoring": true}"#).unwrap();
        Wanted::of(&named, &id).unwrap();
    }
}
