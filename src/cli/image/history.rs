//! `image history`.

use rcrun::image::store::{Contents, History as Step, Store};
use rcrun::text::on_one_line;
use serde::Serialize;

use super::{existing_for, find, parsed_format, print};
use crate::cli::output::Format;
use crate::cli::{Command, Context, human, table};

/// Columns that `CREATED BY` and `COMMENT` have at most.
const WIDEST: usize = 45;
const MISSING: &str = "<missing>";

/// Flags of `image history`.
#[derive(clap::Args)]
pub struct History {
    /// Name or id of an image
    image: String,
    /// Print everything in full
    #[arg(long)]
    no_trunc: bool,
    /// Print ids alone
    #[arg(short, long)]
    quiet: bool,
    /// Sizes with a unit and ages; false for bytes and times
    #[arg(short = 'H', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true")]
    human: bool,
    /// table, or json for one line of JSON a step
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = parsed_format)]
    format: Format,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    comment: String,
    created_at: String,
    created_by: String,
    created_since: String,
    #[serde(rename = "ID")]
    id: String,
    size: String,
}

impl Command for History {
    const NAME: &'static str = "history";
    const ABOUT: &'static str = "List the steps by which an image was built";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let store = existing_for(context, &self.image)?;
        let contents = store.contents(&find(&store, &self.image)?)?;
        let rows = self.rows(&store, &contents);
        print(rows, (self.quiet, self.format), |row| row.id, |rows| self.table(rows))
    }
}

impl History {
    /// From the last step to the first; only the last has the image's id.
    fn rows(&self, store: &Store, contents: &Contents) -> Vec<Row> {
        let mut layers = contents.diff_ids().iter();
        let steps = contents.facts.as_ref().and_then(|facts| facts.history.clone()).unwrap_or_default();
        let mut rows: Vec<Row> = Vec::new();
        for step in steps {
            let layer = if step.empty_layer { None } else { layers.next() };
            let record = layer.and_then(|diff_id| store.layer(diff_id)?.record().ok());
            rows.push(self.row(step, record.map_or(0, |record| record.bytes)));
        }
        // Layers that no step tells of.
        for diff_id in layers {
            let record = store.layer(diff_id).and_then(|layer| layer.record().ok());
            rows.push(self.row(Step::default(), record.map_or(0, |record| record.bytes)));
        }
        rows.reverse();
        if let Some(last) = rows.first_mut() {
            let id = contents.id();
            last.id = if self.no_trunc { id.to_string() } else { id.short().to_owned() };
        }
        rows
    }

    fn row(&self, step: Step, size: u64) -> Row {
        // JSON escapes by itself.
        let shown = |text: String| match self.format {
            Format::Table => on_one_line(&text.replace(['\t', '\n'], " ")),
            Format::Json => text,
        };
        let one_line = |text: Option<String>| {
            let text = shown(text.unwrap_or_default());
            if self.no_trunc { text } else { human::cut(&text, WIDEST) }
        };
        Row {
            comment: one_line(step.comment),
            created_by: one_line(step.created_by),
            created_since: human::since(step.created.as_deref()),
            created_at: shown(step.created.unwrap_or_else(|| "N/A".to_owned())),
            id: MISSING.to_owned(),
            size: if self.human { human::size(size) } else { size.to_string() },
        }
    }

    fn table(&self, rows: Vec<Row>) -> String {
        let created = if self.human { "CREATED" } else { "CREATED AT" };
        let head = ["IMAGE", created, "CREATED BY", "SIZE", "COMMENT"].map(String::from);
        let cells = |row: Row| {
            let created = if self.human { row.created_since } else { row.created_at };
            [row.id, created, row.created_by, row.size, row.comment]
        };
        table::align(&[head].into_iter().chain(rows.into_iter().map(cells)).collect::<Vec<_>>())
    }
}
