//! `get`.

use serde_json::Value;

use super::apply::Files;
use super::client::{Error, Result};
use super::columns;
use super::jsonpath::Template;
use super::output::{Form, name};
use super::plain::say;
use super::table::Table;
use super::target::{self, Target, prefix};
use super::value::{Look as _, pairs};
use super::watch::{Event, Query, Watch};
use super::{Session, Which};
use crate::objects::Kind;

/// `get`.
#[derive(clap::Args, Debug)]
pub struct Get {
    /// Kinds and names: "pods", "pod web", "deploy/web svc/web", "po,svc", "all"
    #[arg(value_name = "KIND|KIND/NAME", required_unless_present = "filename")]
    what: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    which: Which,
    /// Only those with these fields: "status.phase=Running"
    #[arg(long, value_name = "FIELDS", default_value = "", hide_default_value = true)]
    field_selector: String,
    /// wide, yaml, json, name, or jsonpath=TEMPLATE
    #[arg(short, long, value_name = "FORM")]
    output: Option<String>,
    /// Go on with what changes
    #[arg(short, long)]
    watch: bool,
    /// Only what changes
    #[arg(long)]
    watch_only: bool,
    /// No headings
    #[arg(long)]
    no_headers: bool,
    /// In the order of a field: ".metadata.creationTimestamp"
    #[arg(long, value_name = "PATH")]
    sort_by: Option<String>,
    /// Also labels
    #[arg(long)]
    show_labels: bool,
    /// Labels as columns of their own
    #[arg(short = 'L', long, value_name = "LABEL", value_delimiter = ',')]
    label_columns: Vec<String>,
    /// No error where a named object is not there
    #[arg(long)]
    ignore_not_found: bool,
}

impl Get {
    pub async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let form = Form::parse(self.output.as_deref())?;
        let targets = target::named(&self.what, &self.files)?;
        if self.watch || self.watch_only {
            return self.follow(session, &targets, &form).await;
        }
        let (mut groups, mut failed) = (Vec::new(), false);
        for target in &targets {
            match self.fetch(session, target).await {
                Ok(objects) => groups.push((target.kind, objects)),
                // The others are shown all the same.
                Err(error @ Error::Server { .. }) if targets.len() > 1 => {
                    say(error);
                    failed = true;
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(path) = &self.sort_by {
            for (_, objects) in &mut groups {
                sort(objects, path)?;
            }
        }
        self.print(session, &form, &targets, groups)?;
        if failed { Err(Error::Said) } else { Ok(()) }
    }

    fn query(&self, target: &Target) -> Query {
        let fields = match &target.name {
            Some(name) => format!("metadata.name={name}"),
            None => self.field_selector.clone(),
        };
        let namespace = self.which.namespace_of(target.kind);
        Query { kind: target.kind, namespace, labels: self.which.selector.clone(), fields }
    }

    async fn fetch(&self, session: &Session<'_>, target: &Target) -> Result<Vec<Value>> {
        let Some(key) = target.key(self.which.scope.name()) else {
            let mut objects = self.query(target).list(&session.client).await?;
            if target.kind == Kind::Event {
                columns::in_order(&mut objects);
            }
            return Ok(objects);
        };
        if self.which.all_namespaces && target.kind.namespaced() {
            return Err(Error::usage("a resource cannot be retrieved by name across all namespaces"));
        }
        match session.client.get(&key).await {
            Ok(object) => Ok(vec![object]),
            Err(error) if error.is_not_found() && self.ignore_not_found => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn print(
        &self,
        session: &mut Session<'_>,
        form: &Form,
        targets: &[Target],
        groups: Vec<(Kind, Vec<Value>)>,
    ) -> Result<()> {
        let single = matches!(targets, [Target { name: Some(_), .. }]);
        let Form::Table { wide } = form else {
            let objects: Vec<Value> = groups.into_iter().flat_map(|(_, objects)| objects).collect();
            if single && objects.is_empty() {
                return Ok(());
            }
            session.out.write_all(form.text(&objects, single)?.unwrap_or_default().as_bytes())?;
            return Ok(());
        };
        // Of one kind, one table, though their names were given one by one.
        let mut tables: Vec<(Kind, Vec<Value>)> = Vec::new();
        for (kind, objects) in groups {
            match tables.last_mut() {
                Some((last, all)) if *last == kind => all.extend(objects),
                _ => tables.push((kind, objects)),
            }
        }
        tables.retain(|(_, objects)| !objects.is_empty());
        if tables.is_empty() && !(single && self.ignore_not_found) {
            self.which.say_none(targets.iter().map(|target| target.kind));
        }
        let many = tables.len() > 1;
        for (at, (kind, objects)) in tables.into_iter().enumerate() {
            if at > 0 {
                writeln!(session.out)?;
            }
            let table = self.table(kind, &objects, *wide, many, (session.now)());
            session.out.write_all(table.text(!self.no_headers, &mut Vec::new()).as_bytes())?;
        }
        Ok(())
    }

    fn table(
        &self,
        kind: Kind,
        objects: &[Value],
        wide: bool,
        many: bool,
        now: k8s_openapi::jiff::Timestamp,
    ) -> Table {
        let mut table = columns::table(kind, objects, wide, now);
        if many && let Some(at) = table.headings.iter().position(|heading| heading == "NAME") {
            for row in &mut table.rows {
                if let Some(cell) = row.get_mut(at) {
                    *cell = format!("{}/{cell}", prefix(kind));
                }
            }
        }
        if self.which.all_namespaces && kind.namespaced() {
            let namespaces = objects.iter().map(|object| object.text("/metadata/namespace").to_owned());
            table.prepend("NAMESPACE", namespaces);
        }
        for label in &self.label_columns {
            let heading = label.rsplit('/').next().unwrap_or(label).to_ascii_uppercase();
            let value = |object: &Value| {
                object
                    .pointer("/metadata/labels")
                    .map_or("", |labels| labels.get(label).and_then(Value::as_str).unwrap_or_default())
                    .to_owned()
            };
            table.append(&heading, objects.iter().map(value));
        }
        if self.show_labels {
            table.append("LABELS", objects.iter().map(|object| pairs(object, "/metadata/labels", "<none>")));
        }
        table
    }

    async fn follow(&self, session: &mut Session<'_>, targets: &[Target], form: &Form) -> Result<()> {
        let [target] = targets else {
            return Err(Error::usage(
                "watch is only supported on individual resources and resource collections",
            ));
        };
        if target.name.is_some() {
            self.fetch(session, target).await?;
        }
        let mut watch = Watch::start(session, &self.query(target)).await?;
        let (mut first, mut current, mut widths, mut headings) =
            (Vec::new(), false, Vec::new(), !self.no_headers);
        loop {
            let batch = match watch.next().await? {
                Event::Is(object) if !current => {
                    first.push(object);
                    continue;
                }
                Event::Current => {
                    current = true;
                    if self.watch_only {
                        continue;
                    }
                    if target.kind == Kind::Event {
                        columns::in_order(&mut first);
                    }
                    std::mem::take(&mut first)
                }
                Event::Is(object) | Event::Gone(object) => vec![object],
            };
            if batch.is_empty() {
                continue;
            }
            let text = match form {
                Form::Table { wide } => {
                    let table = self.table(target.kind, &batch, *wide, false, (session.now)());
                    table.text(std::mem::take(&mut headings), &mut widths)
                }
                form => {
                    let mut text = String::new();
                    for object in &batch {
                        let separator = if matches!(form, Form::Yaml) { "---\n" } else { "" };
                        text.push_str(separator);
                        text.push_str(&form.text(std::slice::from_ref(object), true)?.unwrap_or_default());
                    }
                    text
                }
            };
            session.out.write_all(text.as_bytes())?;
            session.out.flush()?;
        }
    }
}

/// By a field, smallest first: numbers and times as such, other things as text; those without it come first.
fn sort(objects: &mut [Value], path: &str) -> Result<()> {
    let path = path.trim_start_matches('{').trim_end_matches('}');
    let template = Template::parse(&format!("{{{}{path}}}", if path.starts_with('.') { "" } else { "." }))?;
    let mut failed = None;
    let has = |object: &Value| template.found(object).is_ok_and(|found| found.is_some());
    if !objects.is_empty() && !objects.iter().any(has) {
        let message = format!("couldn't find any field with path \"{{{path}}}\" in the list of objects");
        return Err(Error::usage(message));
    }
    objects.sort_by_cached_key(|object| {
        let text = template.text(object).unwrap_or_else(|error| {
            failed = Some(error);
            String::new()
        });
        let number = text.parse::<i64>().ok();
        (number.is_none(), number, text, name(object))
    });
    failed.map_or(Ok(()), Err)
}
