//! A world for tests: an object, a runtime that does what it is told or fails, time that goes on when told, an agent that forgets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::super::observed::{Container, Observed, PodObserved, ProbeKind, Sandbox, State, Target};
use super::super::{Action, Decision};
use super::{Outcome, PodStep, begin, reconcile, record, target};
use crate::objects::{Key, Kind, Object, Objects, Typed};
use crate::spec;

pub(super) const UID: &str = "uid-1";

pub(super) struct World {
    pub(super) objects: Objects,
    pub(super) observed: Observed,
    pub(super) now: Timestamp,
    /// At the runtime; survive the agent.
    pub(super) sandboxes: Vec<Sandbox>,
    pub(super) containers: Vec<Container>,
    /// Steps, and what they come to where they have had their effect already.
    pub(super) under_way: Vec<(String, PodStep, Option<Outcome>)>,
    /// Steps have their effect when they begin, not when they end.
    pub(super) is_eager: bool,
    /// Containers are made but cannot be started.
    pub(super) no_command: bool,
    /// The runtime is looked at only now and then, not after each step.
    pub(super) is_lazy: bool,
    /// What steps answer that are not well, by [`label`] without numbers: `Pull a`.
    pub(super) failures: BTreeMap<String, (&'static str, &'static str)>,
    /// Probes that fail, as `a Liveness`.
    pub(super) unwell: BTreeSet<String>,
    /// All steps that were begun, and events.
    pub(super) steps: Vec<String>,
    pub(super) events: Vec<String>,
    /// Containers that ran, by name.
    pub(super) starts: BTreeMap<String, u32>,
    /// Init containers that ended well, and sidecars that started, by sandbox and name.
    passed: BTreeSet<(String, String)>,
    ids: u32,
}

pub(super) fn key() -> Key {
    Key::new(Kind::Pod, "web", "front")
}

impl World {
    /// With a Pod of this spec.
    pub(super) fn new(spec: Value) -> Self {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let meta = json!({"name": "front", "namespace": "web", "uid": UID, "generation": 1, "creationTimestamp": now.to_string()});
        let pod = Object::from_value(Kind::Pod, json!({"metadata": meta, "spec": spec})).unwrap();
        let mut world = Self {
            objects: [pod].into_iter().collect(),
            observed: Observed { listed: true, ..Observed::default() },
            now,
            sandboxes: Vec::new(),
            containers: Vec::new(),
            under_way: Vec::new(),
            is_eager: false,
            is_lazy: false,
            no_command: false,
            failures: BTreeMap::new(),
            unwell: BTreeSet::new(),
            steps: Vec::new(),
            events: Vec::new(),
            starts: BTreeMap::new(),
            passed: BTreeSet::new(),
            ids: 0,
        };
        world.observed.node.name = "node".into();
        world.observed.node.runtime = "rcrun".into();
        world.observed.node.addresses = vec!["192.0.2.1".parse().unwrap()];
        world
    }

    pub(super) fn pod(&self) -> Option<&Pod> {
        self.objects.find::<Pod>("web", "front")
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut Pod)) {
        let mut pod = self.pod().unwrap().clone();
        change(&mut pod);
        self.objects.insert(pod.wrap());
    }

    pub(super) fn status(&self) -> PodStatus {
        self.pod().and_then(|pod| pod.status.clone()).unwrap_or_default()
    }

    pub(super) fn phase(&self) -> String {
        self.status().phase.unwrap_or_default()
    }

    pub(super) fn container(&self, name: &str) -> ContainerStatus {
        let status = self.status();
        let all = [status.init_container_statuses, status.container_statuses];
        all.into_iter().flatten().flatten().find(|status| status.name == name).unwrap()
    }

    pub(super) fn condition(&self, name: &str) -> String {
        let conditions = self.status().conditions.unwrap_or_default();
        conditions.into_iter().find(|condition| condition.type_ == name).map(|c| c.status).unwrap_or_default()
    }

    /// Why a container waits.
    pub(super) fn waiting(&self, name: &str) -> String {
        let state = self.container(name).state.unwrap();
        state.waiting.and_then(|waiting| waiting.reason).unwrap_or_default()
    }

    pub(super) fn seen(&mut self) -> &mut PodObserved {
        self.observed.pods.entry(UID.into()).or_default()
    }

    pub(super) fn advance(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    }

    /// Asks for a decision and begins what it says, until it says nothing more.
    pub(super) fn decide(&mut self) -> Decision {
        for _ in 0..50 {
            let decision = reconcile(&key(), &self.objects, &self.observed, self.now);
            assert!(decision.wake.is_none_or(|at| at > self.now), "wakes at once: {:?}", self.steps);
            if decision.actions.is_empty() {
                return decision;
            }
            self.act(decision.actions);
        }
        panic!("decisions never end: {:?}", self.steps);
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Status(object) => {
                    self.objects.insert(object);
                }
                Action::Remove { key, uid } => {
                    assert_eq!(self.objects.get(&key).map(Object::uid), Some(uid.as_str()));
                    self.objects.remove(&key);
                }
                Action::Event { reason, message, .. } => self.events.push(format!("{reason}: {message}")),
                Action::Pod { uid, step, .. } => {
                    let seen = self.observed.pods.entry(uid.clone()).or_default();
                    (seen.namespace, seen.name) = ("web".into(), "front".into());
                    assert!(!seen.busy.contains(&target(&step)), "{step:?} on a busy target");
                    begin(seen, &step, self.now);
                    self.steps.push(label(&step));
                    let is_well = !self.failures.contains_key(&plain_label(&step));
                    let outcome = (self.is_eager && is_well).then(|| self.perform(&uid, &step));
                    self.under_way.push((uid, step, outcome));
                }
                other => panic!("not of Pods: {other:?}"),
            }
        }
    }

    /// Goes on until nothing is under way, each step done in its turn.
    pub(super) fn go(&mut self) -> Decision {
        for _ in 0..200 {
            let decision = self.decide();
            if self.under_way.is_empty() {
                return decision;
            }
            self.finish(0, false);
        }
        panic!("steps never end: {:?}", self.steps);
    }

    /// A step comes to its end; the runtime is looked at again.
    pub(super) fn finish(&mut self, index: usize, fails: bool) {
        let (uid, step, done) = self.under_way.remove(index);
        let answer = self.failures.get(&plain_label(&step)).copied();
        let answer = answer.or(fails.then_some(("Error", "it failed")));
        let outcome = match (done, answer) {
            (Some(done), _) => done,
            (None, Some((reason, message))) => {
                Outcome::Failed { reason: reason.into(), message: message.into() }
            }
            (None, None) => self.perform(&uid, &step),
        };
        let pod = self.pod().filter(|pod| pod.uid() == uid).cloned();
        let seen = self.observed.pods.entry(uid).or_default();
        for (_, reason, message) in record(seen, pod.as_ref(), &step, outcome, self.now) {
            self.events.push(format!("{reason}: {message}"));
        }
        if !self.is_lazy {
            self.look();
        }
    }

    /// What the runtime says is seen, but for what steps are about that are under way.
    pub(super) fn look(&mut self) {
        let (sandboxes, mut containers) = (self.sandboxes.clone(), self.containers.clone());
        if !self.observed.pods.contains_key(UID) && sandboxes.is_empty() {
            return;
        }
        let seen = self.seen();
        (seen.namespace, seen.name) = ("web".into(), "front".into());
        if !seen.busy.contains(&Target::Sandbox) {
            seen.sandboxes = sandboxes;
        }
        let is_busy = |container: &Container| seen.busy.contains(&Target::Container(container.name.clone()));
        containers.retain(|container| !is_busy(container));
        containers.extend(seen.containers.iter().filter(|container| is_busy(container)).cloned());
        seen.containers = containers;
    }

    /// The agent is killed and comes again: it knows what the runtime and the disk know. Steps under way had been done, or not.
    pub(super) fn restart_agent(&mut self, done: bool) {
        for (uid, step, outcome) in std::mem::take(&mut self.under_way) {
            if done && outcome.is_none() && !self.failures.contains_key(&plain_label(&step)) {
                let _ = self.perform(&uid, &step);
            }
        }
        self.observed.pods.clear();
        if self.pod().is_some() && !matches!(self.phase().as_str(), "Succeeded" | "Failed") {
            self.change(|pod| pod.status = None);
        }
        self.look();
    }

    fn id(&mut self, what: &str) -> String {
        self.ids += 1;
        format!("{what}-{}", self.ids)
    }

    fn perform(&mut self, uid: &str, step: &PodStep) -> Outcome {
        match step {
            PodStep::PrepareVolumes => {
                let plan = self.pod().and_then(|pod| crate::volumes::plan(pod, &self.objects).ok());
                Outcome::Volumes(plan.map_or(0, |plan| plan.revision))
            }
            PodStep::ReleaseVolumes => {
                assert!(self.running().is_empty(), "the volumes of what runs");
                Outcome::Done
            }
            PodStep::RunSandbox { attempt } => {
                assert!(self.sandboxes.iter().all(|sandbox| !sandbox.ready), "two sandboxes");
                assert!(
                    self.sandboxes.iter().all(|sandbox| sandbox.attempt != *attempt),
                    "attempt of before"
                );
                let (id, addresses) = (self.id("sandbox"), vec!["10.0.0.7".parse().unwrap()]);
                let sandbox = Sandbox { id, attempt: *attempt, ready: true, addresses, created: self.now };
                self.sandboxes.push(sandbox.clone());
                Outcome::Sandbox(sandbox)
            }
            PodStep::StopSandbox { id } => {
                self.end_sandbox(&id.clone());
                Outcome::Done
            }
            PodStep::RemoveSandbox { id } => {
                self.end_sandbox(&id.clone());
                self.sandboxes.retain(|sandbox| sandbox.id != *id);
                self.containers.retain(|container| container.sandbox != *id);
                Outcome::Done
            }
            PodStep::Pull { container } => {
                Outcome::Image { id: format!("image of {container}"), pulled: None }
            }
            PodStep::Start { container, attempt } => self.start(uid, container, *attempt),
            PodStep::Stop { id, .. } | PodStep::Kill { id, .. } => {
                self.end(&id.clone(), 143);
                Outcome::Done
            }
            PodStep::RemoveContainer { id, .. } => {
                let live = |c: &Container| c.id == *id && matches!(c.state, State::Running { .. });
                assert!(!self.containers.iter().any(live), "removes what runs");
                self.containers.retain(|container| container.id != *id);
                Outcome::Done
            }
            PodStep::Probe { container, kind, .. } => {
                let success = !self.unwell.contains(&format!("{container} {kind:?}"));
                Outcome::Probe { success, message: "not well".into() }
            }
            PodStep::PostStart { .. } | PodStep::TearDown => Outcome::Done,
        }
    }

    fn start(&mut self, uid: &str, name: &str, attempt: u32) -> Outcome {
        let Some(sandbox) = self.sandboxes.iter().find(|s| s.ready).map(|s| s.id.clone()) else {
            return Outcome::Failed { reason: "CreateContainerError".into(), message: "no sandbox".into() };
        };
        let pod = self.pod().expect("a Pod that is started").clone();
        assert_eq!(pod.uid(), uid);
        let spec = pod.spec.clone().unwrap();
        let inits = spec.init_containers.unwrap_or_default();
        let same = |c: &&Container| c.name == name;
        assert!(
            !self
                .containers
                .iter()
                .filter(same)
                .any(|c| matches!(c.state, State::Running { .. }) || c.attempt == attempt),
            "{name} runs already, or ran under this number"
        );
        let is_done = |init: &k8s_openapi::api::core::v1::Container| {
            self.passed.contains(&(sandbox.clone(), init.name.clone()))
        };
        let position = inits.iter().position(|init| init.name == name).unwrap_or(inits.len());
        assert!(inits[..position].iter().all(is_done), "{name} starts before those before it are done");
        let container =
            inits.iter().chain(&spec.containers).find(|container| container.name == name).unwrap();
        if container.restart_policy.is_some() {
            self.passed.insert((sandbox.clone(), name.into()));
        }
        let container = Container {
            id: self.id(name),
            sandbox,
            name: name.into(),
            attempt,
            state: if self.no_command { self.start_error() } else { State::Running { since: self.now } },
            image: container.image.clone().unwrap_or_default(),
            image_id: format!("image of {name}"),
            hash: spec::hash(container),
        };
        *self.starts.entry(name.into()).or_default() += 1;
        self.containers.push(container.clone());
        Outcome::Container(container)
    }

    fn start_error(&self) -> State {
        let (reason, message) = ("StartError".into(), "no such command".into());
        State::Exited { started: None, finished: self.now, code: 128, reason, message }
    }

    fn end_sandbox(&mut self, id: &str) {
        self.sandboxes
            .iter_mut()
            .filter(|sandbox| sandbox.id == id)
            .for_each(|sandbox| sandbox.ready = false);
        let of_it: Vec<_> =
            self.containers.iter().filter(|c| c.sandbox == id).map(|c| c.id.clone()).collect();
        of_it.iter().for_each(|container| self.end(container, 137));
    }

    /// The sandbox dies by itself, and its containers with it.
    pub(super) fn lose_sandbox(&mut self) {
        if let Some(id) =
            self.sandboxes.iter().find(|sandbox| sandbox.ready).map(|sandbox| sandbox.id.clone())
        {
            self.end_sandbox(&id);
            self.look();
        }
    }

    /// The sandbox is not ready any more, though its containers run on.
    pub(super) fn break_sandbox(&mut self) {
        self.sandboxes.iter_mut().for_each(|sandbox| sandbox.ready = false);
        self.look();
    }

    /// Nobody knows of a container.
    pub(super) fn lose_container(&mut self, name: &str) {
        let running = |c: &&mut Container| c.name == name && matches!(c.state, State::Running { .. });
        self.containers.iter_mut().filter(running).for_each(|container| container.state = State::Unknown);
        self.look();
    }

    /// Somebody else removes a container.
    pub(super) fn remove_container(&mut self, name: &str) {
        self.containers.retain(|container| container.name != name);
        self.look();
    }

    fn end(&mut self, id: &str, code: i32) {
        let finished = self.now;
        for container in self.containers.iter_mut().filter(|container| container.id == id) {
            let since = match container.state {
                State::Running { since } => Some(since),
                State::Unknown => None,
                _ => continue,
            };
            if code == 0 {
                self.passed.insert((container.sandbox.clone(), container.name.clone()));
            }
            let (reason, message) = (String::new(), String::new());
            container.state = State::Exited { started: since, finished, code, reason, message };
        }
    }

    /// A running container exits by itself.
    pub(super) fn exit(&mut self, name: &str, code: i32) {
        let running = |c: &&Container| c.name == name && matches!(c.state, State::Running { .. });
        if let Some(id) = self.containers.iter().find(running).map(|container| container.id.clone()) {
            self.end(&id, code);
            self.look();
        }
    }

    pub(super) fn delete(&mut self, grace: i64) {
        let until = Time(self.now.checked_add(SignedDuration::from_secs(grace)).unwrap());
        if self.pod().is_some() {
            self.change(|pod| {
                pod.metadata.deletion_timestamp = Some(until);
                pod.metadata.deletion_grace_period_seconds = Some(grace);
            });
        }
    }

    pub(super) fn running(&self) -> Vec<&str> {
        let running = self.containers.iter().filter(|c| matches!(c.state, State::Running { .. }));
        running.map(|container| container.name.as_str()).collect()
    }

    /// The steps since the last time.
    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.steps)
    }
}

/// A step in few words.
pub(super) fn label(step: &PodStep) -> String {
    let seconds = |grace: &Duration| grace.as_secs();
    match step {
        PodStep::RunSandbox { attempt } => format!("RunSandbox {attempt}"),
        PodStep::Start { container, attempt } => format!("Start {container} {attempt}"),
        PodStep::Stop { container, grace, .. } => format!("Stop {container} {}", seconds(grace)),
        PodStep::Kill { container, grace, .. } => format!("Kill {container} {}", seconds(grace)),
        _ => plain_label(step),
    }
}

/// A step without its numbers.
pub(super) fn plain_label(step: &PodStep) -> String {
    match step {
        PodStep::PrepareVolumes => "PrepareVolumes".into(),
        PodStep::RunSandbox { .. } => "RunSandbox".into(),
        PodStep::StopSandbox { .. } => "StopSandbox".into(),
        PodStep::RemoveSandbox { .. } => "RemoveSandbox".into(),
        PodStep::Pull { container } => format!("Pull {container}"),
        PodStep::Start { container, .. } => format!("Start {container}"),
        PodStep::PostStart { container, .. } => format!("PostStart {container}"),
        PodStep::Stop { container, .. } => format!("Stop {container}"),
        PodStep::Kill { container, .. } => format!("Kill {container}"),
        PodStep::RemoveContainer { container, .. } => format!("RemoveContainer {container}"),
        PodStep::Probe { container, kind, .. } => format!("Probe {container} {kind:?}"),
        PodStep::ReleaseVolumes => "ReleaseVolumes".into(),
        PodStep::TearDown => "TearDown".into(),
    }
}

/// For tests that change probes' answers.
pub(super) fn unwell(name: &str, kind: ProbeKind) -> String {
    format!("{name} {kind:?}")
}
