//! The command line: flags to library calls, nothing else. One file per command.
//!
//! In: the arguments. Out: the exit status, or an error; `--log` is installed by then. Names and
//! meanings of flags are runc's; what is rcrun's own says so in its help. Options may stand before or
//! after the positional arguments; after the ID of `exec` and `ps` every word belongs to the program.

mod background;
mod base;
mod bench;
mod checkpoint;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod global;
mod human;
mod image;
mod image_flags;
mod kill;
mod list;
mod load;
pub mod log;
mod login;
mod logs;
mod mounts;
mod output;
mod pause;
mod progress;
mod prompt;
mod ps;
mod ps_containers;
mod pull;
mod push;
mod registry;
mod restart;
mod rm;
mod run;
mod run_background;
mod run_image;
mod save;

mod size;
mod spec;
mod start;
mod state;
mod stop;
mod system;
mod table;
mod target;
mod transfer;
mod unpack;
mod update;
mod version;
mod volume;
mod words;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, FromArgMatches as _};

pub use global::Context;
use global::Global;
use log::Log;

/// One command of `rcrun`.
pub trait Command: Args {
    /// Its name on the command line.
    const NAME: &'static str;
    /// Its line in `rcrun --help`.
    const ABOUT: &'static str;
    /// The exit status when it fails; runc's `exec` has its own.
    const FAILURE: u8 = 1;
    /// For command lines that look so, some of its flags: to declare one costs time. Should clap refuse the command line,
    /// all are declared.
    const FEW: Option<(LooksSo, Declare)> = None;
    /// Called by rcrun itself, and listed nowhere.
    const HIDDEN: bool = false;

    /// Does it; the result is the exit status.
    fn run(self, context: &Context) -> anyhow::Result<u8>;
}

/// Declares flags.
type Declare = fn(clap::Command) -> clap::Command;
/// Says something of a command line.
type LooksSo = fn(&[OsString]) -> bool;

/// Why there is no exit status, and what becomes of it.
pub struct Stopped {
    /// What failed.
    pub error: anyhow::Error,
    /// The exit status for it.
    pub status: u8,
}

/// An error that ends with an exit status of its own.
#[derive(Debug)]
pub struct WithStatus {
    /// What failed.
    pub error: anyhow::Error,
    /// The exit status for it.
    pub status: u8,
}

impl std::fmt::Display for WithStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for WithStatus {}

/// A command by name: how its flags are declared, and what it does with them.
struct Entry {
    name: &'static str,
    about: &'static str,
    failure: u8,
    declare: Declare,
    few: Option<(LooksSo, Declare)>,
    hidden: bool,
    run: fn(&ArgMatches, &Context) -> anyhow::Result<u8>,
}

const fn entry<C: Command>() -> Entry {
    Entry {
        name: C::NAME,
        about: C::ABOUT,
        failure: C::FAILURE,
        declare: |command| {
            with_help(C::augment_args(command), C::ABOUT)
                .args_override_self(true)
                .disable_help_subcommand(true)
        },
        few: C::FEW,
        hidden: C::HIDDEN,
        run: |matches, context| C::from_arg_matches(matches)?.run(context),
    }
}

const COMMANDS: &[Entry] = &[
    entry::<run::Run>(),
    entry::<create::Create>(),
    entry::<start::Start>(),
    entry::<exec::Exec>(),
    entry::<kill::Kill>(),
    entry::<delete::Delete>(),
    entry::<state::State>(),
    entry::<list::List>(),
    entry::<ps::Ps>(),
    entry::<logs::Logs>(),
    entry::<stop::Stop>(),
    entry::<restart::Restart>(),
    entry::<rm::Rm>(),
    entry::<background::Ended>(),
    entry::<events::Events>(),
    entry::<pause::Pause>(),
    entry::<pause::Resume>(),
    entry::<update::Update>(),
    entry::<mounts::Mounts>(),
    entry::<pull::Pull>(),
    entry::<push::Push>(),
    entry::<image::Images>(),
    entry::<image::Image>(),
    entry::<image::Rmi>(),
    entry::<image::Tag>(),
    entry::<volume::Volume>(),
    entry::<system::System>(),
    entry::<spec::Spec>(),
    entry::<unpack::Unpack>(),
    entry::<features::Features>(),
    entry::<version::Version>(),
    entry::<checkpoint::Checkpoint>(),
    entry::<checkpoint::Restore>(),
    entry::<login::Login>(),
    entry::<login::Logout>(),
    entry::<registry::Registry>(),
    entry::<load::Load>(),
    entry::<save::Save>(),
    entry::<bench::Bench>(),
];

/// `about` in the place of what derive takes from a struct's comment, and `--help` with one line a flag; also of the
/// actions of a group.
fn with_help(command: clap::Command, about: &'static str) -> clap::Command {
    let help = clap::Arg::new("help").short('h').long("help").help("Print help");
    let help = help.action(clap::ArgAction::HelpShort).help_heading(None::<&'static str>);
    let action = help.clone();
    command
        .about(about)
        .disable_help_flag(true)
        .arg(help)
        .mut_subcommands(move |command| command.arg(action.clone()).args_override_self(true))
}

/// The whole command line as clap has it.
fn command_line() -> clap::Command {
    command_line_of(COMMANDS.iter().map(|entry| (entry, entry.declare)))
}

/// The command line with some of the commands. Flags of a command are declared only when it is used, but clap
/// gives each command a copy of all global options.
fn command_line_of<'a>(commands: impl Iterator<Item = (&'a Entry, Declare)>) -> clap::Command {
    let version = clap::Arg::new("version").short('v').long("version").action(clap::ArgAction::SetTrue);
    let command = clap::Command::new("rcrun")
        .arg(version.help("Print versions, as the command version does"))
        .after_help("To run a bundle: rcrun run DIR/. An image: rcrun run IMAGE. Flags of a command: rcrun COMMAND --help.")
        .subcommand_value_name("COMMAND")
        // Of a flag that is given twice the last counts, as for runc.
        .args_override_self(true)
        .arg_required_else_help(true);
    let command = with_help(
        Global::augment_args(command),
        "A daemonless runtime for containers, of OCI bundles and of images",
    );
    command.subcommands(commands.map(|(entry, declare)| {
        clap::Command::new(entry.name).about(entry.about).hide(entry.hidden).defer(declare)
    }))
}

/// The commands whose processes become a container's own. Any argument may be one: an option's value
/// of this name costs an exec and nothing else. `src/sys/entry.rs` looks for them, too.
const SEALED: [&str; 3] = ["run", "create", "exec"];

/// Parses `args` and does what they say.
pub fn run(args: Vec<OsString>) -> Result<u8, Stopped> {
    if args.iter().skip(1).any(|word| SEALED.iter().any(|command| word == command))
        && let Err(error) = rcrun::sealed::seal(&args)
    {
        return finished(Err(error.into()), &args);
    }
    let mut args = words::in_claps_spelling(args);
    let parsed = parse(&args).and_then(|matches| with_options_first(&mut args, matches));
    let matches = match parsed {
        Ok(matches) => matches,
        Err(refused) => return usage(&refused, &args),
    };
    if matches.get_flag("version") {
        let printed = output::print(&format!("rcrun {}\n", version::text()));
        return finished(printed, &args);
    }
    let context = match Global::from_arg_matches(&matches).map_err(anyhow::Error::from).and_then(Context::new)
    {
        Ok(context) => context,
        Err(error) => return finished(Err(error), &args),
    };
    log::debug(|| format!("rcrun {}: {:?}", env!("CARGO_PKG_VERSION"), &args[1..]));
    let Some((name, matches)) = matches.subcommand() else {
        let error = anyhow::anyhow!("no command given (see 'rcrun --help')");
        return Err(Stopped { error, status: 1 });
    };
    let entry = COMMANDS.iter().find(|entry| entry.name == name).expect("clap knows no other commands");
    (entry.run)(matches, &context).map_err(|error| match error.downcast::<WithStatus>() {
        Ok(WithStatus { error, status }) => Stopped { error, status },
        Err(error) => Stopped { error, status: entry.failure },
    })
}

/// The flags of `run`, if that is the command.
fn of_run(matches: &ArgMatches) -> Option<&ArgMatches> {
    matches.subcommand().filter(|(name, _)| *name == run::Run::NAME).map(|(_, flags)| flags)
}

/// Options that follow the TARGET of `run` are rcrun's where that is a bundle or a name.
fn with_options_first(args: &mut Vec<OsString>, matches: ArgMatches) -> Result<ArgMatches, clap::Error> {
    let moved = of_run(&matches).and_then(|run| run::options_first(args, run));
    let Some(moved) = moved.map(words::in_claps_spelling) else { return Ok(matches) };
    let one_word = |matches: &ArgMatches| {
        let words = of_run(matches).and_then(|run| run.get_many::<String>("words"));
        words.is_some_and(|words| words.len() == 1)
    };
    let parsed = parse(&moved)?;
    // More than options: what they say stays with the TARGET.
    if !one_word(&parsed) {
        return Ok(matches);
    }
    *args = moved;
    Ok(parsed)
}

/// Parses with the commands alone whose names are among the words; for a refusal, and for help, with all.
fn parse(args: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let named = COMMANDS.iter().filter(|entry| args.iter().skip(1).any(|word| word == entry.name));
    let declared = named.map(|entry| match entry.few {
        Some((looks_so, few)) if looks_so(args) => (entry, few),
        _ => (entry, entry.declare),
    });
    command_line_of(declared)
        .try_get_matches_from(args)
        .or_else(|_| command_line().try_get_matches_from(args))
}

/// Help goes to stdout; anything else is an error in one line. Statuses are runc's.
fn usage(refused: &clap::Error, args: &[OsString]) -> Result<u8, Stopped> {
    let status = match refused.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return finished(output::print(&refused.render().to_string()), args);
        }
        ErrorKind::InvalidSubcommand => 3,
        _ => 1,
    };
    log::install(Log::from_arguments(args));
    Err(Stopped { error: anyhow::anyhow!(one_line(refused, args)), status })
}

/// Makes a process of an unprivileged user root of a user namespace, where files of all ids of an image can be made and
/// removed. Before the process has a second thread, and before it opens anything of the store. The note is for who
/// makes files: they may all be of one owner.
fn enter_user_namespace() -> anyhow::Result<Option<String>> {
    Ok(rcrun::image::rootless::enter()?)
}

/// The end of what needs no [`Context`].
fn finished(result: anyhow::Result<()>, args: &[OsString]) -> Result<u8, Stopped> {
    match result {
        Ok(()) => Ok(0),
        Err(error) => {
            log::install(Log::from_arguments(args));
            Err(Stopped { error, status: 1 })
        }
    }
}

/// clap's explanation without its paragraphs: what is wrong, the tip if there is one, where to look.
fn one_line(refused: &clap::Error, args: &[OsString]) -> String {
    let text = refused.render().to_string();
    let mut parts = text.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let wrong = parts.next().unwrap_or_default();
    let mut line = wrong.strip_prefix("error: ").unwrap_or(&wrong).to_owned();
    if let Some(tip) = parts.find_map(|part| part.strip_prefix("tip: ").map(str::to_owned)) {
        line.push_str("; ");
        line.push_str(&tip);
    }
    let command = args.iter().skip(1).find_map(|word| COMMANDS.iter().find(|entry| word == entry.name));
    match command {
        Some(command) => format!("{line} (see 'rcrun {} --help')", command.name),
        None => format!("{line} (see 'rcrun --help')"),
    }
}

#[cfg(test)]
mod tests;
