//! A Pod's state in one word, as kubectl's STATUS, with how many of its containers are ready and how often they started again. Pure.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::age;
use super::value::Look as _;

/// What `get pods` says of a Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// `1/2`.
    pub ready: String,
    /// `CrashLoopBackOff`.
    pub status: String,
    /// `3 (5m ago)`.
    pub restarts: String,
}

/// Counted while containers are looked at.
#[derive(Default)]
struct Count {
    ready: usize,
    restarts: i64,
    last: Option<String>,
}

impl Count {
    fn container(&mut self, status: &Value) {
        self.restarts += status.number("/restartCount");
        let finished = status.text("/lastState/terminated/finishedAt");
        if !finished.is_empty() && self.last.as_deref().is_none_or(|last| last < finished) {
            self.last = Some(finished.to_owned());
        }
    }
}

/// Of a Pod.
pub fn of(pod: &Value, now: Timestamp) -> Words {
    let mut count = Count::default();
    let initial = match (pod.text("/status/reason"), pod.text("/status/phase")) {
        // The agent has just started, and the runtime has not answered yet.
        ("", "") => "Unknown",
        ("", phase) => phase,
        (reason, _) => reason,
    };
    let initializing = init(pod, &mut count);
    let mut status = initializing.clone().unwrap_or_else(|| initial.to_owned());
    if initializing.is_none() || condition(pod, "Initialized") {
        if initializing.is_none() {
            // Those of init containers that are over do not count.
            let kept = count.ready;
            count = Count { ready: kept, ..sidecars(pod) };
        }
        status = main(pod, status, &mut count);
    }
    if pod.has("/metadata/deletionTimestamp") {
        if pod.text("/status/reason") == "NodeLost" {
            status = "Unknown".to_owned();
        } else if !matches!(pod.text("/status/phase"), "Succeeded" | "Failed") {
            status = "Terminating".to_owned();
        }
    }
    let total = pod.items("/spec/containers").len()
        + pod.items("/spec/initContainers").iter().filter(|container| is_sidecar(container)).count();
    let restarts = match &count.last {
        Some(last) if count.restarts > 0 => format!("{} ({} ago)", count.restarts, age::since(last, now)),
        _ => count.restarts.to_string(),
    };
    Words { ready: format!("{}/{total}", count.ready), status, restarts }
}

fn is_sidecar(container: &Value) -> bool {
    container.text("/restartPolicy") == "Always"
}

fn sidecar(pod: &Value, name: &str) -> bool {
    pod.items("/spec/initContainers")
        .iter()
        .any(|container| container.text("/name") == name && is_sidecar(container))
}

fn sidecars(pod: &Value) -> Count {
    let mut count = Count::default();
    for status in pod.items("/status/initContainerStatuses") {
        if sidecar(pod, status.text("/name")) {
            count.container(status);
        }
    }
    count
}

/// What init containers are at, until all are through.
fn init(pod: &Value, count: &mut Count) -> Option<String> {
    let total = pod.items("/spec/initContainers").len();
    for (at, status) in pod.items("/status/initContainerStatuses").iter().enumerate() {
        count.container(status);
        let (terminated, waiting) = (status.has("/state/terminated"), status.text("/state/waiting/reason"));
        if terminated && status.number("/state/terminated/exitCode") == 0 {
            continue;
        }
        if status.flag("/started") && sidecar(pod, status.text("/name")) {
            count.ready += usize::from(status.flag("/ready"));
            continue;
        }
        return Some(if terminated {
            format!("Init:{}", ended(status))
        } else if !matches!(waiting, "" | "PodInitializing") {
            format!("Init:{waiting}")
        } else {
            format!("Init:{at}/{total}")
        });
    }
    None
}

/// `Error`, `ExitCode:3`, `Signal:9` of a container that ended.
fn ended(status: &Value) -> String {
    match (status.text("/state/terminated/reason"), status.number("/state/terminated/signal")) {
        ("", 0) => format!("ExitCode:{}", status.number("/state/terminated/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn main(pod: &Value, mut status: String, count: &mut Count) -> String {
    let mut running = false;
    for container in pod.items("/status/containerStatuses").iter().rev() {
        count.container(container);
        let waiting = container.text("/state/waiting/reason");
        if !waiting.is_empty() {
            waiting.clone_into(&mut status);
        } else if container.has("/state/terminated") {
            status = ended(container);
        } else if container.flag("/ready") && container.has("/state/running") {
            running = true;
            count.ready += 1;
        }
    }
    if status == "Completed" && running {
        status = if condition(pod, "Ready") { "Running" } else { "NotReady" }.to_owned();
    }
    status
}

/// Whether a condition is true.
pub fn condition(object: &Value, kind: &str) -> bool {
    let conditions = object.items("/status/conditions");
    conditions.iter().any(|condition| condition.text("/type") == kind && condition.text("/status") == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(spec: Value, status: Value) -> (String, String, String) {
        let words = of(&json!({"spec": spec, "status": status}), "2026-11-26T08:00:00Z".parse().unwrap());
        (words.ready, words.status, words.restarts)
    }

    fn is(ready: &str, status: &str, restarts: &str) -> (String, String, String) {
        (ready.into(), status.into(), restarts.into())
    }

    #[test]
    fn containers_that_wait_or_ended_are_named() {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}]});
        let running = json!({"name": "a", "ready": true, "state": {"running": {}}});
        let back_off = json!({"name": "b", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"finishedAt": "2026-11-26T07:55:00Z"}}});
        assert_eq!(
            words(spec.clone(), json!({"phase": "Running", "containerStatuses": [running, back_off]})),
            is("1/2", "CrashLoopBackOff", "3 (5m ago)")
        );
        let done = json!({"name": "b", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
        assert_eq!(
            words(spec.clone(), json!({"phase": "Running", "containerStatuses": [running, done]})),
            is("1/2", "NotReady", "0")
        );
        let failed = json!({"name": "b", "state": {"terminated": {"exitCode": 3}}});
        assert_eq!(
            words(spec.clone(), json!({"phase": "Failed", "containerStatuses": [done, failed]})),
            is("0/2", "Completed", "0")
        );
        assert_eq!(words(spec.clone(), json!({"phase": "Pending"})), is("0/2", "Pending", "0"));
        assert_eq!(words(spec.clone(), Value::Null), is("0/2", "Unknown", "0"));
        assert_eq!(words(spec, json!({"phase": "Failed", "reason": "Evicted"})), is("0/2", "Evicted", "0"));
    }

    #[test]
    fn init_containers_are_counted_and_sidecars_are_ready() {
        let spec = json!({
            "containers": [{"name": "a"}],
            "initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "i"}],
        });
        let side =
            json!({"name": "s", "ready": true, "started": true, "restartCount": 1, "state": {"running": {}}});
        let init = json!({"name": "i", "state": {"running": {}}});
        let status = json!({"phase": "Pending", "initContainerStatuses": [side, init],
            "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "PodInitializing"}}}]});
        assert_eq!(words(spec.clone(), status), is("1/2", "Init:1/2", "1"));
        let failed = json!({"name": "i", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}});
        let status = json!({"phase": "Pending", "initContainerStatuses": [side, failed]});
        assert_eq!(words(spec.clone(), status), is("1/2", "Init:Error", "1"));
        let through = json!({"name": "i", "restartCount": 4, "state": {"terminated": {"exitCode": 0}}});
        let status = json!({"phase": "Running", "initContainerStatuses": [side, through],
            "containerStatuses": [{"name": "a", "ready": true, "state": {"running": {}}}]});
        assert_eq!(words(spec, status), is("2/2", "Running", "1"));
    }

    #[test]
    fn deleted_pods_are_terminating_until_they_are_over() {
        let pod = |phase: &str| json!({"metadata": {"deletionTimestamp": "2026-11-26T08:00:00Z"}, "status": {"phase": phase}});
        let status = |phase| of(&pod(phase), "2026-11-26T08:00:00Z".parse().unwrap()).status;
        assert_eq!(status("Running"), "Terminating");
        assert_eq!(status("Succeeded"), "Succeeded");
    }
}
