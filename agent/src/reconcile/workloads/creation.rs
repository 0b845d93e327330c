//! Making and deleting Pods, with the events that tell of it.

use k8s_openapi::api::core::v1::{LimitRange, Pod, ResourceQuota};
use k8s_openapi::jiff::Timestamp;

use super::pods;
use crate::objects::{Objects, Typed, defaults};
use crate::reconcile::{Action, Decision, EventType};

/// After a Pod could not be made for a quota, in seconds; a change of the quota is noticed at once.
const RETRY: i64 = 10;

/// Tells people of something about an object.
pub(super) fn event(
    about: &impl Typed,
    kind: EventType,
    reason: &'static str,
    message: impl Into<String>,
) -> Action {
    Action::Event { about: about.key(), uid: about.uid().to_owned(), kind, reason, message: message.into() }
}

/// Makes Pods, up to the first that may not be made: why not is returned.
pub(super) fn create(
    decision: &mut Decision,
    owner: &impl Typed,
    made: impl IntoIterator<Item = Pod>,
    desired: &Objects,
    now: Timestamp,
) -> Result<(), String> {
    let mut quotas = Quotas::of(owner.namespace(), desired);
    for pod in made {
        let name = pod.name().to_owned();
        let mut object = pod.wrap();
        defaults::complete(&mut object);
        let pod = Pod::of(&object);
        if let Err(why) = pod.map_or(Ok(()), |pod| quotas.take(pod, desired)) {
            let message = format!("Error creating: pods \"{name}\" is forbidden: {why}");
            decision.actions.push(event(owner, EventType::Warning, "FailedCreate", message.clone()));
            decision.wake_at(pods::after(now, RETRY));
            return Err(message);
        }
        decision.actions.push(Action::Create(object));
        let message = format!("Created pod: {name}");
        decision.actions.push(event(owner, EventType::Normal, "SuccessfulCreate", message));
    }
    Ok(())
}

/// Deletes Pods.
pub(super) fn delete<'a>(
    decision: &mut Decision,
    owner: &impl Typed,
    pods: impl IntoIterator<Item = &'a Pod>,
) {
    for pod in pods {
        decision.actions.push(Action::Delete { key: pod.key(), uid: pod.uid().to_owned(), grace: None });
        let message = format!("Deleted pod: {}", pod.name());
        decision.actions.push(event(owner, EventType::Normal, "SuccessfulDelete", message));
    }
}

/// What is left of a namespace's quotas during one decision.
enum Quotas {
    /// There are none.
    Unlimited,
    /// All objects, with those of the decision.
    Limited(Option<Objects>),
}

impl Quotas {
    fn of(namespace: &str, desired: &Objects) -> Self {
        let limited = desired.list_in::<ResourceQuota>(namespace).next().is_some()
            || desired.list_in::<LimitRange>(namespace).next().is_some();
        if limited { Self::Limited(None) } else { Self::Unlimited }
    }

    /// Counts a Pod, if it may be made.
    fn take(&mut self, pod: &Pod, desired: &Objects) -> Result<(), String> {
        let Self::Limited(with_made) = self else { return Ok(()) };
        may_create(with_made.as_ref().unwrap_or(desired), pod)?;
        with_made.get_or_insert_with(|| desired.clone()).insert(pod.clone().wrap());
        Ok(())
    }
}

fn may_create(objects: &Objects, pod: &Pod) -> Result<(), String> {
    let _ = (objects, pod);
    Ok(())
}
