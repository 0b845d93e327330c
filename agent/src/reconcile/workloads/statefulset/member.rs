//! One Pod of a StatefulSet, and its claims.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};

use super::super::creation::{Room, event};
use super::super::daemonset::HASH;
use super::super::{owned, pods};
use crate::objects::{Objects, Typed, defaults};
use crate::reconcile::{Action, EventType};

/// Which one a Pod is, by its name. None: it is none of the set.
pub(super) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<usize> {
    let ordinal = pod.name().strip_prefix(set.name())?.strip_prefix('-')?;
    let number = ordinal.parse().ok()?;
    // No other way to write it is one of its names.
    (ordinal == usize::to_string(&number)).then_some(number)
}

fn name(set: &StatefulSet, ordinal: usize) -> String {
    format!("{}-{ordinal}", set.name())
}

fn claim_name(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: usize) -> String {
    format!("{}-{}", template.name(), name(set, ordinal))
}

/// A Pod of a template. Its volumes of claims are its own ones.
pub(super) fn pod(set: &StatefulSet, ordinal: usize, template: &PodTemplateSpec, hash: &str) -> Pod {
    let name = name(set, ordinal);
    let mut pod = pods::of_template(template, set.namespace(), name.clone(), owned::reference(set));
    pods::label(
        &mut pod,
        [
            (HASH, hash),
            ("statefulset.kubernetes.io/pod-name", &name),
            ("apps.kubernetes.io/pod-index", &ordinal.to_string()),
        ],
    );
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(name);
    spec.subdomain = set.spec.service_name.clone().filter(|name| !name.is_empty());
    let templates = set.spec.volume_claim_templates.as_deref().unwrap_or_default();
    if !templates.is_empty() {
        let volumes = spec.volumes.get_or_insert_default();
        volumes.retain(|volume| templates.iter().all(|template| template.name() != volume.name));
        volumes.extend(templates.iter().map(|template| Volume {
            name: template.name().to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim_name(set, template, ordinal),
                read_only: None,
            }),
            ..Volume::default()
        }));
    }
    pod
}

/// Makes a Pod's claims that are not there, up to the first that may not be made: why not is returned. They stay when it goes: its data is
/// in them.
pub(super) fn make_claims(
    set: &StatefulSet,
    ordinal: usize,
    desired: &Objects,
    room: &mut Room<'_>,
    actions: &mut Vec<Action>,
) -> Result<(), String> {
    for template in set.spec.volume_claim_templates.iter().flatten() {
        let claim = claim_name(set, template, ordinal);
        if desired.find::<PersistentVolumeClaim>(set.namespace(), &claim).is_some() {
            continue;
        }
        let mut object = template.clone();
        object.metadata.name = Some(claim.clone());
        object.metadata.namespace = set.metadata.namespace.clone();
        object.status = None;
        let labels = object.metadata.labels.get_or_insert_default();
        labels.extend(set.spec.selector.match_labels.clone().unwrap_or_default());
        let mut object = object.wrap();
        defaults::complete(&mut object);
        let (pod, owner) = (name(set, ordinal), set.name());
        room.take(&object).map_err(|why| {
            format!("create Claim {claim} for Pod {pod} in StatefulSet {owner} failed error: {why}")
        })?;
        actions.push(Action::Create(object));
        let message = format!("create Claim {claim} Pod {pod} in StatefulSet {owner} success");
        actions.push(event(set, EventType::Normal, "SuccessfulCreate", message));
    }
    Ok(())
}
