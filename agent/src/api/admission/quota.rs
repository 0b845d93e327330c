//! What a namespace may have: its ResourceQuotas.

use k8s_openapi::api::core::v1::{Pod, ResourceQuota};

use super::{Refusal, limits, ports};
use crate::objects::pod::is_finished;
use crate::objects::quantity::{Format, of_milli, parse};
use crate::objects::{Object, Objects, Typed, usage, validate};

/// Pods that this machine takes at a time, ten times what a node has in Kubernetes. What asks for more, by a slip of the finger or not,
/// would fill memory until the agent is killed, and again when it comes back.
pub const MOST_PODS: usize = 1000;

/// How many Pods more there may be.
pub fn room_for_pods(objects: &Objects) -> usize {
    MOST_PODS.saturating_sub(objects.list::<Pod>().filter(|pod| !is_finished(pod)).count())
}

/// A Pod for which there is no room.
pub fn no_room(pod: &str) -> Refusal {
    Refusal::new(
        403,
        format!("pods \"{pod}\" is forbidden: this node takes at most {MOST_PODS} Pods at a time"),
    )
}

/// Whether there is room for one more, where it is a Pod.
pub(super) fn has_room(objects: &Objects, object: &Object) -> Result<(), Refusal> {
    match object {
        Object::Pod(pod) if room_for_pods(objects) == 0 => Err(no_room(pod.name())),
        _ => Ok(()),
    }
}

/// Whether what a controller makes may be made: quotas, limit ranges, and the ports of the host that a Pod wants.
pub fn may_create(objects: &Objects, object: &Object) -> Result<(), Refusal> {
    limits::check(objects, object)?;
    ports::may_put(objects, object)?;
    may_put(objects, None, object)
}

/// Whether an object may be put, in the place of another or as a new one.
pub(super) fn may_put(objects: &Objects, before: Option<&Object>, after: &Object) -> Result<(), Refusal> {
    let key = after.key();
    for quota in objects.list_in::<ResourceQuota>(&key.namespace) {
        let (mut asked, mut used, mut limited) = (Vec::new(), Vec::new(), Vec::new());
        for (resource, limit) in quota.spec.iter().flat_map(|spec| spec.hard.iter().flatten()) {
            if !usage::counts_kind(key.kind, resource) {
                continue;
            }
            if before.is_none() {
                says(after, resource, quota.name())?;
            }
            let of = |object: &Object| usage::of_object(object, resource);
            let more = of(after) - before.map_or(0, of);
            let now = usage::used(objects, &key.namespace, resource);
            let (hard, format) = parse(&limit.0).unwrap_or((0, Format::Decimal));
            if more > 0 && now + more > hard {
                asked.push(format!("{resource}={}", of_milli(more, format).0));
                used.push(format!("{resource}={}", of_milli(now, format).0));
                limited.push(format!("{resource}={}", limit.0));
            }
        }
        if !asked.is_empty() {
            let message = format!(
                "{} \"{}\" is forbidden: exceeded quota: {}, requested: {}, used: {}, limited: {}",
                key.kind.plural(),
                key.name,
                quota.name(),
                asked.join(","),
                used.join(","),
                limited.join(",")
            );
            return Err(Refusal::new(403, message));
        }
    }
    Ok(())
}

/// What is limited has to be said by each container, or the quota would not limit it.
fn says(object: &Object, resource: &str, quota: &str) -> Result<(), Refusal> {
    let (Object::Pod(pod), Some((name, limits))) = (object, usage::must_say(resource)) else { return Ok(()) };
    let Some(spec) = &pod.spec else { return Ok(()) };
    let silent = validate::containers(spec)
        .find(|(_, _, container)| usage::container_amount(container, name, limits).is_none());
    match silent {
        Some((_, _, container)) => {
            let message = format!(
                "pods \"{}\" is forbidden: failed quota: {quota}: must specify {resource} for: {}",
                pod.name(),
                container.name
            );
            Err(Refusal::new(403, message))
        }
        None => Ok(()),
    }
}
