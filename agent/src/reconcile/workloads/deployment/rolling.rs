//! RollingUpdate: new Pods come before old ones go.

use super::rollout::Rollout;

/// One step. Never both directions in one: the old ReplicaSets shrink by what is seen of the new one.
pub(super) fn step(rollout: &mut Rollout<'_>) {
    if grow(rollout) || shrink(rollout) {
        return;
    }
    rollout.forget_old_if_complete();
}

/// Gives the new ReplicaSet as many Pods as there is room for.
fn grow(rollout: &mut Rollout<'_>) -> bool {
    let Some(new) = rollout.new_set() else { return true };
    let before = rollout.sets[new].replicas;
    let room = rollout.replicas.saturating_add(rollout.limits.surge) - rollout.total();
    let more = room.max(0).min(rollout.replicas - before);
    rollout.resize(new, before + more);
    more != 0
}

/// Takes Pods from the old ReplicaSets: those that are not available anyway, then as many as others have replaced.
fn shrink(rollout: &mut Rollout<'_>) -> bool {
    let new = rollout.new.map(|new| &rollout.sets[new]);
    let coming = new.map_or(0, |new| new.replicas - new.available());
    let least = rollout.limits.least_available;
    let mut most = rollout.total() - least - coming;
    let old: Vec<usize> = rollout.old().into_iter().filter(|old| rollout.sets[*old].replicas > 0).collect();
    if most <= 0 || old.is_empty() || rollout.is_unknown() {
        return false;
    }
    let total = rollout.total();
    for index in &old {
        let set = &rollout.sets[*index];
        let gone = most.min(set.replicas - set.available()).max(0);
        most -= gone;
        rollout.resize(*index, set.replicas - gone);
    }
    let available: i32 = rollout.sets.iter().map(|set| set.available()).sum();
    let mut spare = (available - least).max(0);
    for index in &old {
        let set = &rollout.sets[*index];
        let gone = spare.min(set.replicas);
        spare -= gone;
        rollout.resize(*index, set.replicas - gone);
    }
    rollout.total() != total
}
