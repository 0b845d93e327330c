//! Rules of volumes.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, EmptyDirVolumeSource, HostPathVolumeSource, KeyToPath, NFSVolumeSource,
    ProjectedVolumeSource, SecretProjection, Volume,
};

use super::path::{At, Broken};
use super::{downward, names};
use crate::objects::quantity::milli;

const HOST_PATHS: [&str; 8] =
    ["", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];

/// All volumes of a Pod, of which it returns the names.
pub(super) fn all(volumes: &[Volume], list: &At<'_>, broken: &mut Broken) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for (index, volume) in volumes.iter().enumerate() {
        let at = list.item(index);
        broken.rule(&at.field("name"), &volume.name, names::dns_label);
        broken.once(&at.field("name"), volume.name.clone(), &mut seen);
        broken.exactly_one(
            &at,
            &[
                ("emptyDir", volume.empty_dir.is_some()),
                ("hostPath", volume.host_path.is_some()),
                ("configMap", volume.config_map.is_some()),
                ("secret", volume.secret.is_some()),
                ("downwardAPI", volume.downward_api.is_some()),
                ("projected", volume.projected.is_some()),
                ("nfs", volume.nfs.is_some()),
                ("persistentVolumeClaim", volume.persistent_volume_claim.is_some()),
                ("image", volume.image.is_some()),
            ],
        );
        one(volume, &at, broken);
    }
    seen
}

fn one(volume: &Volume, at: &At<'_>, broken: &mut Broken) {
    if let Some(source) = &volume.empty_dir {
        empty_dir(source, &at.field("emptyDir"), broken);
    }
    if let Some(source) = &volume.host_path {
        host_path(source, &at.field("hostPath"), broken);
    }
    if let Some(source) = &volume.nfs {
        nfs(source, &at.field("nfs"), broken);
    }
    if let Some(source) = &volume.config_map {
        let at = at.field("configMap");
        broken.rule(&at.field("name"), &source.name, names::dns_subdomain);
        mode(source.default_mode, &at.field("defaultMode"), broken);
        items(source.items.as_deref(), &at.field("items"), broken);
    }
    if let Some(source) = &volume.secret {
        let at = at.field("secret");
        let name = source.secret_name.clone().unwrap_or_default();
        broken.rule(&at.field("secretName"), &name, names::dns_subdomain);
        mode(source.default_mode, &at.field("defaultMode"), broken);
        items(source.items.as_deref(), &at.field("items"), broken);
    }
    if let Some(source) = &volume.downward_api {
        let at = at.field("downwardAPI");
        mode(source.default_mode, &at.field("defaultMode"), broken);
        downward::files(source.items.as_deref().unwrap_or_default(), &at.field("items"), broken);
    }
    if let Some(source) = &volume.projected {
        projected(source, &at.field("projected"), broken);
    }
    if let Some(source) = &volume.persistent_volume_claim {
        broken.rule(&at.field("persistentVolumeClaim.claimName"), &source.claim_name, names::dns_subdomain);
    }
    if let Some(source) = &volume.image {
        let at = at.field("image");
        broken.set(&at.field("reference"), source.reference.as_ref());
        let policies = ["Always", "IfNotPresent", "Never"];
        broken.one_of(&at.field("pullPolicy"), source.pull_policy.as_ref(), &policies);
    }
}

fn empty_dir(source: &EmptyDirVolumeSource, at: &At<'_>, broken: &mut Broken) {
    broken.one_of(&at.field("medium"), source.medium.as_ref(), &["", "Memory"]);
    let good = source.size_limit.as_ref().is_none_or(|limit| milli(limit).is_some_and(|milli| milli >= 0));
    broken.that(good, &at.field("sizeLimit"), "it is no amount, as 64Mi");
}

pub(super) fn host_path(source: &HostPathVolumeSource, at: &At<'_>, broken: &mut Broken) {
    broken.rule(&at.field("path"), &source.path, names::absolute_path);
    broken.one_of(&at.field("type"), source.type_.as_ref(), &HOST_PATHS);
}

pub(super) fn nfs(source: &NFSVolumeSource, at: &At<'_>, broken: &mut Broken) {
    broken.set(&at.field("server"), Some(&source.server));
    broken.rule(&at.field("path"), &source.path, names::absolute_path);
}

fn mode(mode: Option<i32>, at: &At<'_>, broken: &mut Broken) {
    broken.range(at, mode, 0, 0o777);
}

fn items(items: Option<&[KeyToPath]>, list: &At<'_>, broken: &mut Broken) {
    for (index, item) in items.unwrap_or_default().iter().enumerate() {
        let at = list.item(index);
        broken.rule(&at.field("key"), &item.key, names::config_key);
        broken.rule(&at.field("path"), &item.path, names::path_in_volume);
        mode(item.mode, &at.field("mode"), broken);
    }
}

fn projected(source: &ProjectedVolumeSource, at: &At<'_>, broken: &mut Broken) {
    mode(source.default_mode, &at.field("defaultMode"), broken);
    let list = at.field("sources");
    for (index, part) in source.sources.iter().flatten().enumerate() {
        let at = list.item(index);
        broken.exactly_one(
            &at,
            &[
                ("configMap", part.config_map.is_some()),
                ("secret", part.secret.is_some()),
                ("downwardAPI", part.downward_api.is_some()),
            ],
        );
        if let Some(ConfigMapProjection { name, items: of, .. }) = &part.config_map {
            broken.rule(&at.field("configMap.name"), name, names::dns_subdomain);
            items(of.as_deref(), &at.field("configMap.items"), broken);
        }
        if let Some(SecretProjection { name, items: of, .. }) = &part.secret {
            broken.rule(&at.field("secret.name"), name, names::dns_subdomain);
            items(of.as_deref(), &at.field("secret.items"), broken);
        }
        if let Some(of) = &part.downward_api {
            downward::files(of.items.as_deref().unwrap_or_default(), &at.field("downwardAPI.items"), broken);
        }
    }
}
