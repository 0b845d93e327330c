//! `list`.

use rcrun::lifecycle;

use super::output::{self, Format};
use super::state::StateReport;
use super::{Command, Context, table};

/// Flags of `list`.
#[derive(clap::Args)]
pub struct List {
    /// Format of the list
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Print names alone
    #[arg(short, long)]
    quiet: bool,
}

impl Command for List {
    const NAME: &'static str = "list";
    const ABOUT: &'static str = "List the containers below --root";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let reports = match context.existing_store()? {
            Some(store) => lifecycle::list(&store)?,
            None => Vec::new(),
        };
        let containers: Vec<StateReport> = reports.into_iter().map(StateReport::from).collect();
        let text = if self.quiet {
            containers.iter().map(|container| format!("{}\n", container.id)).collect()
        } else {
            match self.format {
                Format::Table => table(&containers),
                Format::Json => output::json_line(&containers)?,
            }
        };
        output::print(&text)?;
        Ok(0)
    }
}

/// runc's columns.
fn table(containers: &[StateReport]) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(String::from)];
    for c in containers {
        let pid = c.pid.to_string();
        rows.push([&c.id, &pid, &c.status, &c.bundle, &c.created, &c.owner].map(String::clone));
    }
    table::align(&rows)
}
