//! The objects that a Pod refers to: whom a change of them concerns, and whether what was missing has come.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::jiff::Timestamp;

use super::view::View;
use crate::objects::{Key, Kind, Object, Objects, Typed};

/// Pods that use a ConfigMap, Secret, claim, volume or RuntimeClass that changed.
pub fn dependents(changed: &Object, desired: &Objects) -> Vec<Key> {
    let key = changed.key();
    let pods: Box<dyn Iterator<Item = &core::Pod>> = match key.kind {
        Kind::ConfigMap | Kind::Secret | Kind::PersistentVolumeClaim => {
            Box::new(desired.list_in::<core::Pod>(&key.namespace))
        }
        Kind::RuntimeClass => Box::new(desired.list::<core::Pod>()),
        Kind::PersistentVolume => return claimants(changed, desired),
        _ => return Vec::new(),
    };
    pods.filter(|pod| of_pod(pod).contains(&key)).map(Typed::key).collect()
}

/// Pods that use the claim of a volume.
fn claimants(changed: &Object, desired: &Objects) -> Vec<Key> {
    let volume = core::PersistentVolume::of(changed).and_then(|volume| volume.spec.as_ref());
    let Some(claim) = volume.and_then(|spec| spec.claim_ref.as_ref()) else { return Vec::new() };
    let (namespace, name) = (claim.namespace.as_deref().unwrap_or(""), claim.name.as_deref().unwrap_or(""));
    let key = Key::new(Kind::PersistentVolumeClaim, namespace, name);
    desired.list_in::<core::Pod>(namespace).filter(|pod| of_pod(pod).contains(&key)).map(Typed::key).collect()
}

/// Whether one of the objects was made after `at`: what failed for want of it is worth another try.
pub(super) fn came_since(view: &View<'_>, at: Timestamp) -> bool {
    let made = |key: Key| view.desired.get(&key)?.metadata().creation_timestamp.as_ref().map(|time| time.0);
    of_pod(view.pod).into_iter().filter_map(made).any(|made| made > at)
}

/// What a Pod refers to.
fn of_pod(pod: &core::Pod) -> Vec<Key> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let mut keys = Keys { namespace: pod.namespace(), keys: Vec::new() };
    if let Some(class) = &spec.runtime_class_name {
        keys.keys.push(Key::new(Kind::RuntimeClass, "", class));
    }
    for secret in spec.image_pull_secrets.iter().flatten() {
        keys.add(Kind::Secret, Some(&secret.name));
    }
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        keys.of_container(container);
    }
    for volume in spec.volumes.iter().flatten() {
        keys.of_volume(volume);
    }
    keys.keys
}

struct Keys<'a> {
    namespace: &'a str,
    keys: Vec<Key>,
}

impl Keys<'_> {
    fn add(&mut self, kind: Kind, name: Option<&str>) {
        let key = |name| Key::new(kind, self.namespace, name);
        self.keys.extend(name.filter(|name| !name.is_empty()).map(key));
    }

    fn of_container(&mut self, container: &core::Container) {
        for from in container.env_from.iter().flatten() {
            self.add(Kind::ConfigMap, from.config_map_ref.as_ref().map(|map| map.name.as_str()));
            self.add(Kind::Secret, from.secret_ref.as_ref().map(|secret| secret.name.as_str()));
        }
        for from in container.env.iter().flatten().filter_map(|env| env.value_from.as_ref()) {
            self.add(Kind::ConfigMap, from.config_map_key_ref.as_ref().map(|map| map.name.as_str()));
            self.add(Kind::Secret, from.secret_key_ref.as_ref().map(|secret| secret.name.as_str()));
        }
    }

    fn of_volume(&mut self, volume: &core::Volume) {
        self.add(Kind::ConfigMap, volume.config_map.as_ref().map(|map| map.name.as_str()));
        self.add(Kind::Secret, volume.secret.as_ref().and_then(|secret| secret.secret_name.as_deref()));
        let claim = volume.persistent_volume_claim.as_ref();
        self.add(Kind::PersistentVolumeClaim, claim.map(|claim| claim.claim_name.as_str()));
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for source in sources {
            self.add(Kind::ConfigMap, source.config_map.as_ref().map(|map| map.name.as_str()));
            self.add(Kind::Secret, source.secret.as_ref().map(|secret| secret.name.as_str()));
        }
    }
}
