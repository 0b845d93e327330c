//! `rollout status`: how far a rollout is, in kubectl's words.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};

use crate::objects::{Object, Typed};

/// A line for people, and whether the rollout has come to its end. The error: it has failed, or there are no rollouts of such objects.
pub fn rollout_status(object: &Object) -> Result<(String, bool), String> {
    match object {
        Object::Deployment(deployment) => of_deployment(deployment),
        Object::StatefulSet(set) => of_stateful_set(set),
        Object::DaemonSet(set) => of_daemon_set(set),
        other => Err(format!("no status viewer has been implemented for {}", other.kind())),
    }
}

fn waiting(text: String) -> Result<(String, bool), String> {
    Ok((text, false))
}

fn of_deployment(deployment: &Deployment) -> Result<(String, bool), String> {
    let name = deployment.name();
    let status = deployment.status.clone().unwrap_or_default();
    if status.observed_generation < deployment.metadata.generation {
        return waiting("Waiting for deployment spec update to be observed...".to_owned());
    }
    let mut conditions = status.conditions.iter().flatten();
    if conditions.any(|condition| condition.reason.as_deref() == Some("ProgressDeadlineExceeded")) {
        return Err(format!("deployment \"{name}\" exceeded its progress deadline"));
    }
    let wait = format!("Waiting for deployment \"{name}\" rollout to finish:");
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let count = |count: Option<i32>| count.unwrap_or(0);
    let (updated, all) = (count(status.updated_replicas), count(status.replicas));
    let available = count(status.available_replicas);
    if updated < wanted {
        return waiting(format!("{wait} {updated} out of {wanted} new replicas have been updated..."));
    }
    if all > updated {
        return waiting(format!("{wait} {} old replicas are pending termination...", all - updated));
    }
    if available < updated {
        return waiting(format!("{wait} {available} of {updated} updated replicas are available..."));
    }
    Ok((format!("deployment \"{name}\" successfully rolled out"), true))
}

fn only_rolling(strategy: Option<&str>) -> Result<(), String> {
    match strategy {
        None | Some("RollingUpdate") => Ok(()),
        Some(_) => Err("rollout status is only available for RollingUpdate strategy type".to_owned()),
    }
}

fn of_stateful_set(set: &StatefulSet) -> Result<(String, bool), String> {
    let strategy = set.spec.update_strategy.as_ref();
    only_rolling(strategy.and_then(|strategy| strategy.type_.as_deref()))?;
    let status = set.status.clone().unwrap_or_default();
    if status.observed_generation < set.metadata.generation {
        return waiting("Waiting for statefulset spec update to be observed...".to_owned());
    }
    let wanted = set.spec.replicas.unwrap_or(1);
    let (ready, updated) = (status.ready_replicas.unwrap_or(0), status.updated_replicas.unwrap_or(0));
    if ready < wanted {
        return waiting(format!("Waiting for {} pods to be ready...", wanted - ready));
    }
    let partition = strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.partition).unwrap_or(0);
    if partition > 0 {
        let wanted = (wanted - partition).max(0);
        if updated < wanted {
            return waiting(format!(
                "Waiting for partitioned roll out to finish: {updated} out of {wanted} new pods have been updated..."
            ));
        }
        return Ok((format!("partitioned roll out complete: {updated} new pods have been updated..."), true));
    }
    let revision = status.update_revision.unwrap_or_default();
    if status.current_revision.as_deref() != Some(&revision) {
        return waiting(format!(
            "waiting for statefulset rolling update to complete {updated} pods at revision {revision}..."
        ));
    }
    let current = status.current_replicas.unwrap_or(0);
    Ok((format!("statefulset rolling update complete {current} pods at revision {revision}..."), true))
}

fn of_daemon_set(set: &DaemonSet) -> Result<(String, bool), String> {
    let strategy = set.spec.update_strategy.as_ref();
    only_rolling(strategy.and_then(|strategy| strategy.type_.as_deref()))?;
    let status = set.status.clone().unwrap_or_default();
    if status.observed_generation < set.metadata.generation {
        return waiting("Waiting for daemon set spec update to be observed...".to_owned());
    }
    let wait = format!("Waiting for daemon set \"{}\" rollout to finish:", set.name());
    let wanted = status.desired_number_scheduled;
    let updated = status.updated_number_scheduled.unwrap_or(0);
    let available = status.number_available.unwrap_or(0);
    if updated < wanted {
        return waiting(format!("{wait} {updated} out of {wanted} new pods have been updated..."));
    }
    if available < wanted {
        return waiting(format!("{wait} {available} of {wanted} updated pods are available..."));
    }
    Ok((format!("daemon set \"{}\" successfully rolled out", set.name()), true))
}
