//! Logs of containers, from the files that the runtime writes ([`line`], [`file`]), to their end or for as long as the container runs.

mod file;
mod follow;
mod line;

use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::answer::{self, Answer, Failure};
use super::path::Query;
use super::streams::{ask, attempts, container, pod};
use crate::api::Api;
use crate::cri::api as cri;
use crate::objects::Key;
use file::Reader;
use line::Options;

/// Pieces of a log that wait for a slow client.
const QUEUE: usize = 16;

/// A container whose log is read.
struct Source {
    container: follow::Container,
    path: PathBuf,
    running: bool,
}

/// As the API server's `log`: container, follow, previous, timestamps, tailLines, limitBytes, sinceSeconds, sinceTime.
pub async fn start(api: &Arc<Api>, key: &Key, query: &Query) -> Result<Answer, Failure> {
    let options = options(query)?;
    let follow = query.flag("follow");
    let pod = pod(api, key)?;
    let name = container(&pod, query.get("container"))?;
    // Before the runtime is asked whether it runs: an end in between is seen.
    let changes = api.store.watch(|_| ()).1;
    let Some(source) = source(api, &pod, &name, query.flag("previous")).await? else {
        return Err(Failure::new(400, absent(&pod, &name, query.flag("previous"))));
    };
    let path = source.path.clone();
    let reader = super::write::blocking(move || {
        let reader = Reader::open(path, options);
        reader.map_err(|error| Failure::new(500, format!("cannot read the log of container {name}: {error}")))
    })
    .await?;
    let (sender, answer) = answer::stream("text/plain", QUEUE);
    let end = (follow && source.running).then(|| follow::End::new(api, key, source.container, changes));
    tokio::spawn(async move {
        let _ = follow::run(sender, reader, end).await;
    });
    Ok(answer)
}

fn options(query: &Query) -> Result<Options, Failure> {
    let seconds: Option<i64> = query.parsed("sinceSeconds")?;
    let since = match seconds {
        Some(seconds) if seconds <= 0 => {
            return Err(Failure::new(422, "sinceSeconds: it has to be greater than 0"));
        }
        Some(seconds) => Some(Timestamp::now() - SignedDuration::from_secs(seconds.min(1 << 32))),
        None => query.parsed::<Timestamp>("sinceTime")?,
    };
    Ok(Options {
        timestamps: query.flag("timestamps"),
        since,
        tail: query.parsed("tailLines")?,
        limit: query.parsed("limitBytes")?,
    })
}

async fn source(
    api: &Api,
    pod: &k8s_openapi::api::core::v1::Pod,
    name: &str,
    previous: bool,
) -> Result<Option<Source>, Failure> {
    let attempts = attempts(api, pod, name).await?;
    let Some(container) = attempts.into_iter().nth(usize::from(previous)) else { return Ok(None) };
    let attempt = container.metadata.as_ref().map_or(0, |metadata| metadata.attempt);
    let request = cri::ContainerStatusRequest { container_id: container.id.clone(), verbose: false };
    let status = ask("ContainerStatus", api.runtime.runtime().container_status(request)).await?.status;
    Ok(status.filter(|status| !status.log_path.is_empty()).map(|status| Source {
        container: follow::Container { id: container.id, name: name.to_owned(), attempt },
        path: status.log_path.into(),
        running: status.state == cri::ContainerState::ContainerRunning as i32
            || status.state == cri::ContainerState::ContainerCreated as i32,
    }))
}

fn absent(pod: &k8s_openapi::api::core::v1::Pod, name: &str, previous: bool) -> String {
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    if previous {
        return format!("previous terminated container \"{name}\" in pod \"{pod_name}\" not found");
    }
    let status = pod.status.as_ref();
    let mut statuses = status.into_iter().flat_map(|status| {
        status.container_statuses.iter().chain(status.init_container_statuses.iter()).flatten()
    });
    let waiting = statuses.find(|status| status.name == name).and_then(|status| status.state.as_ref());
    let reason = waiting.and_then(|state| state.waiting.as_ref()?.reason.clone());
    let reason = reason.unwrap_or_else(|| "ContainerCreating".to_owned());
    format!("container \"{name}\" in pod \"{pod_name}\" is waiting to start: {reason}")
}
