//! `images`: docker's list of them.

use rcrun::image::store::{Image, Store};
use rcrun::state::parse_rfc3339;
use serde::Serialize;

use super::{Filter, existing, parsed_format, print};
use crate::cli::output::Format;
use crate::cli::{Command, Context, human, table};

const NONE: &str = "<none>";

/// Flags of `images`.
#[derive(clap::Args)]
pub struct Images {
    /// Only images of this name, REPOSITORY[:TAG]; * and ? stand for any characters
    name: Option<String>,
    /// All images; there are no hidden ones, the flag is docker's
    #[arg(short, long)]
    all: bool,
    /// Print ids alone
    #[arg(short, long)]
    quiet: bool,
    /// Print ids and digests in full
    #[arg(long)]
    no_trunc: bool,
    /// Print the digests that registries have the images by
    #[arg(long)]
    digests: bool,
    /// Only some: reference=PATTERN, dangling=BOOL, label=KEY[=VALUE], before=IMAGE, since=IMAGE, until=TIME
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// table, or json for one line of JSON an image
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = parsed_format)]
    format: Format,
}

/// An image as docker's list has it, `--format json` included.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    containers: &'static str,
    created_at: String,
    created_since: String,
    digest: String,
    #[serde(rename = "ID")]
    id: String,
    repository: String,
    shared_size: &'static str,
    size: String,
    tag: String,
    unique_size: &'static str,
}

impl Command for Images {
    const NAME: &'static str = "images";
    const ABOUT: &'static str = "List the images in the store";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let rows = match existing(context)? {
            Some(store) => self.rows(&store)?,
            None => Vec::new(),
        };
        print(rows, (self.quiet, self.format), |row| row.id, |rows| self.table(rows))
    }
}

impl Images {
    fn rows(&self, store: &Store) -> anyhow::Result<Vec<Row>> {
        let filter = Filter::parse(&self.filter)?.and_reference(self.name.as_deref());
        let images = store.images()?;
        let mut chosen = filter.chosen(store, &images)?;
        chosen.sort_by_key(|image| {
            let created = image.created.as_deref().and_then(parse_rfc3339).unwrap_or(i64::MIN);
            (std::cmp::Reverse(created), image.name.clone())
        });
        Ok(chosen.into_iter().map(|image| self.row(image)).collect())
    }

    fn row(&self, image: &Image) -> Row {
        let named = image.name.as_ref();
        let source = named.or(image.sources.first());
        let repository = source.map(|name| name.familiar_name());
        let there = image.sources.iter().find(|there| source.is_some_and(|name| name.name() == there.name()));
        let digest = there.and_then(|there| there.digest()).map(|digest| digest.to_string());
        let id = if self.no_trunc { image.id.to_string() } else { image.id.short().to_owned() };
        let none = || NONE.to_owned();
        Row {
            containers: "N/A",
            created_at: image.created.as_deref().map_or_else(|| "N/A".to_owned(), created_at),
            created_since: human::since(image.created.as_deref()),
            digest: digest.unwrap_or_else(none),
            id,
            repository: repository.unwrap_or_else(none),
            shared_size: "N/A",
            size: human::size(image.size.unwrap_or_default()),
            tag: named.and_then(|name| name.tag()).map_or_else(none, str::to_owned),
            unique_size: "N/A",
        }
    }

    fn table(&self, rows: Vec<Row>) -> String {
        if !self.digests {
            let head = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"].map(String::from);
            let cells = |row: Row| [row.repository, row.tag, row.id, row.created_since, row.size];
            return table::align(&[head].into_iter().chain(rows.into_iter().map(cells)).collect::<Vec<_>>());
        }
        let head = ["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "CREATED", "SIZE"].map(String::from);
        let cells = |row: Row| [row.repository, row.tag, row.digest, row.id, row.created_since, row.size];
        table::align(&[head].into_iter().chain(rows.into_iter().map(cells)).collect::<Vec<_>>())
    }
}

/// `2026-01-02 03:04:05 +0000 UTC`, as Go prints a time; in another zone without its name.
fn created_at(time: &str) -> String {
    let seconds = time.get(..19).unwrap_or(time).replace(['T', 't'], " ");
    match time.trim_start_matches(|c: char| c != 'Z' && c != 'z' && c != '+') {
        zone if zone.starts_with('+') => format!("{seconds} {}", zone.replace(':', "")),
        _ => format!("{seconds} +0000 UTC"),
    }
}
