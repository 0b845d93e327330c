//! Doing what the files ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::AGAIN;
use super::files::Files;
use super::plan::{self, Place, Problem};
use crate::api::admission::{self, ORIGIN, Origin, Ranges, Refusal};
use crate::node;
use crate::objects::Key;
use crate::reconcile::EventType;
use crate::store::{self, Store};

/// What has been applied, and what is known to be wrong.
#[derive(Default)]
pub(super) struct Sync {
    into: Option<(Arc<Store>, Ranges)>,
    /// As they were applied: they are not applied again as long as their objects are there.
    done: BTreeMap<Key, (Place, Value)>,
    /// Told already.
    problems: BTreeSet<Problem>,
}

impl Sync {
    pub(super) fn new(store: Arc<Store>, ranges: Ranges) -> Self {
        Self { into: Some((store, ranges)), ..Self::default() }
    }

    /// Applies and deletes. Returns when what was refused is to be tried again.
    pub(super) fn all(&mut self, files: &Files) -> Option<Duration> {
        let (store, ranges) = self.into.clone()?;
        let plan = store.read(|objects| plan::plan(files, objects, ORIGIN));
        let mut problems: BTreeSet<Problem> = plan.problems.into_iter().collect();
        for key in &plan.delete {
            self.done.remove(key);
            match admission::delete(&store, key, None, None) {
                Ok(_) => tracing::info!("{key} deleted: it is in no manifest any more"),
                Err(refusal) if refusal.status == 404 => {}
                Err(refusal) => _ = problems.insert(refused("", key, &refusal)),
            }
        }
        self.done.retain(|key, _| plan.apply.contains_key(key));
        let mut waits = false;
        for (key, (place, manifest)) in plan.apply {
            if self.is_done(&store, &key, &place, manifest) {
                continue;
            }
            let origin = Origin::File(place.file.clone());
            // By an agent before this one: what others have set since is kept, as it is while one agent runs.
            if !self.done.contains_key(&key)
                && admission::is_applied(&store, &origin, "default", manifest.clone())
            {
                self.done.insert(key, (place, manifest.clone()));
                continue;
            }
            match admission::apply(&store, &ranges, &origin, "default", manifest.clone()) {
                Ok((_, applied)) => {
                    tracing::info!("{key} {}", format!("{applied:?}").to_lowercase());
                    self.done.insert(key, (place, manifest.clone()));
                }
                Err(refusal) => {
                    self.done.remove(&key);
                    // A wrong manifest stays wrong; the rest depends on others.
                    waits |= ![400, 422].contains(&refusal.status);
                    problems.insert(refused(&place.to_string(), &key, &refusal));
                }
            }
        }
        problems.difference(&self.problems).for_each(|problem| tell(&store, problem));
        self.problems = problems;
        waits.then_some(AGAIN)
    }

    fn is_done(&self, store: &Store, key: &Key, place: &Place, manifest: &Value) -> bool {
        let same = |(at, done): &(Place, Value)| at.file == place.file && done == manifest;
        let there = || store.read(|objects| objects.get(key).is_some_and(|object| !object.is_deleted()));
        self.done.get(key).is_some_and(same) && there()
    }
}

fn refused(place: &str, key: &Key, refusal: &Refusal) -> Problem {
    Problem { place: place.into(), about: Some(key.clone()), why: refusal.message.clone() }
}

/// Once in the log, and in an Event of the object if it is known; else of the namespace `default`, where there is always one.
fn tell(store: &Store, problem: &Problem) {
    let message = match problem.place.as_str() {
        "" => problem.why.clone(),
        place => format!("{place}: {}", problem.why),
    };
    tracing::warn!("{message}");
    let about =
        problem.about.clone().unwrap_or_else(|| Key::new(crate::objects::Kind::Namespace, "", "default"));
    let uid =
        store.read(|objects| objects.get(&about).map(|object| object.uid().to_owned())).unwrap_or_default();
    node::events::tell(store, &about, &uid, EventType::Warning, "FailedManifest", &message, store::now());
}
