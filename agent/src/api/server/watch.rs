//! Changes of objects, one line of JSON each, until the client goes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::answer::{self, Answer, Failure, Gone, Sender};
use super::path::List;
use super::select::Selection;
use crate::api::Api;
use crate::objects::Object;
use crate::store::Change;

/// A client that has read nothing for so long is given up: what it has not read holds old objects in memory.
const STALLED: Duration = Duration::from_secs(10);

/// Watches from a revision on, which has to be the newest one: older changes are not kept (410, as of a revision that is too old).
/// Without a revision, with 0 or with `sendInitialEvents` all objects come first, as added; a bookmark ends them.
pub fn start(api: &Arc<Api>, list: &List) -> Result<Answer, Failure> {
    let selection = Selection::of(list)?;
    let from: Option<u64> = list.query.parsed("resourceVersion")?;
    let initial = from.is_none_or(|from| from == 0) || list.query.flag("sendInitialEvents");
    // The revision may be newer than the list, never older: then a change comes twice.
    let (first, changes) = api.store.watch(|all| -> Vec<Object> {
        let of_kind = all.of_kind(list.kind).filter(|object| initial && selection.selects(object));
        of_kind.cloned().collect()
    });
    let revision = api.store.revision();
    if let Some(from) = from.filter(|from| !initial && *from != revision) {
        let why = if from < revision { "too old" } else { "not reached yet" };
        let message = format!("resource version {from} is {why} ({revision} is the newest): list again");
        return Err(Failure::new(410, message));
    }
    let (sender, answer) = answer::stream("application/json", 1);
    let bookmark = initial.then(|| bookmark(list, revision));
    tokio::spawn(async move {
        let watch = Watch { sender, patience: STALLED };
        let _ = watch.run(selection, first, bookmark, changes).await;
    });
    Ok(answer)
}

struct Watch {
    sender: Sender,
    patience: Duration,
}

impl Watch {
    async fn run(
        self,
        selection: Selection,
        first: Vec<Object>,
        bookmark: Option<Value>,
        mut changes: Receiver<Change>,
    ) -> Result<(), Gone> {
        for object in first {
            self.send("ADDED", object.to_value()).await?;
        }
        if let Some(bookmark) = bookmark {
            self.send("BOOKMARK", bookmark).await?;
        }
        loop {
            let change = tokio::select! {
                change = changes.recv() => change,
                () = self.sender.gone() => return Err(Gone),
            };
            match change {
                Ok(change) => {
                    if let Some((what, object)) = seen(&selection, &change) {
                        self.send(what, object.to_value()).await?;
                    }
                }
                Err(RecvError::Lagged(missed)) => {
                    let expired = Failure::new(410, format!("{missed} changes were missed: list again"));
                    return self.send("ERROR", expired.status()).await;
                }
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    /// A line, for which a client has some time.
    async fn send(&self, what: &str, object: Value) -> Result<(), Gone> {
        let mut line = json!({"type": what, "object": object}).to_string();
        line.push('\n');
        tokio::time::timeout(self.patience, self.sender.send(line)).await.unwrap_or(Err(Gone))
    }
}

/// What a change is for somebody who sees only what is selected.
fn seen<'a>(selection: &Selection, change: &'a Change) -> Option<(&'static str, &'a Object)> {
    let object = change.object();
    let (before, after) = match change {
        Change::Added(_) => (false, selection.selects(object)),
        Change::Modified(_, before) => (selection.selects(before), selection.selects(object)),
        Change::Deleted(_) => (selection.selects(object), false),
    };
    let what = match (before, after) {
        (false, true) => "ADDED",
        (true, true) => "MODIFIED",
        (true, false) => "DELETED",
        (false, false) => return None,
    };
    Some((what, object))
}

fn bookmark(list: &List, revision: u64) -> Value {
    json!({
        "apiVersion": list.kind.api_version(), "kind": list.kind.name(),
        "metadata": {
            "resourceVersion": revision.to_string(),
            "annotations": {"k8s.io/initial-events-end": "true"},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up() {
        let (sender, _unread) = answer::stream("application/json", 1);
        let watch = Watch { sender, patience: Duration::from_millis(20) };
        assert!(watch.send("ADDED", json!({})).await.is_ok());
        assert!(watch.send("MODIFIED", json!({})).await.is_err());
    }
}
