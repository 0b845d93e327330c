//! Containers' logs, which the runtime writes and the agent keeps from growing without end, as kubelet does: one that is too long is
//! renamed, and the runtime begins anew; of those only some are kept, and none of attempts before the last but one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use tokio::time::sleep;

use super::{Node, blocking};
use crate::cri::{api, log_directory};
use crate::objects::Typed as _;

/// As often as kubelet looks.
const EVERY: Duration = Duration::from_secs(10);
/// For the runtime to begin a file; the others wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of a container's log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A file's length in bytes, after which the next one is begun.
    pub size: u64,
    /// How many files there are of one attempt, with the one that is written.
    pub files: usize,
}

/// Where a container's logs are, and its id if it runs.
struct Container {
    directory: PathBuf,
    id: Option<String>,
}

/// Looks after them for ever.
pub(super) async fn keep(node: Node, limits: Limits) {
    loop {
        sleep(EVERY).await;
        let containers = containers(&node);
        let tidied = blocking::short(move || Ok::<_, ()>(tidy_all(containers, limits))).await;
        for (log, id) in tidied.unwrap_or_default() {
            if let Err(why) = rotate(&node, &log, id).await {
                tracing::warn!("{}: it is too long, and the next one cannot be begun: {why}", log.display());
            }
        }
    }
}

fn containers(node: &Node) -> Vec<Container> {
    let of_pod = |pod: &Pod| {
        let of = log_directory(&node.settings.logs, pod.namespace(), pod.name(), pod.uid());
        let status = pod.status.as_ref();
        let all = status.into_iter().flat_map(|status| {
            [&status.init_container_statuses, &status.container_statuses].into_iter().flatten().flatten()
        });
        all.map(|status| Container { directory: of.join(&status.name), id: running(status) })
            .collect::<Vec<_>>()
    };
    node.store.read(|objects| objects.list::<Pod>().flat_map(of_pod).collect())
}

/// Its id, without the runtime's name before it.
fn running(status: &ContainerStatus) -> Option<String> {
    status.state.as_ref()?.running.as_ref()?;
    Some(status.container_id.as_ref()?.split_once("://")?.1.to_owned())
}

/// Those that are too long, with who writes them.
fn tidy_all(containers: Vec<Container>, limits: Limits) -> Vec<(PathBuf, String)> {
    let mut long = Vec::new();
    for Container { directory, id } in containers {
        match tidy(&directory, limits) {
            Ok(Some(log)) => long.extend(id.map(|id| (log, id))),
            Ok(None) => {}
            Err(error) => tracing::warn!("cannot tidy {}: {error}", directory.display()),
        }
    }
    long
}

/// Removes what is not kept. Some: the log that is written, if it is too long.
fn tidy(directory: &Path, limits: Limits) -> io::Result<Option<PathBuf>> {
    let names = match fs::read_dir(directory) {
        // It has not been started yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())),
    };
    // Of each attempt those that are written no more, the oldest first.
    let (mut attempts, mut newest) = (BTreeMap::<u32, Vec<String>>::new(), None);
    for name in names.collect::<io::Result<Vec<_>>>()? {
        let Some((attempt, rest)) = name.split_once(".log") else { continue };
        let Ok(attempt) = attempt.parse() else { continue };
        match rest.chars().next() {
            None => newest = newest.max(Some(attempt)),
            Some('.') => attempts.entry(attempt).or_default().push(name),
            Some(_) => continue,
        }
        attempts.entry(attempt).or_default();
    }
    let Some(newest) = newest else { return Ok(None) };
    let log = directory.join(format!("{newest}.log"));
    let is_long = match fs::symlink_metadata(&log) {
        Ok(metadata) => metadata.is_file() && metadata.len() > limits.size,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    for (attempt, mut rotated) in attempts {
        if attempt.saturating_add(1) < newest {
            rotated.push(format!("{attempt}.log"));
        } else {
            rotated.sort();
            // With the one that is written, and the one that will be.
            let others = 1 + usize::from(attempt == newest && is_long);
            rotated.truncate(rotated.len().saturating_sub(limits.files.saturating_sub(others)));
        }
        for name in rotated {
            match fs::remove_file(directory.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(is_long.then_some(log))
}

/// Has the runtime begin a new file.
async fn rotate(node: &Node, log: &Path, id: String) -> Result<(), String> {
    let mut rotated = log.as_os_str().to_owned();
    rotated.push(crate::store::now().strftime(".%Y%m%d-%H%M%S").to_string());
    let rotated = PathBuf::from(rotated);
    if rotated.exists() {
        // A clock that was set back.
        return Ok(());
    }
    fs::rename(log, &rotated).map_err(|error| error.to_string())?;
    let mut request = tonic::Request::new(api::ReopenContainerLogRequest { container_id: id });
    request.set_timeout(PATIENCE);
    let Err(status) = node.runtime.runtime().reopen_container_log(request).await else { return Ok(()) };
    // Unless somebody has begun one all the same. A container that has just ended begins none.
    if !log.exists() {
        let _ = fs::rename(&rotated, log);
    }
    Err(status.message().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries =
            fs::read_dir(directory).expect("read").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_kept_is_the_newest_of_the_last_two_attempts() {
        let directory = tempfile::tempdir().expect("a directory");
        let limits = Limits { size: 3, files: 3 };
        assert_eq!(tidy(&directory.path().join("none"), limits).expect("fine"), None);
        for name in [
            "8.log",
            "8.log.20260101-000000",
            "9.log",
            "9.log.20260101-000001",
            "9.log.20260101-000002",
            "10.log",
            "10.log.20260101-000005",
            "10.log.20260101-000003",
            "10.log.20260101-000004",
            "10.log.20260101-000006",
            "9.logs",
            "x.log",
            "note",
        ] {
            fs::write(directory.path().join(name), "abc").expect("write");
        }
        assert_eq!(tidy(directory.path(), limits).expect("fine"), None);
        let mut kept = vec![
            "10.log",
            "10.log.20260101-000005",
            "10.log.20260101-000006",
            "9.log",
            "9.log.20260101-000001",
            "9.log.20260101-000002",
            "9.logs",
            "note",
            "x.log",
        ];
        assert_eq!(names(directory.path()), kept);
        let log = directory.path().join("10.log");
        fs::write(&log, "abcd").expect("write");
        assert_eq!(tidy(directory.path(), limits).expect("fine"), Some(log));
        kept.remove(1);
        assert_eq!(names(directory.path()), kept);
    }
}
