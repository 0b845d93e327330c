//! kubectl's verbs on the agent's socket (docs/agent.md).
//!
//! A verb is a file: its arguments and what it asks. [`client`] asks; [`target`] says of whom; [`columns`], [`describe`] and [`output`]
//! are how objects are shown, which is pure: what is told of ages gets the time. One thread, no pool: a verb takes milliseconds.

mod age;
mod apply;
mod attach;
mod client;
mod columns;
mod delete;
mod describe;
mod events;
mod get;
mod jsonpath;
mod label;
mod logs;
mod output;
mod plain;
mod pods;
mod podwords;
mod portforward;
mod resources;
mod rollout;
mod scale;
mod set;
mod strategic;
mod streams;
mod table;
mod target;
mod terminal;
#[cfg(test)]
mod tests;
mod top;
mod value;
mod wait;
mod watch;
mod words;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use k8s_openapi::jiff::Timestamp;

use crate::objects::Kind;
use client::{Client, Error, Result};
pub use plain::say;
pub use words::in_claps_spelling;

/// What a verb works with.
pub struct Session<'a> {
    client: Client,
    out: &'a mut dyn Write,
    now: fn() -> Timestamp,
}

/// Of which namespace.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct Scope {
    /// Of verbs: the namespace [default: default]
    #[arg(short, long, global = true, value_name = "NAME", env = "RCRUN_AGENT_NAMESPACE")]
    namespace: Option<String>,
}

impl Scope {
    fn name(&self) -> &str {
        self.given().unwrap_or("default")
    }

    /// None: none was named, for which "" stands too.
    fn given(&self) -> Option<&str> {
        self.namespace.as_deref().filter(|namespace| !namespace.is_empty())
    }
}

/// Which objects of a kind.
#[derive(clap::Args, Debug, Clone, Default)]
struct Which {
    #[command(flatten)]
    scope: Scope,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only those with these labels: "app=web,tier!=db,env in (a,b)"
    #[arg(short = 'l', long, value_name = "LABELS", default_value = "", hide_default_value = true)]
    selector: String,
}

impl Which {
    /// None: objects of the kind are in no namespace, or those of all are meant.
    fn namespace_of(&self, kind: Kind) -> Option<String> {
        (!self.all_namespaces && kind.namespaced()).then(|| self.scope.name().to_owned())
    }

    /// Says that there is none of some kinds.
    fn say_none(&self, mut kinds: impl Iterator<Item = Kind>) {
        let in_namespace = kinds.any(|kind| self.namespace_of(kind).is_some());
        plain::say_none("resources", in_namespace.then(|| self.scope.name()));
    }
}

/// The verbs.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Apply manifests: what is not there is created, what differs is changed
    Apply(apply::Apply),
    /// Create what manifests say; what is there already is an error
    Create(apply::Create),
    /// Show objects: pods, deployments, services ..., or "all"
    Get(get::Get),
    /// Show objects in detail, with their events
    Describe(describe::Describe),
    /// Print a container's log
    Logs(logs::Logs),
    /// Run a command in a container
    Exec(attach::Exec),
    /// Attach to a running container
    Attach(attach::Attach),
    /// Forward ports of this machine to a Pod
    PortForward(portforward::PortForward),
    /// Delete objects
    Delete(delete::Delete),
    /// Set the number of replicas
    Scale(scale::Scale),
    /// Follow, pause, restart, undo a rollout
    #[command(subcommand)]
    Rollout(rollout::Rollout),
    /// Show what Pods and the node use
    #[command(subcommand)]
    Top(top::Top),
    /// List events
    Events(events::Events),
    /// Wait until something is true of objects
    Wait(wait::Wait),
    /// Set labels, or take them off
    Label(label::Label),
    /// Set annotations, or take them off
    Annotate(label::Annotate),
    /// Change objects' fields
    #[command(subcommand)]
    Set(set::Set),
    /// Change an object by a strategic merge patch, or a JSON merge patch
    Patch(set::Patch),
    /// List the kinds of objects
    ApiResources(resources::ApiResources),
    /// Print the versions of this program and of the agent
    Version(resources::Version),
}

/// Runs a verb. What goes wrong is told on standard error, as kubectl does.
pub fn run(command: Command, socket: &Path) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut out = io::LineWriter::new(io::stdout());
    let mut session = Session { client: Client::new(socket), out: &mut out, now: Timestamp::now };
    let done = runtime.block_on(verb(command, &mut session));
    // A thread may be reading standard input for good.
    runtime.shutdown_background();
    let done = done.and_then(|code| out.flush().map(|()| code).map_err(Error::Io));
    Ok(match done {
        Ok(code) => code,
        Err(Error::Said) => ExitCode::FAILURE,
        // Nobody reads any more, as of `| head`.
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            say(error);
            ExitCode::FAILURE
        }
    })
}

async fn verb(command: Command, session: &mut Session<'_>) -> Result<ExitCode> {
    match command {
        Command::Apply(verb) => verb.run(session).await?,
        Command::Create(verb) => verb.run(session).await?,
        Command::Get(verb) => verb.run(session).await?,
        Command::Describe(verb) => verb.run(session).await?,
        Command::Logs(verb) => verb.run(session).await?,
        Command::Exec(verb) => return verb.run(session).await,
        Command::Attach(verb) => return verb.run(session).await,
        Command::PortForward(verb) => verb.run(session).await?,
        Command::Delete(verb) => verb.run(session).await?,
        Command::Scale(verb) => verb.run(session).await?,
        Command::Rollout(verb) => verb.run(session).await?,
        Command::Top(verb) => verb.run(session).await?,
        Command::Events(verb) => verb.run(session).await?,
        Command::Wait(verb) => verb.run(session).await?,
        Command::Label(verb) => verb.run(session).await?,
        Command::Annotate(verb) => verb.run(session).await?,
        Command::Set(verb) => verb.run(session).await?,
        Command::Patch(verb) => verb.run(session).await?,
        Command::ApiResources(verb) => verb.run(session)?,
        Command::Version(verb) => verb.run(session).await?,
    }
    Ok(ExitCode::SUCCESS)
}
