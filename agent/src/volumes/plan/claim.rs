//! Volumes of claims: what the PersistentVolume is that the claim is bound to.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod,
};

use super::{Source, Volume, of_host_path, of_nfs};
use crate::objects::{Objects, Typed as _};
use crate::reconcile::claims;

pub(super) fn of(
    pod: &Pod,
    name: String,
    source: &PersistentVolumeClaimVolumeSource,
    objects: &Objects,
) -> Result<Volume, String> {
    let wanted = &source.claim_name;
    let claim = objects.find::<PersistentVolumeClaim>(pod.namespace(), wanted);
    let claim = claim.ok_or_else(|| format!("persistentvolumeclaim {wanted:?} not found"))?;
    let is_user = claims::users(claim, objects).any(|user| user.uid() == pod.uid());
    if claim.metadata.deletion_timestamp.is_some() && !is_user {
        return Err(format!("persistentvolumeclaim {wanted:?} is being deleted"));
    }
    let modes = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    if modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        let first = claims::users(claim, objects).min_by_key(|user| {
            (user.metadata.creation_timestamp.as_ref().map(|time| time.0), user.name().to_owned())
        });
        if let Some(first) = first.filter(|first| first.uid() != pod.uid()) {
            return Err(format!(
                "persistentvolumeclaim {wanted:?} is ReadWriteOncePod, and pod {} uses it",
                first.name()
            ));
        }
    }
    let volume = claims::bound_volume(claim, objects).ok_or_else(|| {
        let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
        match phase {
            Some("Lost") => format!("persistentvolumeclaim {wanted:?} has lost its volume"),
            _ => format!(
                "persistentvolumeclaim {wanted:?} is not bound: it waits for a PersistentVolume that matches"
            ),
        }
    })?;
    of_persistent_volume(name, source.read_only == Some(true), volume)
}

fn of_persistent_volume(name: String, read_only: bool, volume: &PersistentVolume) -> Result<Volume, String> {
    let Some(spec) = &volume.spec else { return Err("its PersistentVolume has no spec".into()) };
    let failed = |what: &str| format!("persistentvolume {:?}: {what}", volume.name());
    if spec.volume_mode.as_deref().is_some_and(|mode| mode != "Filesystem") {
        return Err(failed("spec.volumeMode: only Filesystem is supported by this agent"));
    }
    let options = spec.mount_options.as_deref().unwrap_or_default();
    if let Some(nfs) = &spec.nfs {
        let read_only = read_only || nfs.read_only == Some(true);
        return Ok(Volume { name, source: of_nfs(nfs, options), read_only });
    }
    if !options.is_empty() {
        return Err(failed("spec.mountOptions: supported for nfs only"));
    }
    if let Some(local) = &spec.local {
        return Ok(Volume { name, source: Source::Local { path: PathBuf::from(&local.path) }, read_only });
    }
    match &spec.host_path {
        Some(host) => Ok(Volume { name, source: of_host_path(host).map_err(|why| failed(&why))?, read_only }),
        None => Err(failed("its source is not supported by this agent")),
    }
}
