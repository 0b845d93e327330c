//! `system df`: what images and containers take on the disk.

use rcrun::image::store::{Liveness, Usage};
use serde::Serialize;

use super::image::{existing, parsed_format};
use super::output::{self, Format};
use super::{Command, Context, enter_user_namespace, human, table};

/// `system ACTION`.
#[derive(clap::Args)]
pub struct System {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Print what images, containers and kept blobs take on the disk
    Df(Df),
}

/// Flags of `system df`.
#[derive(clap::Args)]
struct Df {
    /// Each image, container and blob
    #[arg(short, long)]
    verbose: bool,
    /// table, or json for one line of JSON a kind
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = parsed_format)]
    format: Format,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    #[serde(rename = "Type")]
    kind: &'static str,
    total_count: String,
    active: String,
    size: String,
    reclaimable: String,
}

impl Command for System {
    const NAME: &'static str = "system";
    const ABOUT: &'static str = "Print what the store takes on the disk";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let Action::Df(df) = self.action;
        enter_user_namespace()?;
        let usage = match existing(context)? {
            Some(store) => store.usage()?,
            None => Usage::default(),
        };
        let rows = rows(&usage);
        let text = match df.format {
            Format::Json => rows.iter().map(output::json_line).collect::<anyhow::Result<String>>()?,
            Format::Table if df.verbose => verbose(&usage),
            Format::Table => short(rows),
        };
        output::print(&text)?;
        Ok(0)
    }
}

fn rows(usage: &Usage) -> Vec<Row> {
    let kept: u64 = usage.kept.iter().map(|(_, bytes)| bytes).sum();
    let written: u64 = usage.containers.iter().map(|(_, bytes)| bytes).sum();
    let stopped: u64 = usage
        .containers
        .iter()
        .filter(|(container, _)| container.liveness != Liveness::Running)
        .map(|(_, bytes)| bytes)
        .sum();
    let running = usage.containers.iter().filter(|(c, _)| c.liveness == Liveness::Running).count();
    let used = usage.images.iter().filter(|image| image.containers > 0).count();
    vec![
        row("Images", usage.images.len(), used, usage.of_images(), usage.reclaimable()),
        row("Containers", usage.containers.len(), running, written, stopped),
        row("Kept blobs", usage.kept.len(), usage.kept.len(), kept, 0),
        row("Garbage", 0, 0, usage.garbage, usage.garbage),
    ]
}

fn row(kind: &'static str, total: usize, active: usize, size: u64, reclaimable: u64) -> Row {
    let percent =
        (reclaimable * 100).checked_div(size).map_or(String::new(), |percent| format!(" ({percent}%)"));
    Row {
        kind,
        total_count: total.to_string(),
        active: active.to_string(),
        size: human::size(size),
        reclaimable: human::size(reclaimable) + &percent,
    }
}

fn short(rows: Vec<Row>) -> String {
    let head = ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"].map(String::from);
    let cells = |row: Row| [row.kind.to_owned(), row.total_count, row.active, row.size, row.reclaimable];
    table::align(&[head].into_iter().chain(rows.into_iter().map(cells)).collect::<Vec<_>>())
}

fn verbose(usage: &Usage) -> String {
    let head = ["IMAGE", "IMAGE ID", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"].map(String::from);
    let mut images = vec![head];
    for image in &usage.images {
        images.push([
            image.image.title(),
            image.image.id.short().to_owned(),
            human::size(image.unique + image.shared),
            human::size(image.shared),
            human::size(image.unique),
            image.containers.to_string(),
        ]);
    }
    let mut containers = vec![["CONTAINER ID", "IMAGE", "STATUS", "SIZE"].map(String::from)];
    for (container, bytes) in &usage.containers {
        let record = &container.record;
        let status = container.liveness.word().to_owned();
        containers.push([record.id.clone(), record.image.clone(), status, human::size(*bytes)]);
    }
    let mut blobs = vec![["BLOB", "SIZE"].map(String::from)];
    blobs.extend(usage.kept.iter().map(|(digest, bytes)| [digest.to_string(), human::size(*bytes)]));
    format!(
        "Images:\n\n{}\nContainers:\n\n{}\nKept blobs:\n\n{}\nManifests and configurations: {}\nGarbage: {}\n",
        table::align(&images),
        table::align(&containers),
        table::align(&blobs),
        human::size(usage.documents),
        human::size(usage.garbage)
    )
}
