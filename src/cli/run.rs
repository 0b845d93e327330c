//! `run`: create, start, wait, delete; of a bundle, or of an image.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args as _, ValueEnum};
use rcrun::id::ContainerId;
use rcrun::lifecycle::{self, RunOptions, Timings};
use rcrun::plan::Plan;

use super::create::{CreateFlags, absolute};
use super::image_flags::ImageFlags;
use super::target::{self, Surroundings, Target};
use super::{Command, Context, Declare, LooksSo, base, output, run_background, run_image};

const TARGET_RULES: &str = "\
TARGET is a bundle directory, and the container's name is made up:
  rcrun run bundle/            what begins with / ./ or ../, ends with /, or is . or .., is a directory
  rcrun run bundle             so is any word if bundle/config.json exists; with --id it has that name
TARGET is the container's name, as runc has it:
  rcrun run -b bundle web      with --bundle it is the name
  rcrun run web                it is the name if this directory holds config.json
TARGET is an image in all other cases, and what follows is the program and its arguments, options included:
  rcrun run busybox ls -l      rcrun's own options stand before the image; with --id the container has that name
For a bundle or a name options may follow TARGET, and nothing else.
What can be read in two ways, rcrun asks about: bundle and id, and either of them and an image that is in the store.
Exit status for an image: the program's, 127 where it is not found, 126 where it cannot be executed, 125 for errors of
rcrun's own. For a bundle the last three are 1. Without --network, --publish or --detach the container of an image has no network.";

/// Flags of `run`.
#[derive(clap::Args)]
#[command(after_help = TARGET_RULES, override_usage = "rcrun run [OPTIONS] BUNDLE\n       rcrun run [OPTIONS] IMAGE [COMMAND] [ARGS]...")]
pub struct Run {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    image: ForImages,
}

/// Flags for bundles and images alike.
#[derive(clap::Args)]
pub struct Common {
    /// Bundle directory, name of the new container, or image (see below); after an image the command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_names = ["TARGET", "COMMAND"])]
    words: Vec<String>,
    /// Bundle: a directory that holds config.json; TARGET is the container's name then
    #[arg(short, long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// Name of the new container; TARGET is the bundle or the image then
    #[arg(long, visible_alias = "name")]
    id: Option<String>,
    /// Print the container's name on stdout before it runs
    #[arg(long)]
    print_id: bool,
    /// Return as soon as the process runs. An image's container is then in the background, see ps, logs, stop and rm
    #[arg(short, long)]
    detach: bool,
    /// Keep the container's state when its process has ended, as is the case for an image without --rm
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

/// [`ImageFlags`]; none were given where they are not declared.
struct ForImages(ImageFlags);

impl clap::Args for ForImages {
    fn augment_args(command: clap::Command) -> clap::Command {
        ImageFlags::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        ImageFlags::augment_args_for_update(command)
    }
}

impl clap::FromArgMatches for ForImages {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        // A switch that was not given is false, and listed.
        match matches.ids().any(|id| id == "rm") {
            true => ImageFlags::from_arg_matches(matches).map(Self),
            false => Ok(Self(ImageFlags::default())),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
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
    const ABOUT: &'static str =
        "Run a bundle or an image: create a container, start it, wait for its end, delete it";
    const FEW: Option<(LooksSo, Declare)> = Some((is_of_a_bundle, few));

    fn run(mut self, context: &Context) -> anyhow::Result<u8> {
        let has_image = |name: &str| context.storage().is_ok_and(|storage| base::is_stored(&storage, name));
        let around = Surroundings { has_config: &has_config, has_image: &has_image };
        let common = &mut self.common;
        let words = std::mem::take(&mut common.words);
        match target::resolve(words, common.bundle.take(), common.id.take(), &around)? {
            Target::Bundle { bundle, id } => self.run_bundle(bundle, id, context),
            Target::Image { name, args, id } => {
                let wanted = self.of_image(name, args, id)?;
                match wanted.run.detach {
                    true => run_background::run(wanted, context),
                    false => run_image::run(wanted, context),
                }
            }
        }
    }
}

/// Is it plain that no image is meant, so that its flags need not be declared? They are most of all flags.
fn is_of_a_bundle(args: &[OsString]) -> bool {
    let is_path = args.last().and_then(|word| word.to_str()).is_some_and(target::is_path);
    is_path || args.iter().any(|word| word == "--bundle" || word == "-b")
}

/// Flags without those for images, which are refused then and not taken for the TARGET: clap's refusal has all of them declared.
fn few(command: clap::Command) -> clap::Command {
    Common::augment_args(command).mut_arg("words", |words| words.allow_hyphen_values(false))
}

fn has_config(directory: &Path) -> bool {
    directory.join("config.json").is_file()
}

impl Run {
    fn run_bundle(self, bundle: PathBuf, id: Option<String>, context: &Context) -> anyhow::Result<u8> {
        if let Some(flag) = self.image.0.given() {
            anyhow::bail!(
                "{flag} is for images: the bundle {} says in its config.json what is run, and how",
                bundle.display()
            );
        }
        let id = parsed_id(id)?;
        let options = self.common.flags.options(id, bundle, context)?;
        if self.common.dry_run {
            let plan = lifecycle::dry_run(&context.store(), &options)?;
            output::print(&written(&plan, self.common.format)?)?;
            return Ok(0);
        }
        let run = RunOptions {
            detach: self.common.detach,
            keep: self.common.keep,
            no_subreaper: self.common.no_subreaper,
            timings: timings(self.common.timings)?,
        };
        if self.common.print_id {
            output::print(&format!("{}\n", options.id))?;
        }
        Ok(lifecycle::run(&context.store(), &options, &run)?)
    }

    fn of_image(
        self,
        name: String,
        args: Vec<String>,
        id: Option<String>,
    ) -> anyhow::Result<run_image::Wanted> {
        if self.common.dry_run {
            anyhow::bail!("--dry-run is for bundles: make one of the image with rcrun unpack {name} DIR");
        }
        let keep = self.common.keep || !self.image.0.rm;
        let run = RunOptions {
            detach: self.common.detach,
            keep,
            no_subreaper: self.common.no_subreaper,
            timings: timings(self.common.timings)?,
        };
        let called = id.clone();
        let id = parsed_id(id)?;
        Ok(run_image::Wanted {
            name,
            args,
            id,
            called,
            image: self.image.0,
            flags: self.common.flags,
            run,
            print_id: self.common.print_id,
        })
    }
}

fn parsed_id(id: Option<String>) -> anyhow::Result<ContainerId> {
    Ok(id.map_or_else(|| Ok(ContainerId::random()), |id| ContainerId::parse(&id))?)
}

fn timings(flag: Option<Option<PathBuf>>) -> anyhow::Result<Option<Timings>> {
    Ok(match flag {
        None => None,
        Some(None) => Some(Timings::Text),
        Some(Some(file)) => Some(Timings::Json(absolute(file)?)),
    })
}

/// The command line with the options before the TARGET, where that is a bundle or a name and options follow it; None
/// where it stays as it is. `matches` are those of `run` in `args`.
pub fn options_first(args: &[OsString], matches: &ArgMatches) -> Option<Vec<OsString>> {
    let words: Vec<&String> = matches.get_many("words").into_iter().flatten().collect();
    let (target, rest) = words.split_first()?;
    if !rest.first()?.starts_with('-') {
        return None;
    }
    // The words are the last ones.
    let at = args.len().checked_sub(words.len())?;
    let (head, tail) = (args.get(..at)?, args.get(at + 1..)?);
    let separated = head.last().is_some_and(|word| word == "--");
    let is_bundle = matches.contains_id("bundle")
        || target::is_path(target)
        || has_config(Path::new(target))
        || names_bundle(rest)
        || (has_config(Path::new(".")) && !matches.contains_id("id"));
    (is_bundle && !separated).then(|| {
        let last = [OsString::from("--"), OsString::from(target)];
        head.iter().chain(tail).cloned().chain(last).collect()
    })
}

/// Is there a `--bundle` among the words, or a `-b` with a bundle?
fn names_bundle(words: &[&String]) -> bool {
    words.iter().enumerate().any(|(index, word)| {
        let (name, value) =
            word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        let value = value.or(words.get(index + 1).map(|value| value.as_str()));
        match name {
            "--bundle" | "-bundle" => true,
            "-b" | "--b" => value.is_some_and(|directory| has_config(Path::new(directory))),
            _ => false,
        }
    })
}

/// The plan as text, `PROCESS  STEP` a line, or as a JSON array of the same.
fn written(plan: &Plan, format: PlanFormat) -> anyhow::Result<String> {
    let lines = plan.lines();
    Ok(match format {
        PlanFormat::Text => lines.iter().map(|line| format!("{:8}{}\n", line.process, line.step)).collect(),
        PlanFormat::Json => output::json_pretty(&lines, "  ")? + "\n",
    })
}
