//! `run`: create, start, wait, delete.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use rcrun::id::ContainerId;
use rcrun::lifecycle::{self, RunOptions, Timings};
use rcrun::plan::Plan;

use super::create::{CreateFlags, absolute};
use super::{Command, Context, output, target};

const TARGET_RULES: &str = "\
TARGET is the bundle directory, and the container's name is made up:
  rcrun run bundle/            a TARGET with a / in it, or . or .., is a directory
  rcrun run --id web bundle    with --id it is the directory, too
TARGET is the container's name, as runc has it:
  rcrun run -b bundle web      with --bundle it is the name
  rcrun run web                it is the name if this directory holds config.json
If only TARGET/config.json exists it is the directory; if both exist, rcrun asks which.";

/// Flags of `run`.
#[derive(clap::Args)]
#[command(after_help = TARGET_RULES)]
pub struct Run {
    /// Bundle directory, or name of the new container (see below)
    target: Option<String>,
    /// Bundle: a directory that holds config.json; TARGET is the container's name then
    #[arg(short, long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// Name of the new container; TARGET is the bundle then
    #[arg(long)]
    id: Option<String>,
    /// Print the container's name on stdout before it runs
    #[arg(long)]
    print_id: bool,
    /// Return as soon as the process runs
    #[arg(short, long)]
    detach: bool,
    /// Keep the container's state when its process has ended
    #[arg(long)]
    keep: bool,
    /// Leave the container's orphans to the host's init
    #[arg(long)]
    no_subreaper: bool,
    #[command(flatten)]
    flags: CreateFlags,
    /// Print what would be done, one line a step, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Format of --dry-run
    #[arg(long, value_name = "FORMAT", default_value = "text", requires = "dry_run")]
    format: PlanFormat,
    /// After the run print what each step cost, in microseconds: a table on stderr, or JSON into FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub timings: Option<Option<PathBuf>>,
}

/// How `--dry-run` prints the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PlanFormat {
    /// One line a step
    Text,
    /// One JSON document
    Json,
}

impl Command for Run {
    const NAME: &'static str = "run";
    const ABOUT: &'static str = "Run a bundle: create a container, start it, wait for its end, delete it";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let has_config = |dir: &Path| dir.join("config.json").is_file();
        let target = target::resolve(self.target, self.bundle, self.id, has_config)?;
        let id = match &target.id {
            Some(id) => ContainerId::parse(id)?,
            None => ContainerId::random(),
        };
        let options = self.flags.options(id, target.bundle, context)?;
        if self.dry_run {
            let plan = lifecycle::dry_run(&context.store(), &options)?;
            output::print(&written(&plan, self.format)?)?;
            return Ok(0);
        }
        let timings = match self.timings {
            None => None,
            Some(None) => Some(Timings::Text),
            Some(Some(file)) => Some(Timings::Json(absolute(file)?)),
        };
        let run =
            RunOptions { detach: self.detach, keep: self.keep, no_subreaper: self.no_subreaper, timings };
        if self.print_id {
            output::print(&format!("{}\n", options.id))?;
        }
        Ok(lifecycle::run(&context.store(), &options, &run)?)
    }
}

/// The plan as text, `PROCESS  STEP` a line, or as a JSON array of the same.
fn written(plan: &Plan, format: PlanFormat) -> anyhow::Result<String> {
    let lines = plan.lines();
    Ok(match format {
        PlanFormat::Text => lines.iter().map(|line| format!("{:8}{}\n", line.process, line.step)).collect(),
        PlanFormat::Json => output::json_pretty(&lines, "  ")? + "\n",
    })
}
