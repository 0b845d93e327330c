//! Rules of volumes and claims.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::path::{At, Broken};
use super::{metadata, names, volumes};
use crate::objects::quantity::milli;

const MODES: [&str; 4] = ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"];

pub(super) fn volume(volume: &PersistentVolume, at: &At<'_>, broken: &mut Broken) {
    let Some(spec) = &volume.spec else { return broken.add(at, "it is not set") };
    modes(spec.access_modes.as_ref(), at, broken);
    size(
        spec.capacity.as_ref().and_then(|capacity| capacity.get("storage")),
        &at.field("capacity.storage"),
        broken,
    );
    filesystem(spec.volume_mode.as_ref(), at, broken);
    let policy = spec.persistent_volume_reclaim_policy.as_ref();
    broken.one_of(&at.field("persistentVolumeReclaimPolicy"), policy, &["Retain", "Delete"]);
    broken.rule_if(&at.field("storageClassName"), spec.storage_class_name.as_ref(), names::dns_subdomain);
    broken.exactly_one(
        at,
        &[
            ("hostPath", spec.host_path.is_some()),
            ("local", spec.local.is_some()),
            ("nfs", spec.nfs.is_some()),
        ],
    );
    if let Some(source) = &spec.host_path {
        volumes::host_path(source, &at.field("hostPath"), broken);
    }
    if let Some(source) = &spec.local {
        broken.rule(&at.field("local.path"), &source.path, names::absolute_path);
    }
    if let Some(source) = &spec.nfs {
        volumes::nfs(source, &at.field("nfs"), broken);
    }
    let options = spec.mount_options.as_ref().is_some_and(|options| !options.is_empty());
    broken.that(
        !options || spec.nfs.is_some(),
        &at.field("mountOptions"),
        "only what is mounted has some: nfs",
    );
    if let Some(claim) = &spec.claim_ref {
        let at = at.field("claimRef");
        broken.set(&at.field("name"), claim.name.as_ref());
        broken.set(&at.field("namespace"), claim.namespace.as_ref());
    }
}

pub(super) fn claim(claim: &PersistentVolumeClaim, at: &At<'_>, broken: &mut Broken) {
    claim_spec(claim.spec.as_ref(), at, broken);
}

pub(super) fn claim_spec(spec: Option<&PersistentVolumeClaimSpec>, at: &At<'_>, broken: &mut Broken) {
    let Some(spec) = spec else { return broken.add(at, "it is not set") };
    modes(spec.access_modes.as_ref(), at, broken);
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    size(
        requests.and_then(|requests| requests.get("storage")),
        &at.field("resources.requests.storage"),
        broken,
    );
    filesystem(spec.volume_mode.as_ref(), at, broken);
    broken.rule_if(&at.field("storageClassName"), spec.storage_class_name.as_ref(), names::dns_subdomain);
    broken.rule_if(&at.field("volumeName"), spec.volume_name.as_ref(), names::dns_subdomain);
    if let Some(selector) = &spec.selector {
        metadata::selector(selector, &at.field("selector"), broken);
    }
}

fn modes(modes: Option<&Vec<String>>, at: &At<'_>, broken: &mut Broken) {
    let at = at.field("accessModes");
    broken.that(modes.is_some_and(|modes| !modes.is_empty()), &at, "at least one is needed");
    for (index, mode) in modes.into_iter().flatten().enumerate() {
        broken.one_of(&at.item(index), Some(mode), &MODES);
    }
}

fn filesystem(mode: Option<&String>, at: &At<'_>, broken: &mut Broken) {
    let why = "not supported by this agent: only filesystems are mounted";
    broken.that(mode.is_none_or(|mode| mode == "Filesystem"), &at.field("volumeMode"), why);
}

fn size(size: Option<&Quantity>, at: &At<'_>, broken: &mut Broken) {
    match size.map(|size| (size, milli(size))) {
        None => broken.add(at, "it is not set"),
        Some((_, Some(milli))) if milli > 0 => {}
        Some((size, _)) => broken.add(at, format!("\"{}\" is no size, as 1Gi", size.0)),
    }
}
