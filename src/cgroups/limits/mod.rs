//! Limits as data: `linux.resources` of the OCI spec turned into writes to files of a cgroup.
//!
//! In: the spec's resources and the controllers that the host has. Out: [`Limits`], an ordered list
//! of [`Setting`]s and the device program. Nothing here touches the host; values written for
//! cgroup v1 are converted as runc converts them (runtime-spec, config-linux.md; cgroups(7) and
//! admin-guide/cgroup-v2.rst of the kernel).

mod cpu;
mod io;
mod memory;
mod others;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use oci_spec::runtime::LinuxResources;

use super::devices::Program;
use super::{CgroupError, CgroupPath, Controllers, Hierarchy, LimitError};

/// The controllers of cgroup v2 that limits are known of. A name that is neither here nor among
/// the host's is a typing error, and never skipped.
const KNOWN_CONTROLLERS: [&str; 9] =
    ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc", "dmem"];

/// What to do about a limit whose controller the host lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingControllers {
    /// Fail, naming controller and cgroup.
    #[default]
    Refuse,
    /// Leave the limit out.
    Skip,
}

impl FromStr for MissingControllers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "skip" => Ok(Self::Skip),
            _ => Err(format!("{text:?} is neither refuse nor skip")),
        }
    }
}

impl fmt::Display for MissingControllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refuse => "refuse",
            Self::Skip => "skip",
        })
    }
}

/// What the absence of a setting's file means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The kernel lacks the limit: an error.
    Fails,
    /// There is nothing to limit.
    Ignored,
    /// Another file has the same meaning: its name and value.
    Instead(&'static str, String),
}

/// One value to write to one file of the cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The controller that the file belongs to; none for the core's own `cgroup.*`.
    pub controller: Option<Cow<'static, str>>,
    /// The file in the cgroup's directory.
    pub file: Cow<'static, str>,
    /// What to write, line by line where it has several.
    pub value: String,
    /// JSON path of where it comes from, for messages.
    pub field: Cow<'static, str>,
    /// What it means if the file is not there.
    pub absent: Absent,
    /// Where the kernel says EINVAL, try once more after all others: the value may fit then.
    pub retried: bool,
}

impl Setting {
    fn new(
        controller: &'static str,
        file: impl Into<Cow<'static, str>>,
        value: impl fmt::Display,
        field: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            controller: Some(controller.into()),
            file: file.into(),
            value: value.to_string(),
            field: field.into(),
            absent: Absent::Fails,
            retried: false,
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.file, self.value.trim_end().replace('\n', ", "))
    }
}

/// Refuse limits below what is in use already (`checkBeforeUpdate`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageCheck {
    /// `linux.resources.memory.limit`, in bytes.
    pub limit: Option<i64>,
    /// `linux.resources.memory.swap`, memory and swap together, in bytes.
    pub swap: Option<i64>,
}

/// Everything that a container's cgroup is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// In the order to write them.
    pub settings: Vec<Setting>,
    /// What [`Limits::settle`] left out for want of a controller.
    pub skipped: Vec<Setting>,
    /// Which devices may be used; none where all may.
    pub devices: Option<Program>,
    /// To look at before memory's limits are written.
    pub usage_check: Option<UsageCheck>,
}

impl Limits {
    /// The limits of a new container, its device rules among them (without any rule in the spec,
    /// the devices that every container has). Errors name the JSON path.
    pub fn new(resources: Option<&LinuxResources>) -> Result<Self, LimitError> {
        let mut limits = resources.map_or_else(|| Ok(Self::default()), Self::for_update)?;
        let rules = resources.and_then(|resources| resources.devices().as_deref()).unwrap_or_default();
        limits.devices = Program::build(rules)?;
        Ok(limits)
    }

    /// The limits of `update`: devices stay as they are.
    pub fn for_update(resources: &LinuxResources) -> Result<Self, LimitError> {
        let mut limits = Self::default();
        if let Some(pids) = resources.pids() {
            others::pids(pids, &mut limits.settings);
        }
        if let Some(memory) = resources.memory() {
            limits.usage_check = memory::plan(memory, &mut limits.settings)?;
        }
        if let Some(block_io) = resources.block_io() {
            io::plan(block_io, &mut limits.settings)?;
        }
        if let Some(cpu) = resources.cpu() {
            cpu::plan(cpu, &mut limits.settings)?;
        }
        if let Some(pages) = resources.hugepage_limits() {
            others::huge_pages(pages, &mut limits.settings)?;
        }
        if let Some(rdma) = resources.rdma() {
            others::rdma(rdma, &mut limits.settings)?;
        }
        if let Some(network) = resources.network() {
            others::refuse_network(network)?;
        }
        // Last, for they are in the kernel's own words: they win over the conversions above.
        if let Some(unified) = resources.unified() {
            others::unified(unified, &mut limits.settings)?;
        }
        Ok(limits)
    }

    /// What is written, in words, one line each.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.settings.iter().map(|setting| format!("set {setting}"))
    }

    /// The device program in words.
    pub fn device_line(&self) -> Option<String> {
        let program = self.devices.as_ref()?;
        Some(format!("attach device program, {} instructions", program.len()))
    }

    /// The controllers that the settings need.
    pub fn controllers(&self) -> Controllers {
        let mut needed = Controllers::default();
        for controller in self.settings.iter().filter_map(|setting| setting.controller.as_deref()) {
            needed.insert(controller);
        }
        needed
    }

    /// Meets what the host has: a setting without its controller is an error, or moves to
    /// [`Limits::skipped`].
    pub fn settle(
        &mut self,
        available: &Controllers,
        missing: MissingControllers,
        cgroup: &CgroupPath,
    ) -> Result<(), LimitError> {
        let (kept, left_out): (Vec<_>, Vec<_>) = std::mem::take(&mut self.settings)
            .into_iter()
            .partition(|setting| setting.controller.as_deref().is_none_or(|name| available.contains(name)));
        self.settings = kept;
        let refused = left_out.iter().find(|setting| {
            missing == MissingControllers::Refuse
                || !setting.controller.as_deref().is_some_and(|name| KNOWN_CONTROLLERS.contains(&name))
        });
        if let Some(Setting { controller, field, .. }) = refused {
            return Err(LimitError::MissingController {
                field: field.to_string(),
                controller: controller.as_deref().unwrap_or_default().into(),
                cgroup: cgroup.to_string(),
                available: available.to_string(),
            });
        }
        if left_out.iter().any(|setting| setting.controller.as_deref() == Some("memory")) {
            self.usage_check = None;
        }
        self.skipped.extend(left_out);
        Ok(())
    }

    /// [`Limits::settle`] with the controllers of `hierarchy`, which are read only where a setting
    /// needs one.
    pub fn settle_on(
        &mut self,
        hierarchy: &Hierarchy,
        missing: MissingControllers,
        cgroup: &CgroupPath,
    ) -> Result<(), CgroupError> {
        if self.settings.iter().all(|setting| setting.controller.is_none()) {
            return Ok(());
        }
        Ok(self.settle(hierarchy.controllers()?, missing, cgroup)?)
    }
}

/// An error about a value that no kernel takes.
fn invalid(field: impl Into<String>, value: impl fmt::Display, reason: &'static str) -> LimitError {
    LimitError::Value { field: field.into(), value: value.to_string(), reason }
}

/// Refuses a field that cgroup v2 has no counterpart for, unless it asks for nothing.
fn refuse(field: &str, asked_for: bool) -> Result<(), LimitError> {
    if asked_for { Err(LimitError::VersionOneOnly { field: field.into() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn limits(json: &str) -> Result<Limits, String> {
        let resources: LinuxResources = serde_json::from_str(json).unwrap();
        Limits::for_update(&resources).map_err(|error| error.to_string())
    }

    /// The writes as text, in order.
    pub(super) fn written(json: &str) -> Vec<String> {
        limits(json).unwrap().settings.iter().map(Setting::to_string).collect()
    }

    const MIXED: &str = r#"{"pids": {"limit": 9}, "cpu": {"shares": 1024},
        "memory": {"limit": 4096, "checkBeforeUpdate": true},
        "unified": {"memory.high": "2048", "cgroup.max.depth": "1"}}"#;

    #[test]
    fn the_needed_controllers_are_those_of_the_settings() {
        assert_eq!(limits(MIXED).unwrap().controllers().to_string(), "pids, memory, cpu");
        assert!(limits("{}").unwrap().controllers().is_empty());
    }

    #[test]
    fn a_missing_controller_is_an_error_with_controller_cgroup_and_cure() {
        let mut limits = limits(MIXED).unwrap();
        let cgroup = CgroupPath::parse("/rcrun-web".as_ref()).unwrap();
        let available = Controllers::parse("cpu pids hugetlb");
        let error = limits.settle(&available, MissingControllers::Refuse, &cgroup).unwrap_err().to_string();
        for part in ["linux.resources.memory.limit", "\"memory\"", "/rcrun-web", "--missing-controllers skip"]
        {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_missing_controller_can_be_skipped() {
        let mut limits = limits(MIXED).unwrap();
        let cgroup = CgroupPath::parse("/rcrun-web".as_ref()).unwrap();
        limits.settle(&Controllers::parse("pids"), MissingControllers::Skip, &cgroup).unwrap();
        let text = |settings: &[Setting]| settings.iter().map(Setting::to_string).collect::<Vec<_>>();
        assert_eq!(text(&limits.settings), ["pids.max = 9", "cgroup.max.depth = 1"]);
        assert_eq!(text(&limits.skipped), ["memory.max = 4096", "cpu.weight = 100", "memory.high = 2048"]);
        assert_eq!(limits.usage_check, None);
    }

    #[test]
    fn a_mistyped_controller_is_never_skipped() {
        let mut limits = limits(r#"{"unified": {"memroy.max": "1"}}"#).unwrap();
        let cgroup = CgroupPath::parse("/a".as_ref()).unwrap();
        let error =
            limits.settle(&Controllers::parse("memory"), MissingControllers::Skip, &cgroup).unwrap_err();
        assert!(error.to_string().contains("memroy"), "{error}");
    }

    #[test]
    fn a_new_container_without_resources_gets_the_default_devices_alone() {
        let limits = Limits::new(None).unwrap();
        assert!(limits.settings.is_empty() && limits.devices.is_some());
    }

    #[test]
    fn refuse_and_skip_are_the_two_words() {
        assert_eq!("skip".parse(), Ok(MissingControllers::Skip));
        assert_eq!("refuse".parse(), Ok(MissingControllers::default()));
        assert!("Skip".parse::<MissingControllers>().is_err());
        assert_eq!(MissingControllers::Skip.to_string(), "skip");
    }
}
