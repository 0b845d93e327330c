//! `events`.

use serde_json::Value;

use super::client::Result;
use super::columns;
use super::plain::say_none;
use super::target;
use super::value::Look as _;
use super::watch::{Event, Query, Watch};
use super::{Scope, Session};
use crate::objects::{Key, Kind};

/// `events`.
#[derive(clap::Args, Debug)]
pub struct Events {
    #[command(flatten)]
    scope: Scope,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Of one object: "pod/web"
    #[arg(long = "for", value_name = "KIND/NAME")]
    object: Option<String>,
    /// Only those of these types: Normal, Warning
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    types: Vec<String>,
    /// Go on with new ones
    #[arg(short, long)]
    watch: bool,
    /// No headings
    #[arg(long)]
    no_headers: bool,
}

impl Events {
    pub async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let namespace = (!self.all_namespaces).then(|| self.scope.name().to_owned());
        let mut query = Query { kind: Kind::Event, namespace, labels: String::new(), fields: String::new() };
        if let Some(object) = &self.object {
            let target = target::one(std::slice::from_ref(object), None)?;
            query.fields =
                about(&target.key(self.scope.name()).unwrap_or_else(|| Key::new(target.kind, "", "")), "");
            if !target.kind.namespaced() {
                query.namespace = None;
            }
        }
        let mut widths = Vec::new();
        let wanted = |event: &Value| {
            self.types.is_empty()
                || self.types.iter().any(|kind| kind.eq_ignore_ascii_case(event.text("/type")))
        };
        if !self.watch {
            let mut events = query.list(&session.client).await?;
            events.retain(wanted);
            if events.is_empty() {
                say_none("events", (!self.all_namespaces).then(|| self.scope.name()));
                return Ok(());
            }
            return self.print(session, events, !self.no_headers, &mut widths);
        }
        let mut watch = Watch::start(session, &query).await?;
        let (mut first, mut current, mut headings) = (Vec::new(), false, !self.no_headers);
        loop {
            let batch = match watch.next().await? {
                Event::Is(event) if !wanted(&event) => continue,
                Event::Is(event) if current => vec![event],
                Event::Is(event) => {
                    first.push(event);
                    continue;
                }
                Event::Current => {
                    current = true;
                    std::mem::take(&mut first)
                }
                Event::Gone(_) => continue,
            };
            self.print(session, batch, std::mem::take(&mut headings), &mut widths)?;
        }
    }

    fn print(
        &self,
        session: &mut Session<'_>,
        mut events: Vec<Value>,
        headings: bool,
        widths: &mut Vec<usize>,
    ) -> Result<()> {
        columns::in_order(&mut events);
        let mut table = columns::table(Kind::Event, &events, false, (session.now)());
        if self.all_namespaces {
            table.prepend(
                "NAMESPACE",
                events.iter().map(|event| event.text("/metadata/namespace").to_owned()),
            );
        }
        session.out.write_all(table.text(headings, widths).as_bytes())?;
        session.out.flush()?;
        Ok(())
    }
}

/// The field selector of Events about an object.
pub fn about(key: &Key, uid: &str) -> String {
    let mut fields = format!("involvedObject.kind={},involvedObject.name={}", key.kind, key.name);
    if !key.namespace.is_empty() {
        fields.push_str(&format!(",involvedObject.namespace={}", key.namespace));
    }
    if !uid.is_empty() {
        fields.push_str(&format!(",involvedObject.uid={uid}"));
    }
    fields
}
