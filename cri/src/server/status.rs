//! What the runtime says of itself.

use std::collections::HashMap;
use std::sync::Arc;

use tonic::Status;

use super::features;
use crate::api;
use crate::check;
use crate::config::{CgroupDriver, Config};
use crate::runtime::Runtime;

/// Version.
pub async fn version(
    _runtime: &Arc<Runtime>,
    _request: api::VersionRequest,
) -> Result<api::VersionResponse, Status> {
    Ok(api::VersionResponse {
        // The version of the question's format; the kubelet's runtime API has known no other.
        version: "0.1.0".into(),
        runtime_name: "rcrun".into(),
        runtime_version: env!("CARGO_PKG_VERSION").into(),
        runtime_api_version: "v1".into(),
    })
}

/// Status.
pub async fn status(
    runtime: &Arc<Runtime>,
    request: api::StatusRequest,
) -> Result<api::StatusResponse, Status> {
    let asked = Arc::clone(runtime);
    // Plugins are asked, and files read.
    let (network, info) = tokio::task::spawn_blocking(move || {
        let info = if request.verbose { info(&asked) } else { HashMap::new() };
        (asked.network.ready(&asked), info)
    })
    .await
    .map_err(|error| Status::internal(format!("ask for the network's state: {error}")))?;
    let conditions = vec![
        condition("RuntimeReady", Ok(()), ""),
        condition("NetworkReady", network, "NetworkPluginNotReady"),
    ];
    Ok(api::StatusResponse {
        status: Some(api::RuntimeStatus { conditions }),
        info,
        runtime_handlers: handlers(&runtime.config()).await,
        features: Some(api::RuntimeFeatures { supplemental_groups_policy: true, ..Default::default() }),
    })
}

/// RuntimeConfig.
pub async fn runtime_config(
    runtime: &Arc<Runtime>,
    _request: api::RuntimeConfigRequest,
) -> Result<api::RuntimeConfigResponse, Status> {
    let driver = match runtime.config().cgroup_driver {
        CgroupDriver::Cgroupfs => api::CgroupDriver::Cgroupfs,
        CgroupDriver::Systemd => api::CgroupDriver::Systemd,
    };
    let linux = api::LinuxRuntimeConfiguration { cgroup_driver: driver.into() };
    Ok(api::RuntimeConfigResponse { linux: Some(linux) })
}

/// UpdateRuntimeConfig.
pub async fn update_runtime_config(
    runtime: &Arc<Runtime>,
    request: api::UpdateRuntimeConfigRequest,
) -> Result<api::UpdateRuntimeConfigResponse, Status> {
    let network = request.runtime_config.and_then(|config| config.network_config).unwrap_or_default();
    if !network.pod_cidr.is_empty() {
        runtime.network.set_pod_cidr(&runtime.paths, &network.pod_cidr).map_err(|reason| {
            Status::invalid_argument(format!("pod_cidr {:?}: {reason}", network.pod_cidr))
        })?;
    }
    Ok(api::UpdateRuntimeConfigResponse {})
}

fn condition(name: &str, state: Result<(), String>, reason: &str) -> api::RuntimeCondition {
    let (status, reason, message) = match state {
        Ok(()) => (true, String::new(), String::new()),
        Err(message) => (false, reason.into(), message),
    };
    api::RuntimeCondition { r#type: name.into(), status, reason, message }
}

/// The default handler has no name.
async fn handlers(config: &Config) -> Vec<api::RuntimeHandler> {
    let own = api::RuntimeHandlerFeatures { recursive_read_only_mounts: true, user_namespaces: false };
    let mut all = vec![api::RuntimeHandler { name: String::new(), features: Some(own) }];
    for (name, profile) in &config.runtimes {
        let features = match &profile.program {
            Some(program) => features::of(program).await,
            None => own,
        };
        all.push(api::RuntimeHandler { name: name.clone(), features: Some(features) });
    }
    all
}

/// JSON by topic, as `crictl info` prints it.
fn info(runtime: &Runtime) -> HashMap<String, String> {
    let config = runtime.config();
    let mut info = HashMap::new();
    let mut add = |topic: &str, text: serde_json::Result<String>| {
        if let Ok(text) = text {
            info.insert(topic.to_owned(), text);
        }
    };
    add("config", serde_json::to_string(&*config));
    add("check", serde_json::to_string(&check::facts(&config)));
    add("skipped", serde_json::to_string(&check::skipped(&config)));
    add("lowest_oom_score_adj", serde_json::to_string(&check::lowest_oom_score_adj(&config)));
    add("network", serde_json::to_string(&runtime.network.describe(runtime)));
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_named_handler_stands_beside_the_default_one() {
        let mut config = Config::default();
        config.runtimes.insert("fast".into(), crate::config::RuntimeProfile::default());
        let program = Some("/no/such/runc".into());
        config
            .runtimes
            .insert("runc".into(), crate::config::RuntimeProfile { program, ..Default::default() });
        let handlers = handlers(&config).await;
        let names: Vec<_> = handlers.iter().map(|handler| handler.name.as_str()).collect();
        assert_eq!(names, ["", "fast", "runc"]);
        assert!(handlers[1].features.unwrap().recursive_read_only_mounts);
        assert!(!handlers[2].features.unwrap().recursive_read_only_mounts);
    }

    #[test]
    fn a_condition_that_does_not_hold_says_why() {
        let bad = condition("NetworkReady", Err("no plugin".into()), "NetworkPluginNotReady");
        assert!(!bad.status && bad.reason == "NetworkPluginNotReady" && bad.message == "no plugin");
        let good = condition("RuntimeReady", Ok(()), "x");
        assert!(good.status && good.reason.is_empty());
    }
}
