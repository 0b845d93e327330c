//! Keeps the kernel's rules those of the Services, change by change.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Instant, sleep_until, timeout};

use super::conntrack::{self, Asked};
use super::endpoints::{are_of_before, pod_addresses};
use super::flushed::Flushed;
use super::load::{Kernel, Loaded};
use super::rules::{Facts, Rules, rules};
use super::trouble::Trouble;
use super::{Settings, address, frontend};
use crate::metrics::Counters;
use crate::objects::pod::is_finished;
use crate::objects::{Object, Objects};
use crate::store::{Change, Store};

/// Changes that come together are loaded together.
const GATHER: Duration = Duration::from_millis(5);
/// For a load it rests so many times as long as that took: the more rules, the more changes are loaded together.
const REST: u32 = 4;
/// So much of a rest that was longer than it had to be counts for the next ones: a few changes after a quiet time are loaded at once.
const CREDIT: Duration = Duration::from_millis(500);
/// Before Pods of which nothing is known are looked at again, if no change says more.
const AGAIN: Duration = Duration::from_secs(1);
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Until the process ends.
pub(super) async fn keep(store: Arc<Store>, settings: &Settings, counters: &Counters) -> anyhow::Result<()> {
    let mut facts = Facts {
        ranges: super::rules::Network::parse_list(&settings.range)?,
        dns: settings.dns,
        ..Facts::default()
    };
    let mut trouble = Trouble::new(store.clone(), "ServiceRulesFailed");
    let (mut kernel, mut asked, mut backoff) = (Kernel::default(), None, BACKOFF.0);
    let mut flushed = Flushed::watch();
    let mut rested = Instant::now();
    let ((), mut changes) = store.watch(|_| ());
    // Where there are none, all is refused: nobody's packets leave the host for want of a rule. What fails is told below.
    if matches!(kernel.has_rules().await, Ok(false)) {
        let _ = load(wanted(&Objects::default(), &facts), &facts, &mut kernel, &mut asked).await;
    }
    // The rules that an agent before this one made stand until it is known how the Pods are that they lead to.
    while store.read(are_of_before) {
        let _ = timeout(AGAIN, changes.recv()).await;
    }
    loop {
        // While it rested: a load that takes something away, too, would hide that.
        forget(flushed.skip(false), &mut kernel);
        facts.bridged = bridged();
        let began = Instant::now();
        let wanted = store.read(|objects| wanted(objects, &facts));
        let loaded = load(wanted, &facts, &mut kernel, &mut asked).await;
        let meanwhile = flushed.skip(matches!(loaded, Ok(Loaded::Changed)));
        if !matches!(loaded, Ok(Loaded::Nothing)) {
            counters.reload("services", loaded.is_err(), began.elapsed());
        }
        rested = rested.max(began.checked_sub(CREDIT).unwrap_or(began)) + began.elapsed() * (1 + REST);
        match loaded {
            Ok(_) => {
                trouble.over();
                backoff = BACKOFF.0;
                let gone = meanwhile
                    || tokio::select! { () = changed(&mut changes) => false, () = flushed.next() => true };
                forget(gone, &mut kernel);
            }
            Err(error) => {
                trouble.tell(&error);
                let _ = timeout(backoff, changed(&mut changes)).await;
                backoff = (backoff * 2).min(BACKOFF.1);
            }
        }
        sleep_until(rested.max(Instant::now() + GATHER)).await;
        drain(&mut changes);
    }
}

/// Has the next load write all of the rules, if somebody else took some away.
fn forget(gone: bool, kernel: &mut Kernel) {
    if gone {
        tracing::warn!("somebody else took rules of Services away; writing all anew");
        kernel.forget();
    }
}

/// Rules, and whom UDP is led to by them.
fn wanted(objects: &Objects, facts: &Facts) -> (Rules, Asked) {
    (rules(objects, facts), conntrack::asked(&frontend::all(objects)))
}

/// Has the kernel follow: rules, and the connections that stand no more.
async fn load(
    (rules, now): (Rules, Asked),
    facts: &Facts,
    kernel: &mut Kernel,
    asked: &mut Option<Asked>,
) -> anyhow::Result<Loaded> {
    for range in &facts.ranges {
        let made = address::route(range);
        made.map_err(|error| anyhow::anyhow!("cannot add a route to Services, {range}: {error}"))?;
    }
    let loaded = kernel.load(rules).await?;
    if asked.as_ref() == Some(&now) {
        return Ok(loaded);
    }
    let mut of_all = now.clone();
    for at in asked.iter().flat_map(Asked::keys) {
        of_all.entry(*at).or_default();
    }
    if !of_all.is_empty() {
        let forgotten = tokio::task::spawn_blocking(move || conntrack::forget(&of_all)).await?;
        forgotten.map_err(|error| {
            anyhow::anyhow!("cannot forget UDP connections to backends that are gone: {error}")
        })?;
    }
    *asked = Some(now);
    Ok(loaded)
}

/// Whether rules see packets that stay on a bridge, of IPv4 and IPv6.
fn bridged() -> [bool; 2] {
    ["iptables", "ip6tables"].map(|rules| {
        let path = format!("/proc/sys/net/bridge/bridge-nf-call-{rules}");
        fs::read(path).is_ok_and(|text| text.starts_with(b"1"))
    })
}

/// Waits for a change that may be one of the rules.
async fn changed(changes: &mut Receiver<Change>) {
    loop {
        match changes.recv().await {
            Ok(change) if concerns(&change) => return,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// What has come meanwhile is part of the next rules anyway.
fn drain(changes: &mut Receiver<Change>) {
    while !matches!(changes.try_recv(), Err(TryRecvError::Empty | TryRecvError::Closed)) {}
}

fn concerns(change: &Change) -> bool {
    // Pods' statuses change often, their addresses once.
    let addresses = |object: &Object| match object {
        Object::Pod(pod) if !is_finished(pod) => pod_addresses(pod).collect::<BTreeSet<_>>(),
        _ => BTreeSet::new(),
    };
    match change.object() {
        Object::Service(_) | Object::Endpoints(_) => true,
        Object::Pod(_) => match change {
            Change::Modified(after, before) => addresses(before) != addresses(after),
            Change::Added(pod) | Change::Deleted(pod) => !addresses(pod).is_empty(),
        },
        _ => false,
    }
}
