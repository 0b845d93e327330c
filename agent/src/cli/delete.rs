//! `delete`.

use hyper::Method;

use super::apply::Files;
use super::client::{self, Error, Result, with_query};
use super::plain::say;
use super::target::{self, prefix};
use super::value::Look as _;
use super::watch::{Event, Query, Watch};
use super::{Scope, Session};
use crate::api::admission::ORIGIN;
use crate::objects::{Key, Kind};

/// `delete`.
#[derive(clap::Args, Debug)]
pub struct Delete {
    /// Kinds and names: "pod web", "deploy/web svc/web"
    #[arg(value_name = "KIND|KIND/NAME")]
    what: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    scope: Scope,
    /// Those with these labels
    #[arg(short = 'l', long, value_name = "LABELS", default_value = "", hide_default_value = true)]
    selector: String,
    /// Those with these fields
    #[arg(long, value_name = "FIELDS", default_value = "", hide_default_value = true)]
    field_selector: String,
    /// All of the kind
    #[arg(long)]
    all: bool,
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Seconds that containers have to end; -1: as their Pods say
    #[arg(long, value_name = "SECONDS", default_value_t = -1, allow_hyphen_values = true)]
    grace_period: i64,
    /// In one second
    #[arg(long)]
    now: bool,
    /// With --grace-period=0: at once
    #[arg(long)]
    force: bool,
    /// What becomes of what it owns: background (deleted after it), foreground (before it), orphan (kept)
    #[arg(long, value_name = "HOW", default_value = "background", num_args = 0..=1, require_equals = true,
        default_missing_value = "background")]
    cascade: String,
    /// Wait until they are gone
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    wait: bool,
    /// How long; 0s: as long as it takes
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    timeout: super::wait::Span,
    /// No error where an object is not there
    #[arg(long)]
    ignore_not_found: bool,
    /// name: print KIND/NAME only
    #[arg(short, long, value_name = "FORM")]
    output: Option<String>,
}

impl Delete {
    pub async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let grace = self.grace()?;
        let policy = match self.cascade.as_str() {
            "background" | "true" => "Background",
            "foreground" => "Foreground",
            "orphan" | "false" => "Orphan",
            other => {
                return Err(Error::usage(format!(
                    "invalid cascade value ({other}). Must be \"background\", \"foreground\", or \"orphan\""
                )));
            }
        };
        let keys = self.keys(session).await?;
        if grace == Some(0) && keys.iter().any(|key| key.kind == Kind::Pod) {
            say(
                "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated.",
            );
        }
        let grace = grace.map(|grace| grace.to_string()).unwrap_or_default();
        let (mut failed, mut going) = (false, Vec::new());
        for key in keys {
            let path = with_query(
                &client::object(&key),
                [("gracePeriodSeconds", grace.as_str()), ("propagationPolicy", policy)],
            );
            match session.client.json(Method::DELETE, &path, "").await {
                Ok(object) => {
                    self.print(session, &key, grace == "0")?;
                    if let Some(file) =
                        object.pointer("/metadata/annotations").and_then(|all| all.get(ORIGIN)?.as_str())
                    {
                        say(format!(
                            "Warning: {} comes from {file} in the manifests' directory, and is made again from it: remove the file, or take it out there",
                            named(&key)
                        ));
                    }
                    going.push((key, object.text("/metadata/uid").to_owned()));
                }
                Err(error) if error.is_not_found() && (self.ignore_not_found || self.all) => {}
                Err(error @ Error::Server { .. }) => {
                    say(error);
                    failed = true;
                }
                Err(error) => return Err(error),
            }
        }
        if going.is_empty() && !failed {
            writeln!(session.out, "No resources found")?;
        }
        session.out.flush()?;
        if self.wait {
            let all = async {
                for (key, uid) in &going {
                    gone(session, key, uid).await?;
                }
                Ok(())
            };
            self.timeout.limit(all, || Error::usage("timed out waiting for the objects to be gone")).await?;
        }
        if failed { Err(Error::Said) } else { Ok(()) }
    }

    fn grace(&self) -> Result<Option<i64>> {
        match (self.grace_period, self.now, self.force) {
            (0, false, false) => {
                Ok(Some(0)) // Also without --force: nothing here confirms later than the agent.
            }
            (-1, true, _) => Ok(Some(1)),
            (_, true, _) => Err(Error::usage("--now and --grace-period cannot be specified together")),
            (-1, _, true) => Ok(Some(0)),
            (-1, ..) => Ok(None),
            (seconds, ..) if seconds < 0 => {
                Err(Error::usage(format!("--grace-period {seconds}: it is a number of seconds, or -1")))
            }
            (seconds, ..) => Ok(Some(seconds)),
        }
    }

    async fn keys(&self, session: &Session<'_>) -> Result<Vec<Key>> {
        if !self.files.filename.is_empty() {
            let targets = target::named(&self.what, &self.files)?;
            let mut keys: Vec<Key> =
                targets.iter().filter_map(|target| target.key(self.scope.name())).collect();
            // What others need goes last.
            keys.sort_by_key(|key| std::cmp::Reverse(key.kind));
            return Ok(keys);
        }
        let (mut keys, targets) = (Vec::new(), target::parse(&self.what)?);
        for target in &targets {
            if let Some(key) = target.key(self.scope.name()) {
                keys.push(key);
                continue;
            }
            if !self.all && self.selector.is_empty() && self.field_selector.is_empty() {
                return Err(Error::usage(
                    "resource(s) were provided, but no name was specified: give names, -l or --all",
                ));
            }
            let namespace =
                (!self.all_namespaces && target.kind.namespaced()).then(|| self.scope.name().to_owned());
            let (labels, fields) = (self.selector.clone(), self.field_selector.clone());
            let query = Query { kind: target.kind, namespace, labels, fields };
            keys.extend(query.keys(&session.client).await?);
        }
        Ok(keys)
    }

    fn print(&self, session: &mut Session<'_>, key: &Key, at_once: bool) -> Result<()> {
        if self.output.as_deref() == Some("name") {
            writeln!(session.out, "{}/{}", prefix(key.kind), key.name)?;
            return Ok(());
        }
        let word = if at_once { "force deleted" } else { "deleted" };
        match key.namespace.as_str() {
            "" => writeln!(session.out, "{} {word}", named(key))?,
            namespace => writeln!(session.out, "{} {word} from {namespace} namespace", named(key))?,
        }
        Ok(())
    }
}

fn named(key: &Key) -> String {
    format!("{} \"{}\"", prefix(key.kind), key.name)
}

/// Waits until an object is gone, or another one has its name.
pub async fn gone(session: &Session<'_>, key: &Key, uid: &str) -> Result<()> {
    let mut watch = Watch::start(session, &Query::one(key)).await?;
    let mut there = false;
    loop {
        match watch.next().await? {
            Event::Is(object) if uid.is_empty() || object.text("/metadata/uid") == uid => there = true,
            Event::Is(_) => {}
            Event::Gone(_) => return Ok(()),
            Event::Current if !there => return Ok(()),
            Event::Current => {}
        }
    }
}
