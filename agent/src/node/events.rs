//! Events: what people are told happened, in memory, the last thousand of the last hour.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::objects::{Key, Kind, Object, Typed};
use crate::reconcile::EventType;
use crate::reconcile::pod::Notice;
use crate::store::{Durability, Store};

/// At most so many are kept.
const KEPT: usize = 1000;
/// And so long.
const AGE: SignedDuration = SignedDuration::from_hours(1);

/// Tells of an object. What was told of it in the same words is counted.
pub fn tell(
    store: &Store,
    about: &Key,
    uid: &str,
    kind: EventType,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let namespace = if about.namespace.is_empty() { "default" } else { &about.namespace };
    let name = format!("{}.{:016x}", about.name, number_of(about, uid, reason, message));
    let key = Key::new(Kind::Event, namespace, &name);
    let again = store.update(&key, Durability::Written, |object| {
        let mut object = object.clone();
        let event = Event::of_mut(&mut object)?;
        event.count = Some(event.count.unwrap_or(1) + 1);
        event.last_timestamp = Some(Time(now));
        Some(object)
    });
    if again.is_ok() {
        return;
    }
    let event = Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(namespace.into()), ..Default::default() },
        involved_object: ObjectReference {
            api_version: Some(about.kind.api_version().into()),
            kind: Some(about.kind.name().into()),
            name: Some(about.name.clone()),
            namespace: (!about.namespace.is_empty()).then(|| about.namespace.clone()),
            uid: Some(uid.into()),
            ..Default::default()
        },
        reason: Some(reason.into()),
        message: Some(message.into()),
        type_: Some(kind.as_str().into()),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        source: Some(EventSource { component: Some("rcrun-agent".into()), ..Default::default() }),
        reporting_component: Some("rcrun-agent".into()),
        ..Default::default()
    };
    // Somebody else may just have made it: that one says the same.
    let _ = store.create(event.wrap(), Durability::Written);
    forget_old(store, now);
}

impl super::Node {
    /// Tells of a Pod, from within a step.
    pub(super) fn notice(&self, pod: &Pod, (kind, reason, message): Notice) {
        tell(&self.store, &pod.key(), pod.uid(), kind, reason, &message, crate::store::now());
    }
}

fn forget_old(store: &Store, now: Timestamp) {
    let last = |event: &Event| event.last_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let mut events: Vec<_> =
        store.read(|objects| objects.list::<Event>().map(|event| (last(event), event.key())).collect());
    let old = |at: &Timestamp| now.duration_since(*at) > AGE;
    if events.len() <= KEPT && !events.iter().any(|(at, _)| old(at)) {
        return;
    }
    events.sort();
    let too_many = events.len().saturating_sub(KEPT);
    for (at, (time, key)) in events.iter().enumerate() {
        if at < too_many || old(time) {
            let _ = store.remove(key, "", Durability::Written);
        }
    }
}

/// The same words have the same name.
fn number_of(about: &Key, uid: &str, reason: &str, message: &str) -> u64 {
    crate::fnv::hash([about.kind.name(), &about.name, uid, reason, message].join("\0").into_bytes())
}

/// Whether an object is an Event: those concern nobody.
pub fn is_event(object: &Object) -> bool {
    object.kind() == Kind::Event
}
