//! No decision takes away an available Pod that was promised, whatever happens in between.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use proptest::prelude::*;
use serde_json::json;

use super::World;
use super::deployments::deployment;
use crate::objects::{Key, Kind, Typed};
use crate::reconcile::Action;
use crate::reconcile::workloads::pods;

/// What happens next.
#[derive(Clone, Debug)]
enum Happens {
    /// One of those who have to decide, does.
    Decision(usize),
    /// A Pod becomes ready, or not.
    Ready(usize, bool),
    /// A Pod fails as a whole.
    Fails(usize),
    /// A Pod that is being deleted is gone.
    Gone(usize),
    /// Time passes.
    Passes(u8),
    /// Another template.
    Template(u8),
    /// Other replicas.
    Replicas(u8),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => any::<usize>().prop_map(Happens::Decision),
        6 => (any::<usize>(), prop::bool::weighted(0.8)).prop_map(|(pod, ready)| Happens::Ready(pod, ready)),
        1 => any::<usize>().prop_map(Happens::Fails),
        3 => any::<usize>().prop_map(Happens::Gone),
        2 => (0..20_u8).prop_map(Happens::Passes),
        1 => (0..3_u8).prop_map(Happens::Template),
        1 => (0..6_u8).prop_map(Happens::Replicas),
    ]
}

struct Rollout {
    world: World,
    image: u8,
    replicas: u8,
    surge: u8,
    unavailable: u8,
    min_ready: u8,
}

impl Rollout {
    fn apply(&mut self) {
        let spec = json!({
            "replicas": self.replicas, "minReadySeconds": self.min_ready,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": self.surge, "maxUnavailable": self.unavailable}},
        });
        self.world.apply(deployment(&format!("v{}", self.image), spec));
    }

    fn available(&self) -> i32 {
        let active = self.world.active();
        let available = |pod: &&_| pods::is_available(pod, Some(self.min_ready.into()), self.world.now);
        i32::try_from(active.iter().filter(available).count()).unwrap()
    }

    fn least(&self) -> i32 {
        let unavailable = if self.surge == 0 { self.unavailable.max(1) } else { self.unavailable };
        (i32::from(self.replicas) - i32::from(unavailable)).max(0)
    }

    fn pod(&self, which: usize) -> Option<Key> {
        let pods = self.world.pods();
        (!pods.is_empty()).then(|| pods[which % pods.len()].key())
    }

    /// Decides, and checks what has been taken away.
    fn decide(&mut self, key: &Key) {
        let before = self.available();
        let decision = self.world.reconcile(key);
        let after = self.available();
        let deletes = decision
            .actions
            .iter()
            .any(|action| matches!(action, Action::Delete { key, .. } if key.kind == Kind::Pod));
        assert!(after >= before || after >= self.least(), "{before} -> {after}, promised {}", self.least());
        assert!(!deletes || key.kind == Kind::ReplicaSet);
    }

    fn happen(&mut self, what: Happens) {
        match what {
            Happens::Decision(which) => {
                let dirty: Vec<Key> = self.world.dirty.iter().cloned().collect();
                if !dirty.is_empty() {
                    self.decide(&dirty[which % dirty.len()]);
                }
            }
            Happens::Ready(which, ready) => {
                if let Some(key) = self.pod(which) {
                    let finished =
                        self.world.objects.get(&key).and_then(Typed::of).is_some_and(pods::is_finished);
                    if !finished {
                        self.world.set(&key, "Running", ready);
                    }
                }
            }
            Happens::Fails(which) => {
                if let Some(key) = self.pod(which) {
                    self.world.set(&key, "Failed", false);
                }
            }
            Happens::Gone(which) => {
                let Some(key) = self.pod(which) else { return };
                if self.world.objects.get(&key).is_some_and(crate::objects::Object::is_deleted) {
                    self.world.remove(&key);
                }
            }
            Happens::Passes(seconds) => self.world.pass(seconds.into()),
            Happens::Template(image) => {
                self.image = image;
                self.apply();
            }
            Happens::Replicas(replicas) => {
                self.replicas = replicas;
                self.apply();
            }
        }
    }

    /// With Pods that work it comes to an end, at what is wanted.
    fn finish(&mut self) {
        for _ in 0..300 {
            while let Some(key) = self.world.dirty.first().cloned() {
                self.decide(&key);
            }
            for pod in self.world.pods() {
                match (pods::is_deleted(&pod), pods::is_finished(&pod)) {
                    (true, _) => self.world.remove(&pod.key()),
                    (_, true) => {}
                    _ if pods::ready(&pod).is_none() => self.world.set(&pod.key(), "Running", true),
                    _ => {}
                }
            }
            self.world.pass(7);
        }
        let active = self.world.active();
        assert_eq!(active.len(), usize::from(self.replicas));
        let image = format!("v{}", self.image);
        assert!(
            active.iter().all(|pod| pod.spec.as_ref().unwrap().containers[0].image.as_ref() == Some(&image))
        );
        let status = self.world.get::<Deployment>("web").status.unwrap();
        assert_eq!(status.available_replicas, Some(self.replicas.into()));
        let sum: i32 = self.world.list::<ReplicaSet>().iter().map(|set| set.spec.replicas.unwrap()).sum();
        assert_eq!(sum, i32::from(self.replicas));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn never_fewer_than_promised(
        replicas in 0..6_u8, surge in 0..4_u8, unavailable in 0..3_u8, min_ready in 0..2_u8,
        script in prop::collection::vec(happens(), 0..150),
    ) {
        let world = World::new();
        let mut rollout = Rollout { world, image: 0, replicas, surge, unavailable, min_ready: min_ready * 10 };
        rollout.apply();
        script.into_iter().for_each(|what| rollout.happen(what));
        rollout.finish();
    }
}
