//! Changes of objects, from the agent as they happen.

use hyper::Method;
use serde_json::Value;

use super::Session;
use super::client::{self, Client, Error, Lines, Result, with_query};
use super::value::Look as _;
use crate::objects::{Key, Kind};

/// Of whom objects are asked for.
#[derive(Clone, Debug)]
pub struct Query {
    pub kind: Kind,
    /// None: of all namespaces.
    pub namespace: Option<String>,
    pub labels: String,
    pub fields: String,
}

impl Query {
    /// One object, by its name.
    pub fn one(key: &Key) -> Self {
        Self {
            kind: key.kind,
            namespace: Some(key.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            labels: String::new(),
            fields: format!("metadata.name={}", key.name),
        }
    }

    fn path(&self, watch: bool) -> String {
        let path = client::collection(self.kind, self.namespace.as_deref());
        let watch = if watch { "1" } else { "" };
        with_query(
            &path,
            [
                ("labelSelector", self.labels.as_str()),
                ("fieldSelector", self.fields.as_str()),
                ("watch", watch),
                ("sendInitialEvents", watch),
            ],
        )
    }

    /// Those that are there.
    pub async fn list(&self, client: &Client) -> Result<Vec<Value>> {
        let list = client.json(Method::GET, &self.path(false), "").await?;
        let mut items = list.items("/items").to_vec();
        for item in &mut items {
            if let Some(map) = item.as_object_mut() {
                map.insert("apiVersion".to_owned(), self.kind.api_version().into());
                map.insert("kind".to_owned(), self.kind.name().into());
            }
        }
        Ok(items)
    }

    /// The keys of those that are there.
    pub async fn keys(&self, client: &Client) -> Result<Vec<Key>> {
        let key = |object: &Value| {
            Key::new(self.kind, object.text("/metadata/namespace"), object.text("/metadata/name"))
        };
        Ok(self.list(client).await?.iter().map(key).collect())
    }
}

/// A change.
#[derive(Debug)]
pub enum Event {
    /// Added or modified.
    Is(Value),
    /// As it was before it went.
    Gone(Value),
    /// All that were there when the watch began have been told.
    Current,
}

/// Changes as they come.
pub struct Watch(Lines);

impl Watch {
    /// First of all that is there, then of what changes.
    pub async fn start(session: &Session<'_>, query: &Query) -> Result<Self> {
        Ok(Self(Lines::new(session.client.open(Method::GET, &query.path(true), "").await?)))
    }

    /// The next one.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            let line = self.0.next().await?;
            let Some(mut line) = line else {
                return Err(Error::usage("the agent ended the watch: is it still running?"));
            };
            let object = line.get_mut("object").map(Value::take).unwrap_or_default();
            match line.text("/type") {
                "ADDED" | "MODIFIED" => return Ok(Event::Is(object)),
                "DELETED" => return Ok(Event::Gone(object)),
                "BOOKMARK" => return Ok(Event::Current),
                "ERROR" => return Err(Error::of_status(&object)),
                _ => {}
            }
        }
    }
}
