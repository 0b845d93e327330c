//! PersistentVolumeClaims find their PersistentVolumes, as Kubernetes' controller has it for volumes that are made by hand.
//!
//! A claim is bound when its volume's claimRef names it and its volumeName names the volume; both are written in one decision, and
//! either is completed if the other alone is there. Nothing here touches files: a released volume keeps them.

#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{
    ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus,
    PersistentVolumeStatus, Pod,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::{Action, Decision, EventType};
use crate::objects::pod::is_finished;
use crate::objects::{Key, Kind, Object, Objects, Typed, quantity, selector};

/// Said of a claim whose binding is complete: if its volume goes, it is lost.
const COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// Said of what was bound here, and not by a user.
const BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";

/// Binds a claim to a volume, and frees a volume whose claim is gone.
pub fn reconcile(key: &Key, desired: &Objects, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    match key.kind {
        Kind::PersistentVolumeClaim => {
            if let Some(claim) = desired.find(&key.namespace, &key.name) {
                decision.actions = of_claim(claim, desired, now);
            }
        }
        Kind::PersistentVolume => {
            if let Some(volume) = desired.find("", &key.name) {
                decision.actions = of_volume(volume, desired, now);
            }
        }
        _ => {}
    }
    decision
}

/// Claims that may be bound now, volumes that may be free.
pub fn dependents(changed: &Object, desired: &Objects) -> Vec<Key> {
    match changed {
        Object::PersistentVolume(volume) => {
            let named = claim_of(volume).map(|(namespace, name)| {
                Key::new(Kind::PersistentVolumeClaim, namespace.to_owned(), name.to_owned())
            });
            let waiting = desired.list::<PersistentVolumeClaim>().filter(|claim| {
                let wanted = volume_name(claim);
                wanted.is_empty() || wanted == volume.name()
            });
            waiting.map(Typed::key).chain(named).collect()
        }
        Object::PersistentVolumeClaim(claim) => {
            let of = |volume: &&PersistentVolume| {
                claim_of(volume) == Some((claim.namespace(), claim.name()))
                    || volume.name() == volume_name(claim)
            };
            desired.list::<PersistentVolume>().filter(of).map(Typed::key).collect()
        }
        // A claim that waits to be removed does so for its Pods.
        Object::Pod(pod) => claims_of(pod)
            .map(|name| Key::new(Kind::PersistentVolumeClaim, pod.namespace(), name))
            .filter(|key| desired.get(key).is_some_and(Object::is_deleted))
            .collect(),
        _ => Vec::new(),
    }
}

/// Whether something uses the object, so that its deletion has to wait: Pods a claim, a claim a volume.
pub fn in_use(object: &Object, desired: &Objects) -> bool {
    match object {
        Object::PersistentVolumeClaim(claim) => users(claim, desired).next().is_some(),
        Object::PersistentVolume(volume) => bound_claim(volume, desired).is_some(),
        _ => false,
    }
}

/// The Pods that use a claim: those that are not over, and were there when its deletion began.
pub fn users<'a>(
    claim: &'a PersistentVolumeClaim,
    desired: &'a Objects,
) -> impl Iterator<Item = &'a Pod> + use<'a> {
    let deleted = claim.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    desired.list_in::<Pod>(claim.namespace()).filter(move |pod| {
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let late = deleted.is_some_and(|deleted| created.is_some_and(|created| created > deleted));
        !late && !is_finished(pod) && claims_of(pod).any(|name| name == claim.name())
    })
}

/// The volume that a claim is bound to.
pub fn bound_volume<'a>(claim: &PersistentVolumeClaim, desired: &'a Objects) -> Option<&'a PersistentVolume> {
    let volume = desired.find::<PersistentVolume>("", volume_name(claim))?;
    is_bound(volume, claim).then_some(volume)
}

fn is_bound(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    volume_name(claim) == volume.name()
        && claim_of(volume) == Some((claim.namespace(), claim.name()))
        && reference.is_some_and(|reference| reference.uid.as_deref() == Some(claim.uid()))
}

fn bound_claim<'a>(volume: &PersistentVolume, desired: &'a Objects) -> Option<&'a PersistentVolumeClaim> {
    let (namespace, name) = claim_of(volume)?;
    let claim = desired.find::<PersistentVolumeClaim>(namespace, name)?;
    is_bound(volume, claim).then_some(claim)
}

fn claims_of(pod: &Pod) -> impl Iterator<Item = &str> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

fn volume_name(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default()
}

/// Namespace and name of a volume's claimRef.
fn claim_of(volume: &PersistentVolume) -> Option<(&str, &str)> {
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some((reference.namespace.as_deref()?, reference.name.as_deref()?))
}

fn of_claim(claim: &PersistentVolumeClaim, desired: &Objects, now: Timestamp) -> Vec<Action> {
    if claim.metadata.deletion_timestamp.is_some() {
        let over = users(claim, desired).next().is_none();
        return over
            .then(|| Action::Remove { key: claim.key(), uid: claim.uid().into() })
            .into_iter()
            .collect();
    }
    let wanted = volume_name(claim);
    let volume = match wanted {
        "" => choose(claim, desired),
        name => desired.find::<PersistentVolume>("", name),
    };
    let completed = claim.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(COMPLETED));
    match volume {
        Some(volume) if is_free_for(volume, claim) => match mismatch(volume, claim) {
            None => bind(volume, claim, now),
            Some(_) if completed => bind(volume, claim, now),
            Some(why) => pending(claim, "VolumeMismatch", &format!("volume {wanted:?}: {why}")),
        },
        Some(_) if completed => lost(claim, &format!("volume {wanted:?} is bound to another claim")),
        None if completed => lost(claim, &format!("volume {wanted:?} is gone, and what was in it")),
        Some(_) => pending(claim, "FailedBinding", &format!("volume {wanted:?} is bound to another claim")),
        None if wanted.is_empty() => pending(
            claim,
            "FailedBinding",
            "no PersistentVolume matches this claim (class, access modes, size, selector)",
        ),
        None => pending(claim, "FailedBinding", &format!("volume {wanted:?} not found")),
    }
}

/// The volume that was made for the claim, or the smallest one that suits it.
fn choose<'a>(claim: &PersistentVolumeClaim, desired: &'a Objects) -> Option<&'a PersistentVolume> {
    let suits = |volume: &&PersistentVolume| {
        volume.metadata.deletion_timestamp.is_none()
            && is_free_for(volume, claim)
            && mismatch(volume, claim).is_none()
    };
    desired.list::<PersistentVolume>().filter(suits).min_by_key(|volume| {
        let reserved = claim_of(volume).is_some();
        (!reserved, capacity(volume).unwrap_or(i128::MAX), volume.name().to_owned())
    })
}

/// Whether nobody else has the volume: it has no claimRef, or one to this claim.
fn is_free_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return true };
    let uid = reference.uid.as_deref().unwrap_or_default();
    claim_of(volume) == Some((claim.namespace(), claim.name())) && (uid.is_empty() || uid == claim.uid())
}

fn capacity(volume: &PersistentVolume) -> Option<i128> {
    quantity::milli(volume.spec.as_ref()?.capacity.as_ref()?.get("storage")?)
}

/// Why a volume does not suit a claim.
fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    let (of_volume, of_claim) = (volume.spec.as_ref()?, claim.spec.as_ref()?);
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".into());
    let has = |mode: &String| of_volume.access_modes.iter().flatten().any(|has| has == mode);
    let requests = of_claim.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let wanted = requests.and_then(|requests| requests.get("storage")).and_then(quantity::milli);
    let class =
        |class: &Option<String>| class.as_deref().filter(|class| !class.is_empty()).map(str::to_owned);
    if mode(&of_volume.volume_mode) != mode(&of_claim.volume_mode) {
        Some("its volumeMode is another")
    } else if class(&of_volume.storage_class_name) != class(&of_claim.storage_class_name) {
        Some("its storageClassName is another")
    } else if !of_claim.access_modes.iter().flatten().all(has) {
        Some("it has not all accessModes of the claim")
    } else if capacity(volume) < wanted {
        Some("it is smaller than the claim asks")
    } else if of_claim
        .selector
        .as_ref()
        .is_some_and(|wanted| !selector::selects(wanted, volume.metadata.labels.as_ref()))
    {
        Some("its labels are not those that the claim selects")
    } else {
        None
    }
}

/// Writes what is missing of a binding, the volume's side first: a claim that names a volume of nobody could lose it.
fn bind(volume: &PersistentVolume, claim: &PersistentVolumeClaim, now: Timestamp) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut bound = volume.clone();
    let spec = bound.spec.get_or_insert_default();
    if spec.claim_ref.is_none() {
        annotate(&mut bound.metadata, BY_CONTROLLER);
    }
    let reference = ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("PersistentVolumeClaim".into()),
        namespace: Some(claim.namespace().into()),
        name: Some(claim.name().into()),
        uid: Some(claim.uid().into()),
        ..Default::default()
    };
    if spec.claim_ref.as_ref().is_none_or(|is| is.uid != reference.uid || claim_of(volume).is_none()) {
        spec.claim_ref = Some(reference);
    }
    let mut binding = claim.clone();
    let spec = binding.spec.get_or_insert_default();
    if spec.volume_name.as_deref().unwrap_or_default().is_empty() {
        spec.volume_name = Some(volume.name().into());
        annotate(&mut binding.metadata, BY_CONTROLLER);
    }
    annotate(&mut binding.metadata, COMPLETED);
    if bound != *volume {
        actions.push(Action::Update(bound.clone().wrap()));
    }
    if binding != *claim {
        actions.push(Action::Update(binding.clone().wrap()));
    }
    actions.extend(volume_phase(bound, "Bound", None, now));
    let mut status = claim.status.clone().unwrap_or_default();
    status.phase = Some("Bound".into());
    status.access_modes = volume.spec.as_ref().and_then(|spec| spec.access_modes.clone());
    status.capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.clone());
    actions.extend(claim_status(binding, status));
    actions
}

fn annotate(
    metadata: &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    annotation: &'static str,
) {
    metadata.annotations.get_or_insert_default().insert(annotation.into(), "yes".into());
}

fn pending(claim: &PersistentVolumeClaim, reason: &'static str, message: &str) -> Vec<Action> {
    let mut actions = phase_of_claim(claim, "Pending");
    if !actions.is_empty() {
        actions.push(event(claim, EventType::Normal, reason, message));
    }
    actions
}

fn lost(claim: &PersistentVolumeClaim, message: &str) -> Vec<Action> {
    let mut actions = phase_of_claim(claim, "Lost");
    if !actions.is_empty() {
        actions.push(event(claim, EventType::Warning, "ClaimLost", message));
    }
    actions
}

fn phase_of_claim(claim: &PersistentVolumeClaim, phase: &str) -> Vec<Action> {
    let status = PersistentVolumeClaimStatus { phase: Some(phase.into()), ..Default::default() };
    claim_status(claim.clone(), status).into_iter().collect()
}

fn claim_status(mut claim: PersistentVolumeClaim, status: PersistentVolumeClaimStatus) -> Option<Action> {
    let same = claim.status.as_ref() == Some(&status);
    claim.status = Some(status);
    (!same).then(|| Action::Status(claim.wrap()))
}

fn event(about: &impl Typed, kind: EventType, reason: &'static str, message: &str) -> Action {
    Action::Event { about: about.key(), uid: about.uid().into(), kind, reason, message: message.into() }
}

fn of_volume(volume: &PersistentVolume, desired: &Objects, now: Timestamp) -> Vec<Action> {
    let bound = bound_claim(volume, desired);
    if volume.metadata.deletion_timestamp.is_some() && bound.is_none() {
        return vec![Action::Remove { key: volume.key(), uid: volume.uid().into() }];
    }
    if bound.is_some() {
        return volume_phase(volume.clone(), "Bound", None, now).into_iter().collect();
    }
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let uid = reference.and_then(|reference| reference.uid.as_deref()).unwrap_or_default();
    let claim =
        claim_of(volume).and_then(|(namespace, name)| desired.find::<PersistentVolumeClaim>(namespace, name));
    if uid.is_empty() || claim.is_some_and(|claim| claim.uid() == uid) {
        // Of nobody yet, or its claim will complete the binding.
        return volume_phase(volume.clone(), "Available", None, now).into_iter().collect();
    }
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    match policy {
        None | Some("Retain") => volume_phase(volume.clone(), "Released", None, now).into_iter().collect(),
        Some(policy) => {
            let why = format!(
                "reclaim policy {policy}: the agent removes no files that it did not make; remove them and this volume, or clear its claimRef"
            );
            let failed = volume_phase(volume.clone(), "Failed", Some(&why), now);
            let told =
                failed.is_some().then(|| event(volume, EventType::Warning, "VolumeFailedDelete", &why));
            failed.into_iter().chain(told).collect()
        }
    }
}

fn volume_phase(
    mut volume: PersistentVolume,
    phase: &str,
    message: Option<&str>,
    now: Timestamp,
) -> Option<Action> {
    let old = volume.status.take().unwrap_or_default();
    if old.phase.as_deref() == Some(phase) && old.message.as_deref() == message {
        return None;
    }
    volume.status = Some(PersistentVolumeStatus {
        phase: Some(phase.into()),
        message: message.map(Into::into),
        last_phase_transition_time: Some(Time(now)),
        reason: None,
    });
    Some(Action::Status(volume.wrap()))
}
