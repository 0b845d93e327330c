//! Making and deleting Pods, with the events that tell of it; whether what a controller makes may be made.

use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use k8s_openapi::jiff::Timestamp;

use super::{names, pods};
use crate::api::admission;
use crate::objects::{Kind, Object, Objects, Typed, defaults};
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

/// Names for Pods that are not taken. They follow from what the owner is now, so that a decision that comes again says the same.
pub(super) fn free_names<'a>(
    owner: &'a impl Typed,
    base: &'a str,
    desired: &'a Objects,
) -> impl Iterator<Item = String> {
    let revision = owner.meta().resource_version.as_deref().unwrap_or_default();
    let names = (0..).map(move |counter| names::of_pod(base, owner.uid(), revision, counter));
    names.filter(|name| desired.find::<Pod>(owner.namespace(), name).is_none())
}

/// How the events of a kind of owner tell of Pods.
#[derive(Clone, Copy)]
enum Words {
    Plain,
    /// Of StatefulSets.
    Stateful,
}

impl Words {
    fn of(owner: &impl Typed) -> Self {
        if owner.key().kind == Kind::StatefulSet { Self::Stateful } else { Self::Plain }
    }

    fn done(self, plain: &str, verb: &str, pod: &str, owner: &str) -> String {
        match self {
            Self::Plain => format!("{plain} pod: {pod}"),
            Self::Stateful => format!("{verb} Pod {pod} in StatefulSet {owner} successful"),
        }
    }
}

/// Makes Pods, up to the first that may not be made: why not is returned.
pub(super) fn create(
    decision: &mut Decision,
    owner: &impl Typed,
    made: impl IntoIterator<Item = Pod>,
    desired: &Objects,
    now: Timestamp,
) -> Result<(), String> {
    let words = Words::of(owner);
    let mut room = Room::of(owner.namespace(), desired);
    for pod in made {
        let name = pod.name().to_owned();
        let mut object = pod.wrap();
        defaults::complete(&mut object);
        let Some(pod) = Pod::of_mut(&mut object) else { continue };
        admission::complete_pod(desired, pod);
        if let Err(why) = room.take(&object) {
            let message = match words {
                Words::Plain => format!("Error creating: {why}"),
                Words::Stateful => {
                    format!("create Pod {name} in StatefulSet {} failed error: {why}", owner.name())
                }
            };
            refused(decision, owner, "FailedCreate", message.clone(), now);
            return Err(message);
        }
        decision.actions.push(Action::Create(object));
        let message = words.done("Created", "create", &name, owner.name());
        decision.actions.push(event(owner, EventType::Normal, "SuccessfulCreate", message));
    }
    Ok(())
}

/// Tells that something may not be made, and asks to be asked again.
pub(super) fn refused(
    decision: &mut Decision,
    owner: &impl Typed,
    reason: &'static str,
    message: String,
    now: Timestamp,
) {
    decision.actions.push(event(owner, EventType::Warning, reason, message));
    decision.wake_at(pods::after(now, RETRY));
}

/// Deletes Pods.
pub(super) fn delete<'a>(
    decision: &mut Decision,
    owner: &impl Typed,
    pods: impl IntoIterator<Item = &'a Pod>,
) {
    for pod in pods {
        decision.actions.push(Action::Delete { key: pod.key(), uid: pod.uid().to_owned(), grace: None });
        let message = Words::of(owner).done("Deleted", "delete", pod.name(), owner.name());
        decision.actions.push(event(owner, EventType::Normal, "SuccessfulDelete", message));
    }
}

/// What there is room for during one decision: each object of it takes some.
pub(super) struct Room<'a> {
    desired: &'a Objects,
    /// All objects with those of the decision, where that makes a difference.
    with_made: Option<Objects>,
    limited: bool,
    pods: usize,
}

impl<'a> Room<'a> {
    pub fn of(namespace: &str, desired: &'a Objects) -> Self {
        let limited = desired.list_in::<ResourceQuota>(namespace).next().is_some();
        Self { desired, with_made: None, limited, pods: admission::room_for_pods(desired) }
    }

    /// Takes what an object needs, if that is there: quotas, limits, ports of the host.
    pub fn take(&mut self, object: &Object) -> Result<(), String> {
        let pod = Pod::of(object);
        if let Some(pod) = pod {
            self.pods = self.pods.checked_sub(1).ok_or_else(|| admission::no_room(pod.name()).message)?;
        }
        let objects = self.with_made.as_ref().unwrap_or(self.desired);
        admission::may_create(objects, object).map_err(|refusal| refusal.message)?;
        let containers = pod.and_then(|pod| pod.spec.as_ref()).into_iter().flat_map(|spec| &spec.containers);
        let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
        if self.limited || ports.any(|port| port.host_port.is_some()) {
            self.with_made.get_or_insert_with(|| self.desired.clone()).insert(object.clone());
        }
        Ok(())
    }
}
