//! Which probes are due, and what their answers say.

use super::super::observed::{Container, ProbeHistory, ProbeKind, State, Target};
use super::times::due;
use super::view::{Member, Role, View, probe};
use super::{PodStep, Steps};
use k8s_openapi::api::core::v1::Probe;

const KINDS: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];
const PERIOD: i64 = 10;
const FAILURES: i32 = 3;
const SUCCESSES: i32 = 1;

/// Asks the probes that are due.
pub(super) fn ask(view: &View<'_>, steps: &mut Steps<'_>) {
    for member in view.members().filter(|member| member.role != Role::Init) {
        let Some(run) = member.run else { continue };
        let State::Running { since } = run.state else { continue };
        if view.hook_is_due(member, run) || view.seen.stopping.contains_key(&run.id) {
            continue;
        }
        for kind in KINDS {
            let Some(probe) = probe(member.spec, kind).filter(|_| is_wanted(view, member, run, kind)) else {
                continue;
            };
            let first = due(since, probe.initial_delay_seconds.unwrap_or(0).into(), view.now);
            let history = view.seen.probes.get(&(run.id.clone(), kind));
            let next = history.map(|history| due(history.at, period(probe), view.now));
            let next = next.map_or(first, |next| next.max(first));
            if next > view.now {
                steps.wake(next);
            } else if steps.is_free(&Target::Container(member.spec.name.clone())) {
                steps.step(PodStep::Probe { container: run.name.clone(), id: run.id.clone(), kind });
            }
        }
    }
}

/// The startup probe is asked until it has decided, the others from then on; liveness until it has failed.
fn is_wanted(view: &View<'_>, member: &Member<'_>, run: &Container, kind: ProbeKind) -> bool {
    let verdict = |kind| view.verdict(member, run, kind);
    match kind {
        ProbeKind::Startup => verdict(kind).is_none(),
        ProbeKind::Liveness => verdict(ProbeKind::Startup) == Some(true) && verdict(kind) != Some(false),
        ProbeKind::Readiness => verdict(ProbeKind::Startup) == Some(true),
    }
}

fn period(probe: &Probe) -> i64 {
    probe.period_seconds.filter(|seconds| *seconds > 0).map_or(PERIOD, i64::from)
}

/// Adds an answer. `found`: the container ran before the agent did.
pub(super) fn answered(
    history: &mut ProbeHistory,
    probe: &Probe,
    kind: ProbeKind,
    found: bool,
    success: bool,
    message: String,
) {
    let is_first = history.in_a_row == 0;
    history.in_a_row =
        if history.success == success && !is_first { history.in_a_row.saturating_add(1) } else { 1 };
    history.success = success;
    if !success {
        history.message = message;
    }
    let threshold = match success {
        true => probe.success_threshold.unwrap_or(SUCCESSES),
        false => probe.failure_threshold.unwrap_or(FAILURES),
    };
    let is_enough = i64::from(history.in_a_row) >= i64::from(threshold);
    // What was found running was taken to be well up to now; nobody knows what it had said before.
    let is_readiness_of_found = found && is_first && kind == ProbeKind::Readiness;
    if is_enough || is_readiness_of_found {
        history.verdict = Some(success);
    }
}

/// As in an event: `Readiness`.
pub(super) fn title(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "Startup",
        ProbeKind::Liveness => "Liveness",
        ProbeKind::Readiness => "Readiness",
    }
}
