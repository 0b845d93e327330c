//! A world without a runtime: objects change as decisions say, Pods as the tests say.

mod daemonsets;
mod deployments;
mod jobs;
mod promise;
mod quotas;
mod sets;
mod statefulsets;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::pods::after;
use crate::objects::{Key, Kind, Object, Objects, Typed};
use crate::reconcile::{Action, Decision};

/// All objects, and whom their changes concern.
pub(super) struct World {
    pub objects: Objects,
    pub now: Timestamp,
    pub dirty: BTreeSet<Key>,
    pub wakes: BTreeMap<Key, Timestamp>,
    pub events: Vec<String>,
    revision: u64,
}

impl World {
    pub fn new() -> Self {
        Self {
            objects: Objects::default(),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            dirty: BTreeSet::new(),
            wakes: BTreeMap::new(),
            events: Vec::new(),
            revision: 0,
        }
    }

    /// Puts a manifest; metadata and status of what is there stay.
    pub fn apply(&mut self, mut manifest: Value) -> Key {
        let kind =
            Kind::of_manifest(manifest["apiVersion"].as_str().unwrap(), manifest["kind"].as_str().unwrap());
        let kind = kind.unwrap();
        manifest["metadata"]["namespace"] = json!("default");
        let object = Object::from_value(kind, manifest).unwrap();
        let key = object.key();
        match self.objects.get(&key).cloned() {
            Some(before) => {
                let mut value = object.to_value();
                value["status"] = before.to_value()["status"].clone();
                value["metadata"] = before.to_value()["metadata"].clone();
                if value["status"].is_null() {
                    value.as_object_mut().unwrap().remove("status");
                }
                self.put(Object::from_value(kind, value).unwrap(), true);
            }
            None => self.create(object),
        }
        key
    }

    fn create(&mut self, mut object: Object) {
        let uid = format!("uid-{}", self.revision + 1);
        let now = self.now;
        let metadata = object.metadata_mut();
        metadata.uid = Some(uid);
        metadata.creation_timestamp = Some(Time(now));
        metadata.generation = Some(0);
        self.put(object, true);
    }

    pub fn put(&mut self, mut object: Object, of_spec: bool) {
        self.revision += 1;
        let metadata = object.metadata_mut();
        metadata.resource_version = Some(self.revision.to_string());
        *metadata.generation.get_or_insert(0) += i64::from(of_spec);
        self.objects.insert(object.clone());
        self.dirty.extend(crate::reconcile::workloads::dependents(&object, &self.objects));
        self.dirty.insert(object.key());
    }

    pub fn remove(&mut self, key: &Key) {
        if let Some(object) = self.objects.remove(key) {
            self.dirty.extend(crate::reconcile::workloads::dependents(&object, &self.objects));
            self.dirty.insert(key.clone());
        }
    }

    /// Decides for one object, and does it.
    pub fn reconcile(&mut self, key: &Key) -> Decision {
        self.dirty.remove(key);
        let decision = super::reconcile(key, &self.objects, self.now);
        match decision.wake {
            Some(at) => self.wakes.insert(key.clone(), at),
            None => self.wakes.remove(key),
        };
        decision.actions.iter().cloned().for_each(|action| self.perform(action));
        decision
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Create(object) => {
                assert!(self.objects.get(&object.key()).is_none(), "{} is there already", object.key());
                self.create(object);
            }
            Action::Update(object) => {
                let before = self.objects.get(&object.key()).unwrap();
                assert_eq!(before.uid(), object.uid());
                let mut value = object.to_value();
                match before.to_value().get("status") {
                    Some(status) => value["status"] = status.clone(),
                    None => drop(value.as_object_mut().unwrap().remove("status")),
                }
                let of_spec = before.to_value()["spec"] != value["spec"];
                self.put(Object::from_value(object.kind(), value).unwrap(), of_spec);
            }
            Action::Status(object) => {
                let mut value = self.objects.get(&object.key()).unwrap().to_value();
                value["status"] = object.to_value()["status"].clone();
                self.put(Object::from_value(object.kind(), value).unwrap(), false);
            }
            Action::Delete { key, .. } if key.kind == Kind::Pod => {
                let mut pod = self.objects.get(&key).unwrap().clone();
                pod.metadata_mut().deletion_timestamp = Some(Time(self.now));
                self.put(pod, false);
            }
            Action::Delete { key, .. } | Action::Remove { key, .. } => self.remove(&key),
            Action::Event { reason, message, .. } => self.events.push(format!("{reason}: {message}")),
            Action::Pod { .. } => panic!("not of a workload"),
        }
    }

    /// Decides until nothing is left to decide.
    pub fn settle(&mut self) {
        for _ in 0..2000 {
            let Some(key) = self.dirty.first().cloned() else { return };
            self.reconcile(&key);
        }
        panic!("decisions without end: {:?}", self.dirty);
    }

    /// Settles with all Pods ready at once, and those that are deleted gone at once, until that changes nothing.
    pub fn run(&mut self) {
        for _ in 0..500 {
            self.settle();
            let pods: Vec<Pod> = self.pods();
            for pod in &pods {
                if pod.metadata.deletion_timestamp.is_some() {
                    self.remove(&pod.key());
                } else if super::pods::phase(pod).is_empty() || super::pods::phase(pod) == "Pending" {
                    self.set(&pod.key(), "Running", true);
                }
            }
            if self.dirty.is_empty() {
                return;
            }
        }
        panic!("no end");
    }

    pub fn pass(&mut self, seconds: i64) {
        self.now = after(self.now, seconds);
        let due: Vec<Key> =
            self.wakes.iter().filter(|(_, at)| **at <= self.now).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.wakes.remove(&key);
            self.dirty.insert(key);
        }
    }

    /// Gives a Pod a phase and readiness.
    pub fn set(&mut self, key: &Key, phase: &str, ready: bool) {
        let Some(mut pod) = self.objects.get(key).and_then(Pod::of).cloned() else { return };
        let was = super::pods::ready(&pod);
        let since = if was.is_some() == ready { was.flatten() } else { None };
        let status = pod.status.get_or_insert_with(PodStatus::default);
        status.phase = Some(phase.to_owned());
        status.conditions = Some(vec![PodCondition {
            type_: "Ready".to_owned(),
            status: if ready { "True" } else { "False" }.to_owned(),
            last_transition_time: Some(Time(since.unwrap_or(self.now))),
            ..PodCondition::default()
        }]);
        self.put(pod.wrap(), false);
    }

    pub fn restarts(&mut self, key: &Key, restart_count: i32) {
        let mut pod = self.objects.get(key).and_then(Pod::of).unwrap().clone();
        let status = ContainerStatus { restart_count, ..ContainerStatus::default() };
        pod.status.get_or_insert_default().container_statuses = Some(vec![status]);
        self.put(pod.wrap(), false);
    }

    pub fn pods(&self) -> Vec<Pod> {
        self.objects.list::<Pod>().cloned().collect()
    }

    pub fn active(&self) -> Vec<Pod> {
        self.pods().into_iter().filter(|pod| super::pods::is_active(&pod)).collect()
    }

    pub fn get<T: Typed>(&self, name: &str) -> T {
        self.objects.find::<T>("default", name).unwrap_or_else(|| panic!("{name} is not there")).clone()
    }

    pub fn list<T: Typed>(&self) -> Vec<T> {
        self.objects.list::<T>().cloned().collect()
    }
}

/// A template of an image.
pub(super) fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": image}]},
    })
}
