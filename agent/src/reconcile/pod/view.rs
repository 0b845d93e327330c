//! A Pod as it is to be beside what is seen of it, container by container.

use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::jiff::Timestamp;

use super::super::observed::{Container, NodeFacts, PodObserved, ProbeKind, Sandbox, State};
use crate::objects::Objects;

/// The grace of Pods that say nothing.
const DEFAULT_GRACE: i64 = 30;

/// What a container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Ends before the next begins.
    Init,
    /// Starts among the init containers, and ends after the main ones.
    Sidecar,
    Main,
}

/// A container of the Pod's spec, and what is seen of it.
pub(super) struct Member<'a> {
    pub(super) spec: &'a core::Container,
    pub(super) role: Role,
    /// The newest of all sandboxes.
    pub(super) newest: Option<&'a Container>,
    /// The newest of those that ended before it.
    pub(super) previous: Option<&'a Container>,
    /// The one that counts: of the sandbox that is in use, but main containers are not run again because of a new sandbox alone.
    pub(super) run: Option<&'a Container>,
}

pub(super) struct View<'a> {
    pub(super) pod: &'a core::Pod,
    pub(super) spec: &'a core::PodSpec,
    pub(super) seen: &'a PodObserved,
    pub(super) desired: &'a Objects,
    pub(super) node: &'a NodeFacts,
    pub(super) now: Timestamp,
    /// The newest, if it is ready.
    pub(super) sandbox: Option<&'a Sandbox>,
    /// Init containers and sidecars, in their order.
    pub(super) inits: Vec<Member<'a>>,
    pub(super) mains: Vec<Member<'a>>,
}

impl<'a> View<'a> {
    pub(super) fn new(
        pod: &'a core::Pod,
        spec: &'a core::PodSpec,
        seen: &'a PodObserved,
        desired: &'a Objects,
        node: &'a NodeFacts,
        now: Timestamp,
    ) -> Self {
        let sandbox = seen.sandbox().filter(|sandbox| sandbox.ready);
        let member = |spec: &'a core::Container, role| {
            let mut named = seen.named(&spec.name).into_iter();
            let newest = named.next();
            let previous = named.find(|container| matches!(container.state, State::Exited { .. }));
            let in_use = |container: &&Container| sandbox.is_some_and(|s| s.id == container.sandbox);
            let run = newest.filter(|container| role == Role::Main || in_use(container));
            Member { spec, role, newest, previous, run }
        };
        let inits = spec.init_containers.iter().flatten().map(|spec| member(spec, init_role(spec))).collect();
        let mains = spec.containers.iter().map(|spec| member(spec, Role::Main)).collect();
        Self { pod, spec, seen, desired, node, now, sandbox, inits, mains }
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member<'a>> {
        self.inits.iter().chain(&self.mains)
    }

    /// Whether a main container has been made in the sandbox in use, for which all init containers had to be done.
    pub(super) fn has_main(&self) -> bool {
        self.sandbox.is_some_and(|s| self.mains.iter().any(|m| m.run.is_some_and(|run| run.sandbox == s.id)))
    }

    /// The init containers before this one are done, whatever is left of them: a later one has been made.
    pub(super) fn reached(&self) -> usize {
        self.inits.iter().rposition(|member| member.run.is_some()).unwrap_or(0)
    }

    /// Whether the Pod's main containers may start.
    pub(super) fn is_initialized(&self) -> bool {
        let reached = self.reached();
        let done = |(index, member): (usize, &Member<'_>)| index < reached || self.is_passed(member);
        self.has_main() || self.inits.iter().enumerate().all(done)
    }

    /// Whether the next container may start after this init container or sidecar.
    pub(super) fn is_passed(&self, member: &Member<'_>) -> bool {
        match (member.role, member.run) {
            (Role::Sidecar, Some(run)) => {
                self.is_up(member, run) && self.verdict(member, run, ProbeKind::Startup) == Some(true)
            }
            (_, Some(Container { state: State::Exited { code, .. }, .. })) => *code == 0,
            _ => false,
        }
    }

    /// Whether a container runs and its postStart hook is over.
    pub(super) fn is_up(&self, member: &Member<'_>, run: &Container) -> bool {
        matches!(run.state, State::Running { .. }) && !self.hook_is_due(member, run)
    }

    /// Whether a container's postStart hook has not come to its end. One that was started by an earlier agent had it called then.
    pub(super) fn hook_is_due(&self, member: &Member<'_>, run: &Container) -> bool {
        let hook = member.spec.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
        hook.is_some() && self.seen.own.contains(&run.id) && !self.seen.hooks.contains_key(&run.id)
    }

    /// What a probe has decided; without a probe, that all is well. None: nothing yet.
    pub(super) fn verdict(&self, member: &Member<'_>, run: &Container, kind: ProbeKind) -> Option<bool> {
        if probe(member.spec, kind).is_none() {
            return Some(true);
        }
        self.seen.probes.get(&(run.id.clone(), kind)).and_then(|history| history.verdict)
    }

    /// The same, where a container that was found running is taken to be well until it has been asked: an agent that begins anew
    /// must not make Pods unready.
    pub(super) fn verdict_or_found(&self, member: &Member<'_>, run: &Container, kind: ProbeKind) -> bool {
        let unasked =
            || self.seen.probes.get(&(run.id.clone(), kind)).is_none_or(|history| history.in_a_row == 0);
        self.verdict(member, run, kind).unwrap_or_else(|| !self.seen.own.contains(&run.id) && unasked())
    }

    /// As in a status: `started`.
    pub(super) fn is_started(&self, member: &Member<'_>) -> bool {
        let of = |run: &Container| {
            self.is_up(member, run) && self.verdict_or_found(member, run, ProbeKind::Startup)
        };
        member.newest.is_some_and(of)
    }

    /// As in a status: `ready`, but for init containers.
    pub(super) fn is_ready(&self, member: &Member<'_>) -> bool {
        let of = |run: &Container| self.verdict_or_found(member, run, ProbeKind::Readiness);
        self.is_started(member) && member.newest.is_some_and(of)
    }

    /// Whether a container that ended with this code is started again.
    pub(super) fn restarts(&self, member: &Member<'_>, run: &Container, code: i32) -> bool {
        if self.seen.stopping.get(&run.id).is_some_and(|stopping| stopping.restart) {
            return true;
        }
        match (member.role, self.restart_policy(member)) {
            (Role::Sidecar, _) => true,
            (Role::Init, _) if code == 0 => false,
            (_, "Never") => has_rule(member.spec, code),
            (_, "OnFailure") => code != 0 || has_rule(member.spec, code),
            _ => true,
        }
    }

    /// Of the container, or the Pod.
    pub(super) fn restart_policy(&self, member: &Member<'a>) -> &'a str {
        let own = member.spec.restart_policy.as_deref();
        own.or(self.spec.restart_policy.as_deref()).unwrap_or("Always")
    }

    /// The grace with which containers are stopped, unless a probe has its own.
    pub(super) fn grace(&self) -> Duration {
        let of_deletion = self.pod.metadata.deletion_grace_period_seconds;
        let seconds = of_deletion.or(self.spec.termination_grace_period_seconds).unwrap_or(DEFAULT_GRACE);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }
}

/// The grace of a Pod of which nothing is known but its containers.
pub(super) const ORPHAN_GRACE: Duration = Duration::from_secs(DEFAULT_GRACE as u64);

fn init_role(spec: &core::Container) -> Role {
    if spec.restart_policy.as_deref() == Some("Always") { Role::Sidecar } else { Role::Init }
}

/// Whether a rule of the container says that it is started again after this exit code.
fn has_rule(spec: &core::Container, code: i32) -> bool {
    let matches = |rule: &core::ContainerRestartRule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let listed = codes.values.iter().flatten().any(|value| *value == code);
            match codes.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                _ => false,
            }
        })
    };
    spec.restart_policy_rules.iter().flatten().any(|rule| rule.action == "Restart" && matches(rule))
}

/// A container's probe.
pub(super) fn probe(spec: &core::Container, kind: ProbeKind) -> Option<&core::Probe> {
    match kind {
        ProbeKind::Startup => spec.startup_probe.as_ref(),
        ProbeKind::Liveness => spec.liveness_probe.as_ref(),
        ProbeKind::Readiness => spec.readiness_probe.as_ref(),
    }
}

/// Whether it may be doing something.
pub(super) fn is_live(seen: &PodObserved, container: &Container) -> bool {
    match container.state {
        State::Running { .. } => true,
        State::Unknown => seen.stopping.get(&container.id).is_none_or(|stopping| stopping.done.is_none()),
        State::Created { .. } | State::Exited { .. } => false,
    }
}
