//! `state`, and a container's state as runc prints it.

use std::collections::BTreeMap;

use rcrun::id::ContainerId;
use rcrun::lifecycle::{self, ContainerReport};
use serde::Serialize;

use super::{Command, Context, output};

/// Flags of `state`.
#[derive(clap::Args)]
pub struct State {
    /// Name of the container
    id: String,
}

/// The fields of runc's `state` and `list --format json`, in its order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateReport {
    oci_version: String,
    pub id: String,
    pub pid: i32,
    pub status: String,
    pub bundle: String,
    rootfs: String,
    pub created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    pub owner: String,
}

impl From<ContainerReport> for StateReport {
    fn from(report: ContainerReport) -> Self {
        Self {
            oci_version: report.oci_version,
            id: report.id.to_string(),
            pid: report.pid,
            status: report.status.to_string(),
            bundle: report.bundle.display().to_string(),
            rootfs: report.rootfs.display().to_string(),
            created: report.created,
            annotations: report.annotations.into_iter().collect(),
            owner: report.owner,
        }
    }
}

impl Command for State {
    const NAME: &'static str = "state";
    const ABOUT: &'static str = "Print a container's state as JSON";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let report = lifecycle::state(&context.store(), &ContainerId::parse(&self.id)?)?;
        let mut text = output::json_pretty(&StateReport::from(report), "  ")?;
        text.push('\n');
        output::print(&text)?;
        Ok(0)
    }
}
