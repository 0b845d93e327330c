//! The loop itself.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::evict::{self, Eviction};
use super::observe::{self, Seen};
use super::step::Job;
use super::{Node, events, leftovers, store};
use crate::api::admission;
use crate::cri::api;
use crate::objects::{Key, Kind, Object, Typed as _};
use crate::reconcile::observed::{PodObserved, Target};
use crate::reconcile::pod::{self, Outcome, PodStep};
use crate::reconcile::{self, Action, EventType, Observed};
use crate::store::{Change, Durability, StoreError, now};

/// How often the runtime is asked for everything where its events tell what happens, and where it has none.
const LOOK: Duration = Duration::from_secs(30);
const LOOK_WITHOUT_EVENTS: Duration = Duration::from_secs(1);
/// Before a controller tries again to make what admission refused.
const AFTER_REFUSAL: jiff::SignedDuration = jiff::SignedDuration::from_secs(15);

/// What other tasks tell the loop.
enum Message {
    /// A step was done.
    Done { key: Key, uid: String, step: PodStep, outcome: Outcome, took: Duration },
    /// Something of this Pod ended, or somebody else changed it.
    Changed { uid: String },
    /// What the runtime has, of all Pods or one, asked when each target had been through so many steps.
    Seen { uid: Option<String>, pods: BTreeMap<String, Seen>, asked: Asked },
    /// The runtime did not say.
    Unseen { uid: Option<String>, why: String },
    /// It is time to ask for everything.
    Look,
    /// A Pod has more on disk than it may.
    Evict(Eviction),
    /// The runtime's name.
    Runtime(String),
}

type Asked = BTreeMap<(String, Target), u64>;

/// The loop, and what it alone knows.
pub struct Turns {
    node: Node,
    observed: Observed,
    dirty: BTreeSet<Key>,
    timers: BTreeMap<Key, Timestamp>,
    /// How many steps each target has been through, so that an older look does not undo what a step told.
    steps: Asked,
    /// Pods that are being looked at (None: all of them), and whether they have to be again.
    looking: BTreeMap<Option<String>, bool>,
    /// Pods of which something was seen while a step was changing it: they are looked at again after the step.
    behind: BTreeSet<String>,
    /// Whether the runtime did, when it was asked last.
    answers: bool,
    tell: mpsc::UnboundedSender<Message>,
    told: mpsc::UnboundedReceiver<Message>,
}

impl Turns {
    pub fn new(node: Node) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let observed = Observed { node: node.settings.node.clone(), ..Default::default() };
        Self {
            node,
            observed,
            dirty: BTreeSet::new(),
            timers: BTreeMap::new(),
            steps: BTreeMap::new(),
            looking: BTreeMap::new(),
            behind: BTreeSet::new(),
            answers: true,
            tell,
            told,
        }
    }

    pub async fn run(mut self) -> anyhow::Result<()> {
        store::make_namespaces(&self.node.store)?;
        let (all, mut changes) =
            self.node.store.watch(|objects| objects.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>());
        self.dirty.extend(all);
        tokio::spawn(look(self.node.clone(), self.tell.clone()));
        let tell = self.tell.clone();
        tokio::spawn(evict::watch(self.node.clone(), move |of| tell.send(Message::Evict(of)).is_ok()));
        let mut last = now();
        loop {
            self.decide();
            let timer = self.timers.values().min().copied();
            tokio::select! {
                change = changes.recv() => match change {
                    Ok(change) => self.changed(&change),
                    Err(RecvError::Lagged(_)) => self.everything(),
                    Err(RecvError::Closed) => return Ok(()),
                },
                Some(message) = self.told.recv() => self.hear(message),
                () = until(timer) => {}
            }
            // What else is there already, so that it is decided about once.
            while let Ok(change) = changes.try_recv() {
                self.changed(&change);
            }
            while let Ok(message) = self.told.try_recv() {
                self.hear(message);
            }
            let now = now();
            if now < std::mem::replace(&mut last, now) {
                // The clock was set back: what waits for a time may be due already.
                self.everything();
            }
            self.dirty.extend(self.timers.extract_if(.., |_, at| *at <= now).map(|(key, _)| key));
        }
    }

    fn changed(&mut self, change: &Change) {
        if events::is_event(change.object()) {
            return;
        }
        if let Change::Deleted(object @ Object::Pod(_)) = change {
            self.forget(object.uid());
        }
        let dirty = &mut self.dirty;
        self.node.store.read(|objects| {
            dirty.extend(reconcile::dependents(change.object(), objects));
            // Whom it concerned before.
            if let Change::Modified(_, before) = change {
                dirty.extend(reconcile::dependents(before, objects));
            }
        });
    }

    fn everything(&mut self) {
        let all: Vec<String> = self.observed.pods.keys().cloned().collect();
        all.iter().for_each(|uid| self.forget(uid));
        let dirty = &mut self.dirty;
        self.node.store.read(|objects| dirty.extend(objects.iter().map(|(key, _)| key.clone())));
        for pod in self.observed.pods.values() {
            dirty.insert(Key::new(Kind::Pod, &pod.namespace, &pod.name));
        }
    }

    /// Decides for all that is dirty. What a decision changes is heard of as anybody else's change.
    fn decide(&mut self) {
        for key in std::mem::take(&mut self.dirty) {
            let now = now();
            let observed = &self.observed;
            let decision = self.node.store.read(|objects| reconcile::reconcile(&key, objects, observed, now));
            match decision.wake {
                Some(at) => self.timers.insert(key.clone(), at),
                None => self.timers.remove(&key),
            };
            for action in decision.actions {
                self.act(&key, action, now);
            }
        }
    }

    fn act(&mut self, key: &Key, action: Action, now: Timestamp) {
        let store = &self.node.store;
        let done = match action {
            Action::Create(object) => return self.create(key, object, now),
            Action::Update(object) => store::put(store, &object),
            Action::Status(object) => store::put_status(store, &object),
            Action::Delete { key, uid, grace } => {
                let grace = grace.map(|grace| grace.as_secs());
                if let Err(refusal) = admission::delete(store, &key, Some(&uid), grace) {
                    tracing::debug!("{key} is not deleted: {refusal}");
                }
                Ok(())
            }
            Action::Remove { key, uid } => store.remove(&key, &uid, Durability::Written).map(|_| ()),
            Action::Event { about, uid, kind, reason, message } => {
                events::tell(store, &about, &uid, kind, reason, &message, now);
                Ok(())
            }
            Action::Pod { key, uid, step } => return self.begin(key, uid, step, now),
        };
        if let Err(error) = done {
            self.again_later(key, &error.to_string(), now);
        }
    }

    /// A disk that is full, for one.
    fn again_later(&mut self, key: &Key, why: &str, now: Timestamp) {
        tracing::warn!("{key}: {why}");
        self.timers.insert(key.clone(), now + AFTER_REFUSAL);
    }

    fn create(&mut self, maker: &Key, mut object: Object, now: Timestamp) {
        let store = &self.node.store;
        if let Some(pod) = Pod::of_mut(&mut object) {
            let node = &self.node.settings.node.name;
            pod.spec.iter_mut().for_each(|spec| _ = spec.node_name.get_or_insert_with(|| node.clone()));
            admission::pending(pod);
        }
        if let Err(refusal) = store.read(|objects| admission::may_create(objects, &object)) {
            let uid = store.read(|objects| objects.get(maker).map(|object| object.uid().to_owned()));
            let message = format!("Error creating: {refusal}");
            events::tell(
                store,
                maker,
                &uid.unwrap_or_default(),
                EventType::Warning,
                "FailedCreate",
                &message,
                now,
            );
            self.timers.insert(maker.clone(), now + AFTER_REFUSAL);
            return;
        }
        match store.create(object, Durability::Written) {
            Ok(_) | Err(StoreError::Exists(_)) => {}
            Err(error) => self.again_later(maker, &error.to_string(), now),
        }
    }

    /// Begins a step on a task of its own.
    fn begin(&mut self, key: Key, uid: String, step: PodStep, now: Timestamp) {
        let pod = store::pod(&self.node.store, &key, &uid);
        let observed = self.observed.pods.entry(uid.clone()).or_default();
        observed.namespace.clone_from(&key.namespace);
        observed.name.clone_from(&key.name);
        if observed.busy.contains(&pod::target(&step)) {
            tracing::error!("{key}: two steps at once: {step:?}");
            return;
        }
        pod::begin(observed, &step, now);
        let image = match &step {
            PodStep::Start { container, .. } => match observed.images.get(container) {
                Some(crate::reconcile::observed::Image::Present { id }) => Some(id.clone()),
                _ => None,
            },
            _ => None,
        };
        let job = Job {
            pod,
            uid: uid.clone(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            sandbox: observed.sandboxes.first().cloned(),
            image,
            step: step.clone(),
        };
        let (node, tell) = (self.node.clone(), self.tell.clone());
        tracing::debug!("{key}: {step:?}");
        tokio::spawn(async move {
            let start = Instant::now();
            let outcome = node.perform(job).await;
            let took = start.elapsed();
            node.counters.step(name_of(&step), matches!(outcome, Outcome::Failed { .. }), took);
            let _ = tell.send(Message::Done { key, uid, step, outcome, took });
        });
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Done { key, uid, step, outcome, took } => {
                tracing::debug!("{key}: {} took {took:?}: {outcome:?}", name_of(&step));
                self.finish(key, &uid, &step, outcome);
            }
            Message::Changed { uid } => self.look_at(Some(uid)),
            Message::Look => self.look_at(None),
            Message::Evict(eviction) => {
                if let Err(error) = evict::fail(&self.node.store, &eviction, now()) {
                    self.again_later(&eviction.key, &error.to_string(), now());
                }
            }
            Message::Runtime(name) => {
                self.observed.node.runtime = name;
                self.everything();
            }
            Message::Seen { uid, pods, asked } => self.see(uid, pods, &asked),
            Message::Unseen { uid, why } => {
                self.looking.remove(&uid);
                if uid.is_none() && std::mem::replace(&mut self.answers, false) {
                    tracing::warn!("the runtime does not answer: {why}");
                }
            }
        }
    }

    fn finish(&mut self, key: Key, uid: &str, step: &PodStep, outcome: Outcome) {
        let now = now();
        let Some(observed) = self.observed.pods.get_mut(uid) else { return };
        let target = pod::target(step);
        // Of what a look tells.
        if matches!(target, Target::Sandbox | Target::Container(_)) {
            *self.steps.entry((uid.to_owned(), target.clone())).or_default() += 1;
        }
        let pod = store::pod(&self.node.store, &key, uid);
        // With the exit codes of what it ended; the event that says so may be late, or there are none.
        let stopped = matches!(step, PodStep::StopSandbox { .. });
        for (kind, reason, message) in pod::record(observed, pod.as_deref(), step, outcome, now) {
            events::tell(&self.node.store, &key, uid, kind, reason, &message, now);
        }
        let pod_is_busy = changes(observed);
        self.forget(uid);
        let behind = !pod_is_busy && self.behind.remove(uid);
        if stopped || behind {
            self.look_at(Some(uid.to_owned()));
        }
        self.dirty.insert(key);
    }

    /// Forgets a Pod that has no object any more and of which nothing is left. The object may go after the last step, or before it.
    fn forget(&mut self, uid: &str) {
        let Some(observed) = self.observed.pods.get(uid).filter(|observed| observed.is_over()) else {
            return;
        };
        let key = Key::new(Kind::Pod, &observed.namespace, &observed.name);
        if store::pod(&self.node.store, &key, uid).is_some() {
            return;
        }
        self.observed.pods.remove(uid);
        self.steps.retain(|(of, _), _| of != uid);
        self.behind.remove(uid);
        // Another one of its name goes on with its counts.
        if self.node.store.read(|objects| objects.get(&key).is_none()) {
            self.node.counters.forget_pod(&key.namespace, &key.name);
        }
    }

    /// Asks the runtime about one Pod, or all.
    fn look_at(&mut self, uid: Option<String>) {
        if let Some(again) = self.looking.get_mut(&uid) {
            *again = uid.is_some();
            return;
        }
        self.looking.insert(uid.clone(), false);
        let concerns = |of: &str| uid.as_deref().is_none_or(|uid| uid == of);
        let asked =
            self.steps.iter().filter(|((of, _), _)| concerns(of)).map(|(of, n)| (of.clone(), *n)).collect();
        let (node, tell) = (self.node.clone(), self.tell.clone());
        tokio::spawn(async move {
            let _ = tell.send(match observe::ask(&node, uid.as_deref()).await {
                Ok(pods) => Message::Seen { uid, pods, asked },
                Err(status) => Message::Unseen { uid, why: status.message().into() },
            });
        });
    }

    /// Takes what the runtime said, but for what a step is changing or has changed since.
    fn see(&mut self, uid: Option<String>, mut pods: BTreeMap<String, Seen>, asked: &Asked) {
        let looked_at: Vec<String> = match &uid {
            Some(uid) => vec![uid.clone()],
            None => pods
                .keys()
                .chain(self.observed.pods.keys())
                .cloned()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        };
        let first = !self.observed.listed && uid.is_none();
        let mut again = Vec::new();
        for uid in looked_at {
            let seen = pods.remove(&uid).unwrap_or_default();
            let steps = &self.steps;
            let observed = match self.observed.pods.get_mut(&uid) {
                Some(observed) => observed,
                None if seen.sandboxes.is_empty() && seen.containers.is_empty() => continue,
                // Forgotten since the runtime was asked.
                None if asked.keys().any(|(of, _)| *of == uid) => continue,
                None => self.observed.pods.entry(uid.clone()).or_insert_with(|| PodObserved {
                    namespace: seen.namespace.clone(),
                    name: seen.name.clone(),
                    ..Default::default()
                }),
            };
            let settled = |target: &Target, observed: &PodObserved| {
                let of = (uid.clone(), target.clone());
                !observed.busy.contains(target) && steps.get(&of) == asked.get(&of)
            };
            let merged = merge(observed, seen, settled);
            if merged == Merged::InPart {
                match changes(observed) {
                    true => _ = self.behind.insert(uid.clone()),
                    false => again.push(uid.clone()),
                }
            }
            if merged != Merged::AsItWas || first {
                self.dirty.insert(Key::new(Kind::Pod, &observed.namespace, &observed.name));
            }
        }
        if !std::mem::replace(&mut self.answers, true) {
            tracing::info!("the runtime answers again");
        }
        if self.looking.remove(&uid) == Some(true) {
            self.look_at(uid);
        }
        again.into_iter().for_each(|uid| self.look_at(Some(uid)));
        if first {
            self.observed.listed = true;
            leftovers::take_up(&self.node, &mut self.observed.pods);
            self.everything();
        }
    }
}

/// Whether a step is under way that changes what a look would see.
fn changes(pod: &PodObserved) -> bool {
    !pod.busy.iter().all(|target| matches!(target, Target::Probe(..)))
}

/// What came of a look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Merged {
    /// Nothing is another than it was.
    AsItWas,
    Changed,
    /// What a step is changing, or has changed since, was left as it is.
    InPart,
}

fn merge(observed: &mut PodObserved, seen: Seen, settled: impl Fn(&Target, &PodObserved) -> bool) -> Merged {
    let mut merged = Merged::AsItWas;
    if observed.sandboxes != seen.sandboxes {
        merged = Merged::InPart;
        if settled(&Target::Sandbox, observed) {
            observed.sandboxes = seen.sandboxes;
            merged = Merged::Changed;
        }
    }
    let before = observed.containers.clone();
    let keeps = |container: &crate::reconcile::observed::Container| {
        !settled(&Target::Container(container.name.clone()), observed)
    };
    let kept = observed.containers.iter().filter(|container| keeps(container)).cloned();
    let new = seen.containers.iter().filter(|container| !keeps(container)).cloned();
    let mut containers: Vec<_> = kept.chain(new).collect();
    containers.sort_by(|a, b| a.name.cmp(&b.name).then(b.attempt.cmp(&a.attempt)));
    let differ = before != seen.containers;
    observed.containers = containers;
    match differ {
        true if observed.containers != seen.containers => Merged::InPart,
        true if merged == Merged::AsItWas => Merged::Changed,
        _ => merged,
    }
}

/// As in metrics and logs.
fn name_of(step: &PodStep) -> &'static str {
    match step {
        PodStep::PrepareVolumes => "PrepareVolumes",
        PodStep::RunSandbox { .. } => "RunSandbox",
        PodStep::StopSandbox { .. } => "StopSandbox",
        PodStep::RemoveSandbox { .. } => "RemoveSandbox",
        PodStep::Pull { .. } => "Pull",
        PodStep::Start { .. } => "Start",
        PodStep::PostStart { .. } => "PostStart",
        PodStep::Stop { .. } => "Stop",
        PodStep::Kill { .. } => "Kill",
        PodStep::RemoveContainer { .. } => "RemoveContainer",
        PodStep::Probe { .. } => "Probe",
        PodStep::ReleaseVolumes => "ReleaseVolumes",
        PodStep::TearDown => "TearDown",
    }
}

async fn until(time: Option<Timestamp>) {
    match time {
        Some(time) => tokio::time::sleep(time.duration_since(now()).try_into().unwrap_or_default()).await,
        None => std::future::pending().await,
    }
}

/// Says when to look at everything, for ever, and follows the runtime's events.
async fn look(node: Node, tell: mpsc::UnboundedSender<Message>) {
    loop {
        // Before any Pod: what it is called is in their statuses. Another one may serve on the socket by now.
        if let Ok((name, features)) = super::runtime::ask(&node).await {
            node.ranges.set_features(features);
            let _ = tell.send(Message::Runtime(name));
        }
        let all = || tell.send(Message::Look);
        let follow = async {
            let request = api::GetEventsRequest::default();
            let mut events = node.runtime.runtime().get_container_events(request).await?.into_inner();
            while let Some(event) = events.message().await? {
                hear_of(&node, &tell, event);
            }
            Ok::<_, tonic::Status>(())
        };
        tokio::pin!(follow);
        // Some runtimes answer with the first event only, so that nobody knows since when they tell of all: twice, then.
        let mut next = Duration::from_secs(1);
        let ended = loop {
            if all().is_err() {
                return;
            }
            match tokio::time::timeout(next, &mut follow).await {
                Ok(ended) => break ended,
                Err(_) => next = LOOK,
            }
        };
        if let Err(status) = ended {
            tracing::debug!("no events of the runtime: {}", status.message());
        }
        tokio::time::sleep(LOOK_WITHOUT_EVENTS).await;
    }
}

/// What was made or started was by a step of ours, which tells; what ended was not.
fn hear_of(node: &Node, tell: &mpsc::UnboundedSender<Message>, event: api::ContainerEventResponse) {
    let ended = matches!(
        event.container_event_type(),
        api::ContainerEventType::ContainerStoppedEvent | api::ContainerEventType::ContainerDeletedEvent
    );
    let Some(sandbox) = event.pod_sandbox_status.filter(|_| ended) else { return };
    let ours = sandbox.labels.get(crate::spec::MANAGED) == Some(&node.settings.node.name);
    if let Some(metadata) = sandbox.metadata.filter(|_| ours) {
        let _ = tell.send(Message::Changed { uid: metadata.uid });
    }
}
