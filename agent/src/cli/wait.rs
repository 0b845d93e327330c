//! `wait`, and spans of time as command lines have them.

use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;

use super::apply::Files;
use super::client::{Error, Result};
use super::jsonpath::Template;
use super::plain::say;
use super::target::{self, prefix};
use super::value::Look as _;
use super::watch::{Event, Query, Watch};
use super::{Scope, Session};
use crate::objects::Key;

/// A span of time: `30s`, `2m`, `1h30m`, `250ms`; negative: a week, as kubectl has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(Duration);

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("\"{text}\" is no span of time like 30s, 2m or 1h30m");
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        if text.starts_with('-') {
            return Ok(Self(WEEK));
        }
        let (mut total, mut rest) = (0.0, text);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
            let (number, after) = rest.split_at(digits);
            let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at(unit);
            let seconds = match unit {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(wrong()),
            };
            total += number.parse::<f64>().map_err(|_| wrong())? * seconds;
            rest = after;
        }
        if text.is_empty() {
            return Err(wrong());
        }
        Duration::try_from_secs_f64(total).map(Self).map_err(|_| wrong())
    }
}

impl Span {
    /// Whole seconds, 1 at least.
    pub fn seconds(self) -> u64 {
        self.0.as_secs().max(1)
    }

    /// Ends a future when the span is over; none of 0.
    pub async fn limit<T>(
        self,
        work: impl Future<Output = Result<T>>,
        over: impl FnOnce() -> Error,
    ) -> Result<T> {
        if self.0.is_zero() {
            return work.await;
        }
        tokio::time::timeout(self.0, work).await.unwrap_or_else(|_| Err(over()))
    }
}

/// `wait`.
#[derive(clap::Args, Debug)]
pub struct Wait {
    /// Kinds and names
    #[arg(value_name = "KIND|KIND/NAME", required_unless_present = "filename")]
    what: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    scope: Scope,
    /// condition=NAME[=VALUE], delete, create, or jsonpath=TEMPLATE[=VALUE]
    #[arg(long = "for", value_name = "WHAT")]
    until: String,
    /// How long
    #[arg(long, value_name = "DURATION", default_value = "30s", allow_hyphen_values = true)]
    timeout: Span,
    /// Those with these labels
    #[arg(short = 'l', long, value_name = "LABELS", default_value = "", hide_default_value = true)]
    selector: String,
    /// Those with these fields
    #[arg(long, value_name = "FIELDS", default_value = "", hide_default_value = true)]
    field_selector: String,
    /// All of the kind
    #[arg(long)]
    all: bool,
}

/// What is waited for.
enum Until {
    Gone,
    There,
    Condition(String, String),
    Path(Template, Option<String>),
}

impl Until {
    fn parse(text: &str) -> Result<Self> {
        let unknown = || Error::usage(format!("unrecognized condition: \"{text}\""));
        match text.split_once('=') {
            None if text == "delete" => Ok(Self::Gone),
            None if text == "create" => Ok(Self::There),
            Some(("condition", rest)) => {
                let (kind, status) = rest.split_once('=').unwrap_or((rest, "true"));
                Ok(Self::Condition(kind.to_owned(), status.to_owned()))
            }
            Some(("jsonpath", rest)) => {
                // An equals sign within the braces is the template's.
                let end = rest.rfind('}').map_or(0, |end| end + 1);
                let (template, value) = rest.split_at(end);
                let template = if template.is_empty() { rest } else { template };
                let value = value.strip_prefix('=').map(|value| value.trim_matches('"').to_owned());
                Ok(Self::Path(Template::parse(template)?, value))
            }
            _ => Err(unknown()),
        }
    }

    fn holds(&self, object: &Value) -> Result<bool> {
        Ok(match self {
            Self::Gone => false,
            Self::There => true,
            Self::Condition(kind, status) => object.items("/status/conditions").iter().any(|condition| {
                condition.text("/type").eq_ignore_ascii_case(kind)
                    && condition.text("/status").eq_ignore_ascii_case(status)
                    && !is_stale(object, condition)
            }),
            Self::Path(template, value) => {
                let found = template.found(object)?;
                match value {
                    Some(value) => found.as_deref() == Some(value),
                    None => found.is_some(),
                }
            }
        })
    }
}

/// Whether a condition speaks of an older spec.
fn is_stale(object: &Value, condition: &Value) -> bool {
    let observed = match condition.number("/observedGeneration") {
        0 => object.number("/status/observedGeneration"),
        of_condition => of_condition,
    };
    observed != 0 && observed < object.number("/metadata/generation")
}

impl Wait {
    pub async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let until = Until::parse(&self.until)?;
        let keys = self.keys(session, &until).await?;
        if keys.is_empty() {
            return match until {
                Until::Gone => Ok(()),
                _ => Err(Error::usage("no matching resources found")),
            };
        }
        let word = match until {
            Until::Gone => "deleted",
            Until::There => "created",
            _ => "condition met",
        };
        let started = tokio::time::Instant::now();
        let mut failed = false;
        for key in keys {
            let left = self.timeout.0.saturating_sub(started.elapsed()).max(Duration::from_millis(1));
            let name = format!("{}/{}", prefix(key.kind), key.name);
            let over = || {
                Error::usage(format!(
                    "timed out waiting for the condition on {}/{}",
                    key.kind.plural(),
                    key.name
                ))
            };
            match Span(left).limit(reached(session, &key, &until), over).await {
                Ok(()) => writeln!(session.out, "{name} {word}")?,
                Err(error @ (Error::Usage(_) | Error::Server { .. })) => {
                    say(error);
                    failed = true;
                }
                Err(error) => return Err(error),
            }
        }
        if failed { Err(Error::Said) } else { Ok(()) }
    }

    async fn keys(&self, session: &Session<'_>, until: &Until) -> Result<Vec<Key>> {
        let mut keys = Vec::new();
        for target in target::named(&self.what, &self.files)? {
            if let Some(key) = target.key(self.scope.name()) {
                if !matches!(until, Until::Gone | Until::There) {
                    session.client.get(&key).await?;
                }
                keys.push(key);
                continue;
            }
            if !self.all && self.selector.is_empty() && self.field_selector.is_empty() {
                return Err(Error::usage(
                    "resource(s) were provided, but no name was specified: give names, -l or --all",
                ));
            }
            let namespace = target.kind.namespaced().then(|| self.scope.name().to_owned());
            let (labels, fields) = (self.selector.clone(), self.field_selector.clone());
            let query = Query { kind: target.kind, namespace, labels, fields };
            keys.extend(query.keys(&session.client).await?);
        }
        Ok(keys)
    }
}

async fn reached(session: &Session<'_>, key: &Key, until: &Until) -> Result<()> {
    let mut watch = Watch::start(session, &Query::one(key)).await?;
    let mut there = false;
    loop {
        match watch.next().await? {
            Event::Is(object) => {
                there = true;
                if until.holds(&object)? {
                    return Ok(());
                }
            }
            Event::Gone(_) if matches!(until, Until::Gone) => return Ok(()),
            Event::Gone(_) if matches!(until, Until::There) => {}
            Event::Gone(_) => {
                let name = format!("{} \"{}\"", prefix(key.kind), key.name);
                return Err(Error::usage(format!("{name} was deleted while it was waited for")));
            }
            Event::Current if !there && matches!(until, Until::Gone) => return Ok(()),
            Event::Current => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spans() {
        let seconds = |text: &str| text.parse::<Span>().ok().map(|span| span.0.as_millis());
        assert_eq!(seconds("1h30m"), Some(5_400_000));
        assert_eq!(seconds("250ms"), Some(250));
        assert_eq!(seconds("1.5s"), Some(1500));
        assert_eq!(seconds("0"), Some(0));
        for bad in ["", "5", "s", "5x", "1..2s", "m5"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_span_or_not(text in "[0-9.hms-]{0,12}") {
            let _ = text.parse::<Span>();
        }
    }

    #[test]
    fn conditions_hold() {
        let pod = json!({"metadata": {"generation": 2}, "status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Old", "status": "True", "observedGeneration": 1}]}});
        let holds = |text: &str| Until::parse(text).unwrap().holds(&pod).unwrap();
        assert!(holds("condition=Ready"));
        assert!(holds("condition=ready=true"));
        assert!(!holds("condition=Ready=False"));
        assert!(!holds("condition=Old"));
        assert!(holds("jsonpath={.status.phase}=Running"));
        assert!(holds("jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True"));
        assert!(!holds("jsonpath={.status.podIP}"));
        assert!(Until::parse("ready").is_err());
    }
}
