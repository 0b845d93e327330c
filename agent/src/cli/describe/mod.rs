//! `describe`: an object in words, and its events. What it says of a Secret is names and lengths.

mod layout;
mod network;
mod other;
mod pod;
mod related;
mod workloads;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::apply::Files;
use super::client::{Error, Result};
use super::columns::{count, in_order, last_seen};
use super::events::about;
use super::plain::say;
use super::target;
use super::value::{Look as _, or};
use super::watch::Query;
use super::{Session, Which, age};
use crate::objects::{Key, Kind};
use layout::Text;

pub use pod::template;

/// `describe`.
#[derive(clap::Args, Debug)]
pub struct Describe {
    /// Kinds and names; the beginning of a name will do
    #[arg(value_name = "KIND|KIND/NAME", required_unless_present = "filename")]
    what: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    which: Which,
}

impl Describe {
    pub async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let (mut objects, mut failed) = (Vec::new(), false);
        let targets = target::named(&self.what, &self.files)?;
        for target in &targets {
            let kind = target.kind;
            if let Some(key) = target.key(self.which.scope.name()) {
                match session.client.get(&key).await {
                    Ok(object) => objects.push((kind, object)),
                    Err(error) if error.is_not_found() => {
                        let mut like = self.query(kind).list(&session.client).await?;
                        like.retain(|object| object.text("/metadata/name").starts_with(&key.name));
                        if like.is_empty() {
                            // The others are shown all the same.
                            say(error);
                            failed = true;
                        }
                        objects.extend(like.into_iter().map(|object| (kind, object)));
                    }
                    Err(error) => return Err(error),
                }
                continue;
            }
            let all = self.query(kind).list(&session.client).await?;
            objects.extend(all.into_iter().map(|object| (kind, object)));
        }
        if objects.is_empty() && !failed {
            self.which.say_none(targets.iter().map(|target| target.kind));
            return Ok(());
        }
        for (at, (kind, object)) in objects.iter().enumerate() {
            let events = events(session, *kind, object).await?;
            let more = related::to(session, *kind, object).await?;
            let text = describe(*kind, object, &more, &events, (session.now)());
            let between = if at > 0 { "\n\n" } else { "" };
            write!(session.out, "{between}{text}")?;
        }
        if failed { Err(Error::Said) } else { Ok(()) }
    }

    fn query(&self, kind: Kind) -> Query {
        let namespace = self.which.namespace_of(kind);
        Query { kind, namespace, labels: self.which.selector.clone(), fields: String::new() }
    }
}

async fn events(session: &Session<'_>, kind: Kind, object: &Value) -> Result<Vec<Value>> {
    let key = Key::new(kind, object.text("/metadata/namespace"), object.text("/metadata/name"));
    let namespace = Some(key.namespace.clone()).filter(|namespace| !namespace.is_empty());
    let fields = about(&key, object.text("/metadata/uid"));
    let query = Query { kind: Kind::Event, namespace, labels: String::new(), fields };
    let mut events = query.list(&session.client).await?;
    in_order(&mut events);
    Ok(events)
}

/// An object in words.
fn describe(kind: Kind, object: &Value, more: &[Value], events: &[Value], now: Timestamp) -> String {
    let mut text = Text::default();
    text.field(0, "Name", object.text("/metadata/name"));
    if kind.namespaced() {
        text.field(0, "Namespace", object.text("/metadata/namespace"));
    }
    match kind {
        Kind::Pod => pod::describe(&mut text, object),
        Kind::Service => network::service(&mut text, object, more),
        Kind::Endpoints => network::endpoints(&mut text, object),
        Kind::Ingress => network::ingress(&mut text, object, more),
        Kind::Deployment | Kind::ReplicaSet | Kind::StatefulSet | Kind::DaemonSet => {
            workloads::controller(&mut text, kind, object, more);
        }
        Kind::Job => workloads::job(&mut text, object),
        Kind::CronJob => workloads::cron_job(&mut text, object),
        Kind::ConfigMap => other::config_map(&mut text, object),
        Kind::Secret => other::secret(&mut text, object),
        Kind::Namespace => other::namespace(&mut text, object, more),
        Kind::PersistentVolume => other::volume(&mut text, object),
        Kind::PersistentVolumeClaim => other::claim(&mut text, object, more),
        Kind::ResourceQuota => other::quota(&mut text, object),
        Kind::LimitRange => other::limit_range(&mut text, object),
        Kind::RuntimeClass | Kind::Event => other::anything(&mut text, object),
    }
    self::events_of(&mut text, events, now);
    text.finish()
}

/// Labels and annotations.
fn metadata(text: &mut Text, object: &Value) {
    text.pairs("Labels", object, "/metadata/labels");
    let mut shown = object.clone();
    if let Some(Value::Object(annotations)) = shown.pointer_mut("/metadata/annotations") {
        // As long as the object itself, and nothing new.
        annotations.retain(|name, _| {
            name != crate::api::admission::APPLIED
                && name != crate::reconcile::workloads::CURRENT_TEMPLATE
                && name != "kubectl.kubernetes.io/last-applied-configuration"
        });
    }
    text.pairs("Annotations", &shown, "/metadata/annotations");
}

fn conditions(text: &mut Text, object: &Value) {
    let conditions = object.items("/status/conditions");
    if conditions.is_empty() {
        return;
    }
    text.line(0, "Conditions:");
    let reasons = conditions.iter().any(|condition| condition.has("/reason"));
    let headings: &[&str] = if reasons { &["Type", "Status", "Reason"] } else { &["Type", "Status"] };
    text.row(1, headings);
    text.row(
        1,
        &headings
            .iter()
            .map(|heading| if *heading == "Reason" || *heading == "Status" { "------" } else { "----" })
            .collect::<Vec<_>>(),
    );
    for condition in conditions {
        let cells = [condition.text("/type"), condition.text("/status"), condition.text("/reason")];
        text.row(1, cells.get(..headings.len()).unwrap_or(&cells));
    }
}

fn events_of(text: &mut Text, events: &[Value], now: Timestamp) {
    if events.is_empty() {
        text.field(0, "Events", "<none>");
        return;
    }
    text.line(0, "Events:");
    text.row(1, &["Type", "Reason", "Age", "From", "Message"]);
    text.row(1, &["----", "------", "----", "----", "-------"]);
    for event in events {
        let seen = age::since(last_seen(event), now);
        let age = match count(event) {
            1 => seen,
            count => format!("{seen} (x{count} over {})", age::since(event.text("/firstTimestamp"), now)),
        };
        let from = or(event.text("/source/component"), event.text("/reportingComponent"));
        let message = event.text("/message").trim();
        text.row(1, &[event.text("/type"), event.text("/reason"), &age, from, message]);
    }
}
