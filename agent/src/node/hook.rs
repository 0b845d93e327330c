//! Hooks of containers: postStart and preStop.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};

use super::probe::{self, http};
use crate::cri::Runtime;

/// Calls a hook and waits for its end, but not longer than `limit`. An error is one line: why it failed, without what a command wrote, which
/// may be a secret.
pub async fn call(
    runtime: &Runtime,
    pod: &Pod,
    container: &Container,
    id: &str,
    handler: &LifecycleHandler,
    addresses: &[IpAddr],
    limit: Duration,
) -> Result<(), String> {
    let _ = pod;
    if let Some(exec) = &handler.exec {
        return match probe::exec(runtime, id, exec.command.clone().unwrap_or_default(), limit).await? {
            probe::Ended::Exited(0, _) => Ok(()),
            failed => Err(failed.to_string()),
        };
    }
    let called = async {
        if let Some(action) = &handler.http_get {
            // As kubelet: whatever the answer is, it was called.
            return http::get(container, action, addresses, "lifecycle").await.map(drop);
        }
        if let Some(sleep) = &handler.sleep {
            tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
            return Ok(());
        }
        Err("the hook has none of exec, httpGet, sleep".into())
    };
    match tokio::time::timeout(limit, called).await {
        Ok(called) => called,
        Err(_) => Err(format!("it did not end within {} s", limit.as_secs_f32())),
    }
}
