//! `rollout`.

use hyper::Method;
use serde_json::{Value, json};

use super::apply::Files;
use super::client::{Error, Result, object, with_query};
use super::describe;
use super::plain::{say, say_none};
use super::table::Table;
use super::target::{self, prefix};
use super::value::{Look as _, or};
use super::wait::Span;
use super::watch::{Event, Query, Watch};
use super::{Scope, Session};
use crate::objects::{Key, Kind};

/// The annotation of a ReplicaSet's revision.
const REVISION: &str = "/metadata/annotations/deployment.kubernetes.io~1revision";

/// `rollout`.
#[derive(clap::Subcommand, Debug)]
pub enum Rollout {
    /// Tell how far it is, until it is through
    Status(Status),
    /// List revisions
    History(History),
    /// Go back to a revision
    Undo(Undo),
    /// Start all Pods anew, as a rollout does
    Restart(Target),
    /// Let changes wait
    Pause(Target),
    /// Let changes go on
    Resume(Target),
}

/// Objects.
#[derive(clap::Args, Debug)]
pub struct Target {
    /// Deployments, StatefulSets, DaemonSets; without a name all of the kind
    #[arg(value_name = "KIND|KIND/NAME", required_unless_present = "filename")]
    what: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    scope: Scope,
    /// Those with these labels
    #[arg(short = 'l', long, value_name = "LABELS", default_value = "", hide_default_value = true)]
    selector: String,
}

/// `rollout status`.
#[derive(clap::Args, Debug)]
pub struct Status {
    #[command(flatten)]
    target: Target,
    /// Wait until it is through
    #[arg(short, long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    watch: bool,
    /// How long; 0s: as long as it takes
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    timeout: Span,
}

/// `rollout history`.
#[derive(clap::Args, Debug)]
pub struct History {
    #[command(flatten)]
    target: Target,
    /// What a revision's Pods are
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    revision: i64,
}

/// `rollout undo`.
#[derive(clap::Args, Debug)]
pub struct Undo {
    #[command(flatten)]
    target: Target,
    /// The revision; 0: the one before
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    to_revision: i64,
}

impl Target {
    /// Those that are named, or all; that there are none is said.
    async fn keys(&self, session: &Session<'_>) -> Result<Vec<Key>> {
        let mut keys = Vec::new();
        for target in target::named(&self.what, &self.files)? {
            if !matches!(target.kind, Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet) {
                return Err(Error::usage(format!("{}: it has no rollouts", target.kind.plural())));
            }
            match target.key(self.scope.name()) {
                Some(_) if !self.selector.is_empty() => {
                    return Err(Error::usage("name cannot be provided when a selector is specified"));
                }
                Some(key) => keys.push(key),
                None => {
                    let namespace = Some(self.scope.name().to_owned());
                    let labels = self.selector.clone();
                    let query = Query { kind: target.kind, namespace, labels, fields: String::new() };
                    keys.extend(query.keys(&session.client).await?);
                }
            }
        }
        if keys.is_empty() {
            say_none("resources", Some(self.scope.name()));
        }
        Ok(keys)
    }
}

impl Rollout {
    pub async fn run(self, session: &mut Session<'_>) -> Result<()> {
        match self {
            Self::Status(status) => status.run(session).await,
            Self::History(history) => history.run(session).await,
            Self::Undo(undo) => undo.run(session).await,
            Self::Restart(target) => {
                let at = (session.now)().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                let annotations = json!({"kubectl.kubernetes.io/restartedAt": at});
                let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
                change(session, &target, &patch, "restarted").await
            }
            Self::Pause(target) => {
                change(session, &target, &json!({"spec": {"paused": true}}), "paused").await
            }
            Self::Resume(target) => {
                change(session, &target, &json!({"spec": {"paused": null}}), "resumed").await
            }
        }
    }
}

async fn change(session: &mut Session<'_>, target: &Target, patch: &Value, word: &str) -> Result<()> {
    let (keys, mut failed) = (target.keys(session).await?, false);
    for key in &keys {
        match change_one(session, key, patch, word).await {
            Ok(()) => {}
            // The others are changed all the same.
            Err(error @ (Error::Usage(_) | Error::Server { .. })) if keys.len() > 1 => {
                say(error);
                failed = true;
            }
            Err(error) => return Err(error),
        }
    }
    if failed { Err(Error::Said) } else { Ok(()) }
}

async fn change_one(session: &mut Session<'_>, key: &Key, patch: &Value, word: &str) -> Result<()> {
    let name = format!("{}/{}", prefix(key.kind), key.name);
    let paused = session.client.get(key).await?.flag("/spec/paused");
    match (word, paused) {
        ("paused" | "resumed", _) if key.kind != Kind::Deployment => {
            return Err(Error::usage(format!("{name} is no Deployment: it cannot be {word}")));
        }
        ("paused", true) => return Err(Error::usage(format!("{name} is already paused"))),
        ("resumed", false) => return Err(Error::usage(format!("{name} is not paused"))),
        ("restarted", true) => {
            return Err(Error::usage(format!("can't restart paused {name} (run rollout resume first)")));
        }
        _ => {}
    }
    session.client.patch(key, patch).await?;
    writeln!(session.out, "{name} {word}")?;
    Ok(())
}

impl Status {
    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        for key in self.target.keys(session).await? {
            let over = || Error::usage("timed out waiting for the condition");
            self.timeout.limit(follow(session, &key, self.watch), over).await?;
        }
        Ok(())
    }
}

async fn follow(session: &mut Session<'_>, key: &Key, wait: bool) -> Result<()> {
    // Before the status is asked for: nothing is missed in between.
    let mut watch = Watch::start(session, &Query::one(key)).await?;
    let path = format!("{}/rollout", object(key));
    let mut told = String::new();
    loop {
        let status = match session.client.json(Method::GET, &path, "").await {
            // What the rollout has come to, not what is wrong with the request.
            Err(Error::Server { code: 422, message, .. }) => return Err(Error::usage(message)),
            status => status?,
        };
        let message = status.text("/message").trim_end();
        if message != told {
            writeln!(session.out, "{message}")?;
            session.out.flush()?;
            message.clone_into(&mut told);
        }
        if status.flag("/done") || !wait {
            return Ok(());
        }
        loop {
            match watch.next().await? {
                Event::Is(_) => break,
                Event::Current => {}
                Event::Gone(_) => return Err(Error::usage("object has been deleted")),
            }
        }
    }
}

impl History {
    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        for key in self.target.keys(session).await? {
            let name = format!("{}/{}", prefix(key.kind), key.name);
            if self.revision > 0 {
                revision(session, &key, &name, self.revision).await?;
                continue;
            }
            let path = format!("{}/history", object(&key));
            let history = session.client.json(Method::GET, &path, "").await?;
            let mut table = Table::new(&["REVISION", "CHANGE-CAUSE"]);
            for revision in history.items("/revisions") {
                let cause = or(revision.text("/changeCause"), "<none>").to_owned();
                table.rows.push(vec![revision.number("/revision").to_string(), cause]);
            }
            writeln!(session.out, "{name} ")?;
            writeln!(session.out, "{}", table.text(true, &mut Vec::new()))?;
        }
        Ok(())
    }
}

/// What the Pods of a revision are: its ReplicaSet tells.
async fn revision(session: &mut Session<'_>, key: &Key, name: &str, revision: i64) -> Result<()> {
    let uid = session.client.get(key).await?.text("/metadata/uid").to_owned();
    let query = Query {
        kind: Kind::ReplicaSet,
        namespace: Some(key.namespace.clone()),
        labels: String::new(),
        fields: String::new(),
    };
    let sets = query.list(&session.client).await?;
    let set = sets.iter().find(|set| {
        set.text(REVISION) == revision.to_string()
            && set.items("/metadata/ownerReferences").iter().any(|owner| owner.text("/uid") == uid)
    });
    let set = set
        .ok_or_else(|| Error::usage(format!("unable to find the specified revision {revision} of {name}")))?;
    let text = describe::template(&set["spec"]["template"]);
    writeln!(session.out, "{name} with revision #{revision}\n{text}")?;
    Ok(())
}

impl Undo {
    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        for key in self.target.keys(session).await? {
            let revision = self.to_revision.to_string();
            let path = with_query(&format!("{}/rollback", object(&key)), [("toRevision", revision.as_str())]);
            let answer = session.client.json(Method::POST, &path, "").await?;
            let name = format!("{}/{}", prefix(key.kind), key.name);
            match answer.text("/message") {
                "" => writeln!(session.out, "{name} rolled back")?,
                message => writeln!(session.out, "{name} {message}")?,
            }
        }
        Ok(())
    }
}
