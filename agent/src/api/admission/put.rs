//! The last part of the way, the same for all: what is to be is completed, judged, counted, given addresses, and stored.

use k8s_openapi::api::core::v1::Pod;

use super::{Applied, Ranges, Refusal, addresses, host, limits, ports, quota};
use crate::objects::{Key, Kind, Object, Objects, Typed as _, defaults, validate};
use crate::spec;
use crate::store::{Durability, Store, StoreError};

/// How often an object may be changed by others (its status) while it is admitted.
const TRIES: usize = 16;

/// What is to be done for an object, as it is at the moment.
pub(super) enum Step {
    /// There is none: this one.
    Create(Object),
    /// This one in its place.
    Update(Object),
}

/// Puts what `step` says, which is given the object that is there.
pub(super) fn put(
    store: &Store,
    ranges: &Ranges,
    key: &Key,
    step: impl Fn(Option<&Object>) -> Result<Step, Refusal>,
) -> Result<(Object, Applied), Refusal> {
    let _one_at_a_time = ranges.gate();
    for _ in 0..TRIES {
        let live = store.read(|objects| objects.get(key).cloned());
        match (step(live.as_ref())?, live) {
            (Step::Update(wanted), Some(live)) => {
                if let Some(done) = update(store, ranges, &live, wanted)? {
                    return Ok(done);
                }
            }
            (Step::Create(wanted) | Step::Update(wanted), _) => match create(store, ranges, wanted) {
                Ok(object) => return Ok((object, Applied::Created)),
                // A controller was faster: what is there now is looked at.
                Err(Failed::Store(StoreError::Exists(_))) => {}
                Err(failed) => return Err(failed.refusal(key)),
            },
        }
    }
    Err(Refusal::new(409, format!("{key}: others change it all the time: try again")))
}

enum Failed {
    Refused(Refusal),
    Store(StoreError),
}

impl Failed {
    fn refusal(self, key: &Key) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Store(error) => of_store(key, &error),
        }
    }
}

/// A store's error as a refusal.
pub(super) fn of_store(key: &Key, error: &StoreError) -> Refusal {
    match error {
        StoreError::Exists(_) => Refusal::new(409, format!("{key}: it exists already")),
        StoreError::NotFound(_) => not_found(key),
        StoreError::Conflict(_) => Refusal::new(409, error.to_string()),
        StoreError::Disk(_) => Refusal::new(500, format!("{key}: {error}")),
    }
}

/// As Kubernetes says it.
pub(super) fn not_found(key: &Key) -> Refusal {
    Refusal::new(404, format!("{} \"{}\" not found", key.kind.plural(), key.name))
}

fn create(store: &Store, ranges: &Ranges, mut wanted: Object) -> Result<Object, Failed> {
    let key = wanted.key();
    let finish = |objects: &Objects| {
        namespace_is_open(objects, &key)?;
        complete(objects, ranges, &mut wanted)?;
        Pod::of_mut(&mut wanted).into_iter().for_each(pending);
        judged(&key, validate::check(&wanted))?;
        ports::may_put(objects, &wanted)?;
        quota::has_room(objects, &wanted)?;
        quota::may_put(objects, None, &wanted)?;
        addresses::assign(objects, ranges, None, &mut wanted)
    };
    store.read(finish).map_err(Failed::Refused)?;
    store.create(wanted, Durability::Synced).map_err(Failed::Store)
}

/// None: it has been changed meanwhile.
fn update(
    store: &Store,
    ranges: &Ranges,
    live: &Object,
    mut wanted: Object,
) -> Result<Option<(Object, Applied)>, Refusal> {
    let key = live.key();
    if live.is_deleted() {
        return Err(Refusal::new(409, format!("{key}: it is being deleted: try again when it is gone")));
    }
    let finish = |objects: &Objects| {
        match &mut wanted {
            Object::Pod(_) => keep(live, &mut wanted),
            _ => complete(objects, ranges, &mut wanted)?,
        }
        addresses::assign(objects, ranges, Some(live), &mut wanted)?;
        let mut broken = validate::check(&wanted);
        broken.extend(validate::check_change(live, &wanted));
        judged(&key, broken)?;
        quota::may_put(objects, Some(live), &wanted)
    };
    store.read(finish)?;
    let revision = &live.metadata().resource_version;
    let mut same = true;
    let changed = store.update(&key, Durability::Synced, |now| {
        same = now.metadata().resource_version == *revision;
        same.then_some(wanted)
    });
    match changed {
        Ok(_) if !same => Ok(None),
        Ok(object) if object.metadata().resource_version == *revision => {
            Ok(Some((object, Applied::Unchanged)))
        }
        Ok(object) => Ok(Some((object, Applied::Configured))),
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(error) => Err(of_store(&key, &error)),
    }
}

fn complete(objects: &Objects, ranges: &Ranges, wanted: &mut Object) -> Result<(), Refusal> {
    // What is limited requests as much by default, before the namespace has a say.
    defaults::complete(wanted);
    limits::complete(objects, wanted);
    host::complete(objects, ranges, wanted)?;
    limits::check(objects, wanted)
}

/// What is said of a Pod before it is looked at for the first time, as Kubernetes' API server says it.
pub fn pending(pod: &mut Pod) {
    let qos = spec::qos_class(pod);
    let status = pod.status.get_or_insert_default();
    status.phase = Some("Pending".into());
    status.qos_class = Some(qos.into());
}

/// A Pod is judged by the machine and its namespace's limits once: what they gave it stays, though they may be others now.
fn keep(live: &Object, wanted: &mut Object) {
    defaults::complete(wanted);
    limits::keep(live, wanted);
    host::keep(live, wanted);
}

fn judged(key: &Key, broken: Vec<validate::Invalid>) -> Result<(), Refusal> {
    if broken.is_empty() {
        return Ok(());
    }
    let broken: Vec<_> = broken.iter().map(ToString::to_string).collect();
    Err(Refusal::new(422, format!("{key}: {}", broken.join("; "))))
}

/// Objects are made only in namespaces that are there and stay.
fn namespace_is_open(objects: &Objects, key: &Key) -> Result<(), Refusal> {
    if !key.kind.namespaced() {
        return Ok(());
    }
    let name = &key.namespace;
    let Some(namespace) = objects.get(&Key::new(Kind::Namespace, "", name)) else {
        return Err(Refusal::new(404, format!("{key}: namespaces \"{name}\" not found: create it first")));
    };
    if namespace.is_deleted() {
        let message = format!("{key}: namespace {name} is being deleted: nothing new is made in it");
        return Err(Refusal::new(403, message));
    }
    Ok(())
}

/// Takes away the status, which is not a manifest's to say.
pub(super) fn clear_status(object: &mut Object) {
    let mut value = object.to_value();
    let Some(map) = value.as_object_mut() else { return };
    if map.remove("status").is_some()
        && let Ok(cleared) = Object::from_value(object.kind(), value)
    {
        *object = cleared;
    }
}
