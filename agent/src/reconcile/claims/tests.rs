//! Claims and volumes in a world that does what is decided.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

struct World {
    objects: Objects,
    events: Vec<String>,
    now: Timestamp,
}

impl World {
    fn of(all: impl IntoIterator<Item = (Kind, Value)>) -> Self {
        let mut world = Self {
            objects: Objects::default(),
            events: Vec::new(),
            now: Timestamp::from_second(1000).unwrap(),
        };
        for (kind, value) in all {
            world.objects.insert(Object::from_value(kind, value).expect("an object"));
        }
        world.settle();
        world
    }

    fn put(&mut self, kind: Kind, value: Value) {
        self.objects.insert(Object::from_value(kind, value).expect("an object"));
        self.settle();
    }

    /// Decides until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..20 {
            let keys: Vec<Key> = self.objects.iter().map(|(key, _)| key.clone()).collect();
            let mut still = true;
            for key in keys {
                for action in reconcile(&key, &self.objects, self.now).actions {
                    still = false;
                    self.act(action);
                }
            }
            if still {
                return;
            }
        }
        panic!("it never comes to rest: {:?}", self.events);
    }

    fn act(&mut self, action: Action) {
        match action {
            // As the store does: a status stays with an update, and all else with a status.
            Action::Update(object) => {
                let mut value = object.to_value();
                let old = self.objects.get(&object.key()).expect("it is there").to_value();
                value["status"] = old["status"].clone();
                self.objects.insert(Object::from_value(object.kind(), value).expect("an object"));
            }
            Action::Status(object) => {
                let mut value = self.objects.get(&object.key()).expect("it is there").to_value();
                value["status"] = object.to_value()["status"].clone();
                self.objects.insert(Object::from_value(object.kind(), value).expect("an object"));
            }
            Action::Remove { key, .. } => {
                self.objects.remove(&key);
            }
            Action::Event { reason, message, .. } => self.events.push(format!("{reason}: {message}")),
            action => panic!("{action:?}"),
        }
    }

    fn phase(&self, kind: Kind, name: &str) -> String {
        let namespace = if kind.namespaced() { "web" } else { "" };
        let Some(object) = self.objects.get(&Key::new(kind, namespace, name)) else { return "-".into() };
        object.to_value()["status"]["phase"].as_str().unwrap_or("").into()
    }

    fn claim(&self, name: &str) -> &PersistentVolumeClaim {
        self.objects.find("web", name).expect("a claim")
    }

    /// Its phase and its volume.
    fn bound(&self, name: &str) -> (String, &str) {
        (self.phase(Kind::PersistentVolumeClaim, name), volume_name(self.claim(name)))
    }

    fn delete_claim(&mut self, name: &str) {
        let mut object = self.claim(name).clone().wrap();
        if in_use(&object, &self.objects) {
            object.metadata_mut().deletion_timestamp = Some(Time(self.now));
            self.objects.insert(object);
        } else {
            self.objects.remove(&object.key());
        }
        self.settle();
    }
}

fn volume(name: &str, size: &str, more: &Value) -> (Kind, Value) {
    let mut value = json!({
        "metadata": { "name": name, "uid": name },
        "spec": { "capacity": { "storage": size }, "accessModes": ["ReadWriteOnce"], "local": { "path": "/data" } },
    });
    merge(&mut value, more);
    (Kind::PersistentVolume, value)
}

fn claim(name: &str, size: &str, more: &Value) -> (Kind, Value) {
    let mut value = json!({
        "metadata": { "name": name, "namespace": "web", "uid": format!("{name}-1") },
        "spec": { "resources": { "requests": { "storage": size } }, "accessModes": ["ReadWriteOnce"] },
    });
    merge(&mut value, more);
    (Kind::PersistentVolumeClaim, value)
}

fn pod(name: &str, claim: &str, phase: &str) -> (Kind, Value) {
    let volumes = json!([{ "name": "v", "persistentVolumeClaim": { "claimName": claim } }]);
    let value = json!({
        "metadata": { "name": name, "namespace": "web", "uid": name, "creationTimestamp": "1970-01-01T00:10:00Z" },
        "spec": { "containers": [], "volumes": volumes }, "status": { "phase": phase },
    });
    (Kind::Pod, value)
}

fn merge(value: &mut Value, more: &Value) {
    match (value, more) {
        (Value::Object(value), Value::Object(more)) => {
            more.iter().for_each(|(key, more)| merge(value.entry(key).or_insert(Value::Null), more));
        }
        (value, more) => *value = more.clone(),
    }
}

#[test]
fn the_smallest_volume_that_suits_is_taken() {
    let world = World::of([
        volume("big", "10Gi", &json!({})),
        volume("small", "1Gi", &json!({})),
        volume("fitting", "5Gi", &json!({})),
        claim("c", "2Gi", &json!({})),
    ]);
    assert_eq!(world.bound("c"), ("Bound".into(), "fitting"));
    assert_eq!(world.phase(Kind::PersistentVolume, "fitting"), "Bound");
    assert_eq!(world.phase(Kind::PersistentVolume, "big"), "Available");
    let status = world.claim("c").status.clone().expect("a status");
    assert_eq!(status.capacity.expect("a capacity")["storage"].0, "5Gi");
    assert!(bound_volume(world.claim("c"), &world.objects).is_some());
}

#[test]
fn a_volume_that_differs_is_not_taken() {
    let cases = [
        (json!({"spec": {"storageClassName": "fast"}}), json!({})),
        (json!({}), json!({"spec": {"storageClassName": "fast"}})),
        (json!({}), json!({"spec": {"accessModes": ["ReadWriteOnce", "ReadWriteMany"]}})),
        (json!({"spec": {"volumeMode": "Block"}}), json!({})),
        (
            json!({"metadata": {"labels": {"disk": "hdd"}}}),
            json!({"spec": {"selector": {"matchLabels": {"disk": "ssd"}}}}),
        ),
        (json!({"spec": {"claimRef": {"namespace": "web", "name": "other"}}}), json!({})),
        (json!({"metadata": {"deletionTimestamp": "1970-01-01T00:00:00Z"}}), json!({})),
    ];
    for (of_volume, of_claim) in cases {
        let world = World::of([volume("v", "5Gi", &of_volume), claim("c", "2Gi", &of_claim)]);
        assert_eq!(world.bound("c"), ("Pending".into(), ""), "{of_volume} {of_claim}");
        assert_eq!(world.events.len(), 1, "{:?}", world.events);
    }
}

#[test]
fn a_claim_that_waits_is_bound_when_a_volume_comes() {
    let mut world = World::of([claim("c", "2Gi", &json!({}))]);
    assert_eq!(world.bound("c"), ("Pending".into(), ""));
    let (kind, value) = volume("v", "2Gi", &json!({}));
    let object = Object::from_value(kind, value.clone()).expect("an object");
    assert!(dependents(&object, &world.objects).contains(&world.claim("c").key()));
    world.put(kind, value);
    assert_eq!(world.bound("c"), ("Bound".into(), "v"));
}

#[test]
fn each_side_may_name_the_other() {
    let reserved = json!({"spec": {"claimRef": {"namespace": "web", "name": "c"}}});
    let world = World::of([
        volume("a", "1Gi", &json!({})),
        volume("reserved", "9Gi", &reserved),
        claim("c", "1Gi", &json!({})),
        claim("d", "1Gi", &json!({"spec": {"volumeName": "b"}})),
        volume("b", "1Gi", &json!({})),
        claim("e", "9Gi", &json!({"spec": {"volumeName": "a"}})),
        claim("f", "1Gi", &json!({"spec": {"volumeName": "none"}})),
        claim("g", "1Gi", &json!({"spec": {"volumeName": "reserved"}})),
    ]);
    assert_eq!(world.bound("c"), ("Bound".into(), "reserved"));
    assert_eq!(world.bound("d"), ("Bound".into(), "b"));
    assert_eq!(world.bound("e"), ("Pending".into(), "a"));
    assert_eq!(world.bound("f"), ("Pending".into(), "none"));
    assert_eq!(world.bound("g"), ("Pending".into(), "reserved"));
    let said = world.events.join("\n");
    assert!(said.contains("VolumeMismatch: volume \"a\": it is smaller"), "{said}");
    assert!(said.contains("volume \"none\" not found"), "{said}");
    assert!(said.contains("volume \"reserved\" is bound to another claim"), "{said}");
}

#[test]
fn a_claim_in_use_is_removed_after_its_pods() {
    let mut world =
        World::of([volume("v", "1Gi", &json!({})), claim("c", "1Gi", &json!({})), pod("p", "c", "Running")]);
    world.delete_claim("c");
    assert_eq!(world.bound("c"), ("Bound".into(), "v"));
    // A Pod that comes later does not keep it.
    let (kind, mut late) = pod("late", "c", "Pending");
    late["metadata"]["creationTimestamp"] = "1970-01-01T01:00:00Z".into();
    world.put(kind, late);
    let (kind, over) = pod("p", "c", "Succeeded");
    let object = Object::from_value(kind, over.clone()).expect("an object");
    assert_eq!(dependents(&object, &world.objects), [world.claim("c").key()]);
    world.put(kind, over);
    assert_eq!(world.phase(Kind::PersistentVolumeClaim, "c"), "-");
    assert_eq!(world.phase(Kind::PersistentVolume, "v"), "Released");
}

#[test]
fn a_released_volume_is_nobodys_until_its_claim_reference_goes() {
    let mut world = World::of([volume("v", "1Gi", &json!({})), claim("c", "1Gi", &json!({}))]);
    world.delete_claim("c");
    assert_eq!(world.phase(Kind::PersistentVolume, "v"), "Released");
    // One of the same name is another.
    let (kind, mut again) = claim("c", "1Gi", &json!({}));
    again["metadata"]["uid"] = "c-2".into();
    world.put(kind, again);
    assert_eq!(world.bound("c"), ("Pending".into(), ""));
    let mut freed = world.objects.find::<PersistentVolume>("", "v").expect("it").clone();
    freed.spec.as_mut().expect("a spec").claim_ref = None;
    let freed = freed.wrap();
    world.put(Kind::PersistentVolume, freed.to_value());
    assert_eq!(world.bound("c"), ("Bound".into(), "v"));
}

#[test]
fn files_of_others_are_not_deleted() {
    let policy = json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}});
    let mut world = World::of([volume("v", "1Gi", &policy), claim("c", "1Gi", &json!({}))]);
    assert_eq!(world.phase(Kind::PersistentVolume, "v"), "Bound");
    world.delete_claim("c");
    assert_eq!(world.phase(Kind::PersistentVolume, "v"), "Failed");
    assert!(
        world.events.iter().any(|event| event.starts_with("VolumeFailedDelete: reclaim policy Delete: "))
    );
}

#[test]
fn a_claim_whose_volume_is_gone_is_lost() {
    let mut world = World::of([volume("v", "1Gi", &json!({})), claim("c", "1Gi", &json!({}))]);
    world.objects.remove(&Key::new(Kind::PersistentVolume, "", "v"));
    world.settle();
    assert_eq!(world.bound("c"), ("Lost".into(), "v"));
    assert!(world.events.iter().any(|event| event.starts_with("ClaimLost: ")), "{:?}", world.events);
    // It does not come back empty.
    assert!(bound_volume(world.claim("c"), &world.objects).is_none());
}

#[test]
fn a_volume_waits_for_its_claim() {
    let mut world = World::of([volume("v", "1Gi", &json!({})), claim("c", "1Gi", &json!({}))]);
    let mut object = world.objects.get(&Key::new(Kind::PersistentVolume, "", "v")).expect("it").clone();
    assert!(in_use(&object, &world.objects));
    object.metadata_mut().deletion_timestamp = Some(Time(world.now));
    world.objects.insert(object);
    world.settle();
    assert_eq!(world.phase(Kind::PersistentVolume, "v"), "Bound");
    world.delete_claim("c");
    assert_eq!(world.phase(Kind::PersistentVolume, "v"), "-");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    /// Whatever comes in whatever order: it comes to rest, no volume has two claims, no claim that is bound is too big for its volume.
    #[test]
    fn no_volume_is_given_twice(
        volumes in proptest::collection::vec(1..6_u8, 0..6),
        claims in proptest::collection::vec(1..6_u8, 0..6),
        deleted in proptest::collection::vec(any::<bool>(), 6),
    ) {
        let mut world = World::of([]);
        let sizes = |sizes: &[u8]| sizes.iter().map(|size| format!("{size}Gi")).collect::<Vec<_>>();
        for (index, size) in sizes(&claims).iter().enumerate() {
            let (kind, value) = claim(&format!("c{index}"), size, &json!({}));
            world.put(kind, value);
        }
        for (index, size) in sizes(&volumes).iter().enumerate() {
            let (kind, value) = volume(&format!("v{index}"), size, &json!({}));
            world.put(kind, value);
            if deleted[index] && index < claims.len() {
                world.objects.remove(&Key::new(Kind::PersistentVolumeClaim, "web", format!("c{index}")));
                world.settle();
            }
        }
        let mut taken = std::collections::BTreeSet::new();
        for claim in world.objects.list::<PersistentVolumeClaim>() {
            if let Some(volume) = bound_volume(claim, &world.objects) {
                prop_assert!(taken.insert(volume.name().to_owned()));
                prop_assert_eq!(mismatch(volume, claim), None);
                prop_assert_eq!(world.phase(Kind::PersistentVolume, volume.name()), "Bound");
            } else {
                // Nothing that is free would suit it.
                prop_assert!(choose(claim, &world.objects).is_none());
            }
        }
    }
}
