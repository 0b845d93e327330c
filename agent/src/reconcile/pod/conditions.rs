//! A Pod's conditions, in kubelet's order and words.

use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodStatus};

use super::status::time;
use super::view::{Member, Role, View};

/// What a condition says: status, reason, message.
struct Said(bool, Option<&'static str>, Option<String>);

const YES: Said = Said(true, None, None);

/// All conditions of a status whose phase and containers are known. Times are kept where nothing has changed.
pub(super) fn of(view: &View<'_>, status: &PodStatus, before: &PodStatus) -> Vec<PodCondition> {
    let ready = containers_ready(view, status);
    let again = Said(ready.0, ready.1, ready.2.clone());
    let scheduled = time(super::fate::started(view));
    let all = [
        ("PodReadyToStartContainers", sandbox_ready(view)),
        ("Initialized", initialized(view, status, before)),
        ("Ready", ready),
        ("ContainersReady", again),
        ("PodScheduled", YES),
    ];
    let old = before.conditions.as_deref().unwrap_or_default();
    let condition = |(name, said): (&str, Said)| {
        let Said(is_true, reason, message) = said;
        let word = if is_true { "True" } else { "False" };
        let kept = old.iter().find(|old| old.type_ == name && old.status == word);
        let first = if name == "PodScheduled" { scheduled.clone() } else { time(view.now) };
        PodCondition {
            type_: name.into(),
            status: word.into(),
            reason: reason.map(Into::into),
            message,
            last_transition_time: kept.and_then(|kept| kept.last_transition_time.clone()).or(Some(first)),
            observed_generation: view.pod.metadata.generation,
            ..PodCondition::default()
        }
    };
    all.into_iter().map(condition).collect()
}

fn sandbox_ready(view: &View<'_>) -> Said {
    if view.sandbox.is_some() { YES } else { Said(false, None, None) }
}

fn is_over(status: &PodStatus) -> Option<&'static str> {
    match status.phase.as_deref() {
        Some("Succeeded") => Some("PodCompleted"),
        Some("Failed") => Some("PodFailed"),
        _ => None,
    }
}

fn initialized(view: &View<'_>, status: &PodStatus, before: &PodStatus) -> Said {
    if status.phase.as_deref() == Some("Succeeded") && !view.inits.is_empty() {
        return Said(true, Some("PodCompleted"), None);
    }
    let was =
        before.conditions.iter().flatten().any(|old| old.type_ == "Initialized" && old.status == "True");
    let is_kept = was && (is_over(status).is_some() || view.pod.metadata.deletion_timestamp.is_some());
    if is_kept || view.is_initialized() {
        return YES;
    }
    let reached = view.reached();
    let open = |(index, member): &(usize, &Member<'_>)| *index >= reached && !view.is_passed(member);
    let open: Vec<_> = view.inits.iter().enumerate().filter(open).map(|(_, member)| name(member)).collect();
    let message = format!("containers with incomplete status: [{}]", open.join(" "));
    Said(false, Some("ContainersNotInitialized"), Some(message))
}

fn containers_ready(view: &View<'_>, status: &PodStatus) -> Said {
    if let Some(reason) = is_over(status) {
        return Said(false, Some(reason), None);
    }
    let lists = [&status.init_container_statuses, &status.container_statuses];
    let statuses: Vec<&ContainerStatus> = lists.into_iter().flatten().flatten().collect();
    let is_ready =
        |member: &&Member<'_>| statuses.iter().any(|status| status.name == member.spec.name && status.ready);
    let asked = view.members().filter(|member| member.role != Role::Init);
    let unready: Vec<_> = asked.filter(|member| !is_ready(member)).map(name).collect();
    if unready.is_empty() {
        return YES;
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Said(false, Some("ContainersNotReady"), Some(message))
}

fn name<'a>(member: &Member<'a>) -> &'a str {
    &member.spec.name
}
