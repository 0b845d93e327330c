//! A log to its end, or for as long as its container runs.

use std::io;
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt as _;
use inotify::{EventStream, Inotify, WatchMask};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::super::answer::{Gone, Sender};
use super::file::{Piece, Reader};
use crate::api::Api;
use crate::objects::{Key, Objects};
use crate::store::Change;

/// How one knows that a container has ended: its Pod's status says so, or the Pod is gone.
pub struct End {
    api: Arc<Api>,
    key: Key,
    container: Container,
    changes: Receiver<Change>,
}

/// The container that is waited for.
pub struct Container {
    pub id: String,
    pub name: String,
    /// How many of its name were before it.
    pub attempt: u32,
}

impl End {
    /// With the changes since before the container was known to run.
    pub fn new(api: &Arc<Api>, key: &Key, container: Container, changes: Receiver<Change>) -> Self {
        Self { api: Arc::clone(api), key: key.clone(), container, changes }
    }

    async fn come(&mut self) {
        loop {
            match self.changes.recv().await {
                Ok(change) if change.object().key() != self.key => {}
                Ok(_) | Err(RecvError::Lagged(_)) => {
                    if self.api.store.read(|objects| has_ended(objects, &self.key, &self.container)) {
                        return;
                    }
                }
                Err(RecvError::Closed) => return,
            }
        }
    }
}

fn has_ended(objects: &Objects, key: &Key, container: &Container) -> bool {
    let Some(pod) = objects.find::<Pod>(&key.namespace, &key.name) else { return true };
    let Some(status) = &pod.status else { return false };
    let statuses = [&status.container_statuses, &status.init_container_statuses];
    let mut of_name = statuses.into_iter().flatten().flatten().filter(|status| status.name == container.name);
    of_name.any(|status| {
        // A restart that is known already may name it as what ran before, or not any more.
        let is_later = i64::from(status.restart_count) > i64::from(container.attempt);
        let mut states = [&status.state, &status.last_state].into_iter().flatten();
        is_later
            || states.any(|state| {
                let id = state.terminated.as_ref().and_then(|terminated| terminated.container_id.as_deref());
                id.is_some_and(|id| id.ends_with(&container.id))
            })
    })
}

/// Sends what is there, and with an `end` what comes until then.
pub async fn run(sender: Sender, reader: Reader, end: Option<End>) -> Result<(), Gone> {
    let mut events = match end.as_ref().map(|_| watch(reader.path())).transpose() {
        Ok(events) => events,
        Err(error) => {
            let line = format!("cannot follow the log, only what is there is shown: {error}\n");
            sender.send(line).await?;
            None
        }
    };
    let (mut reader, mut end) = (reader, end.filter(|_| events.is_some()));
    let mut last = false;
    loop {
        let (back, over) = drain(&sender, reader).await?;
        reader = back;
        let (Some(stream), Some(waited)) = (&mut events, &mut end) else { return Ok(()) };
        if over || last {
            return Ok(());
        }
        tokio::select! {
            // Its last lines may be there: once more.
            () = waited.come() => last = true,
            event = stream.next() => last = event.is_none_or(|event| event.is_err()),
            () = sender.gone() => return Err(Gone),
        }
    }
}

/// Sends all that is there. True: nothing more is wanted.
async fn drain(sender: &Sender, mut reader: Reader) -> Result<(Reader, bool), Gone> {
    loop {
        let read = tokio::task::spawn_blocking(move || {
            let piece = reader.next();
            (reader, piece)
        });
        let (back, piece) = read.await.map_err(|_| Gone)?;
        reader = back;
        match piece {
            Ok(Piece::Some(bytes)) => sender.send(bytes).await?,
            Ok(Piece::End) => return Ok((reader, false)),
            Ok(Piece::Over) => return Ok((reader, true)),
            Err(error) => {
                sender.send(format!("cannot read the log any further: {error}\n")).await?;
                return Ok((reader, true));
            }
        }
    }
}

/// Changes of a file and of what is beside it, for it may be moved away and made anew.
fn watch(path: &Path) -> io::Result<EventStream<[u8; 4096]>> {
    let inotify = Inotify::init()?;
    let directory = path.parent().unwrap_or(path);
    inotify.watches().add(directory, WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVED_TO)?;
    inotify.into_event_stream([0; 4096])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::objects::{Kind, Object};

    #[test]
    fn a_container_has_ended_when_its_pod_says_so() {
        let key = Key::new(Kind::Pod, "n", "p");
        let ended = |status: Value| {
            let mut status = status;
            for (name, value) in [("name", "c"), ("image", ""), ("imageID", "")] {
                status[name] = value.into();
            }
            status["ready"] = false.into();
            let pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [{"name": "c"}]},
                "status": {"containerStatuses": [status]}});
            let objects: Objects = [Object::from_value(Kind::Pod, pod).unwrap()].into_iter().collect();
            has_ended(&objects, &key, &Container { id: "abc".into(), name: "c".into(), attempt: 1 })
        };
        let over = |id: &str| json!({"terminated": {"exitCode": 0, "containerID": format!("rcrun://{id}")}});
        assert!(!ended(json!({"restartCount": 1, "state": {"running": {}}})));
        assert!(!ended(json!({"restartCount": 0, "state": over("older")})), "the status is late");
        assert!(ended(json!({"restartCount": 1, "state": over("abc")})));
        assert!(ended(json!({"restartCount": 1, "state": {"waiting": {}}, "lastState": over("abc")})));
        assert!(ended(json!({"restartCount": 3, "state": {"running": {}}, "lastState": over("newer")})));
        assert!(has_ended(
            &Objects::default(),
            &key,
            &Container { id: "a".into(), name: "c".into(), attempt: 0 }
        ));
    }
}
