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
    id: String,
    changes: Receiver<Change>,
}

impl End {
    /// With the changes since before the container was known to run.
    pub fn new(api: &Arc<Api>, key: &Key, id: &str, changes: Receiver<Change>) -> Self {
        Self { api: Arc::clone(api), key: key.clone(), id: id.to_owned(), changes }
    }

    async fn come(&mut self) {
        loop {
            match self.changes.recv().await {
                Ok(change) if change.object().key() != self.key => {}
                Ok(_) | Err(RecvError::Lagged(_)) => {
                    if self.api.store.read(|objects| has_ended(objects, &self.key, &self.id)) {
                        return;
                    }
                }
                Err(RecvError::Closed) => return,
            }
        }
    }
}

fn has_ended(objects: &Objects, key: &Key, id: &str) -> bool {
    let Some(pod) = objects.find::<Pod>(&key.namespace, &key.name) else { return true };
    let Some(status) = &pod.status else { return false };
    let statuses = [&status.container_statuses, &status.init_container_statuses];
    let is = |other: &Option<String>| other.as_deref().is_some_and(|other| other.ends_with(id));
    // A restart that is known already names it as what ran before.
    let mut ended =
        statuses.into_iter().flatten().flatten().flat_map(|status| [&status.state, &status.last_state]);
    ended.any(|state| {
        let terminated = state.as_ref().and_then(|state| state.terminated.as_ref());
        terminated.is_some_and(|terminated| is(&terminated.container_id))
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
