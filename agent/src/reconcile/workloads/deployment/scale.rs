//! Other replicas in the middle of a rollout, or while it is paused: all ReplicaSets get their share.

use std::cmp::Reverse;

use super::super::pods;
use super::history::{self, annotation};
use super::rollout::{Rollout, Set};

/// Whether the Deployment's replicas have changed since its ReplicaSets got theirs.
pub(super) fn is_due(rollout: &Rollout<'_>) -> bool {
    let mut desired = active(rollout).into_iter().filter_map(|index| desired(&rollout.sets[index]));
    desired.any(|desired| desired != rollout.replicas)
}

fn desired(set: &Set<'_>) -> Option<i32> {
    set.annotations.get(annotation::DESIRED)?.parse().ok()
}

/// Those that are to have Pods.
fn active(rollout: &Rollout<'_>) -> Vec<usize> {
    (0..rollout.sets.len()).filter(|index| rollout.sets[*index].replicas > 0).collect()
}

/// Gives each its share.
pub(super) fn scale(rollout: &mut Rollout<'_>) {
    let active = active(rollout);
    let newest = rollout.new.or_else(|| rollout.old().last().copied());
    let only = match active.as_slice() {
        [] => newest,
        [only] => Some(*only),
        _ => None,
    };
    match only {
        Some(only) => rollout.resize(only, rollout.replicas),
        _ if is_saturated(rollout) => {
            let old = rollout.old();
            old.into_iter().for_each(|old| rollout.resize(old, 0));
        }
        _ if !rollout.limits.recreate => proportionally(rollout, active),
        _ => {}
    }
    // Also of those whose size is right already: else this would be due for ever.
    let limit = rollout.replicas.saturating_add(rollout.limits.surge);
    for set in rollout.sets.iter_mut().filter(|set| set.replicas > 0) {
        history::note_size(&mut set.annotations, rollout.replicas, limit);
    }
}

/// Whether all Pods that are wanted are new ones.
fn is_saturated(rollout: &Rollout<'_>) -> bool {
    let Some(set) = rollout.new.map(|new| &rollout.sets[new]) else { return false };
    let replicas = rollout.replicas;
    set.replicas == replicas && desired(set) == Some(replicas) && set.counts.available == replicas
}

/// What is added or taken away is spread by the sizes that there are; the rest of it is the largest one's.
fn proportionally(rollout: &mut Rollout<'_>, mut active: Vec<usize>) {
    let allowed = match rollout.replicas {
        0 => 0,
        replicas => replicas.saturating_add(rollout.limits.surge),
    };
    let change = allowed - rollout.total();
    active.sort_by_key(|index| {
        let created = pods::created(&rollout.sets[*index].object.metadata);
        let newer = (change > 0).then_some(Reverse(created));
        (Reverse(rollout.sets[*index].replicas), newer, (change <= 0).then_some(created))
    });
    let mut rest = change;
    let mut sizes = Vec::new();
    for index in &active {
        let set = &rollout.sets[*index];
        let share = share(rollout, set);
        let share = if change > 0 { share.clamp(0, rest) } else { share.clamp(rest, 0) };
        rest -= share;
        sizes.push(set.replicas + share);
    }
    if let Some(largest) = sizes.first_mut() {
        *largest = (*largest + rest).max(0);
    }
    for (index, size) in active.into_iter().zip(sizes) {
        rollout.resize(index, size);
    }
}

/// By how much a ReplicaSet would change if all of them changed alike.
fn share(rollout: &Rollout<'_>, set: &Set<'_>) -> i32 {
    if rollout.replicas == 0 {
        return -set.replicas;
    }
    let limit = |set: &Set<'_>| set.annotations.get(annotation::MAX)?.parse::<i32>().ok();
    let before = limit(set).filter(|limit| *limit > 0);
    let Some(before) = before.or_else(|| Some(rollout.total()).filter(|total| *total > 0)) else { return 0 };
    let now = i64::from(rollout.replicas) + i64::from(rollout.limits.surge);
    let (size, before) = (i64::from(set.replicas) * now, i64::from(before));
    // Rounded to the nearest.
    i32::try_from((2 * size + before) / (2 * before)).unwrap_or(i32::MAX) - set.replicas
}
