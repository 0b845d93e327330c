//! What is counted as it happens.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::histogram::Histogram;

use super::family::{Labels, counter};
use crate::objects::Objects;
use crate::reconcile::observed::ProbeKind;

/// Seconds: from what a step of the runtime takes to what a slow pull or probe does.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];
/// Hosts of Ingresses that are counted each; those that come after are counted together.
const HOSTS: usize = 200;

/// What is counted as it happens; the rest is asked of the store and the runtime at each scrape.
#[derive(Debug, Default)]
pub struct Counters {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    probes: BTreeMap<Probe, u64>,
    probe_durations: BTreeMap<String, Durations>,
    steps: BTreeMap<String, Durations>,
    failed_steps: BTreeMap<&'static str, u64>,
    reloads: BTreeMap<String, Durations>,
    failed_reloads: BTreeMap<&'static str, u64>,
    requests: BTreeMap<(String, String), u64>,
    request_durations: BTreeMap<String, Durations>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Probe {
    namespace: String,
    pod: String,
    container: String,
    kind: &'static str,
    result: &'static str,
}

#[derive(Debug)]
struct Durations(Histogram);

impl Default for Durations {
    fn default() -> Self {
        Self(Histogram::new(BUCKETS))
    }
}

impl Counters {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A probe was answered, or not.
    pub fn probe(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        kind: ProbeKind,
        success: bool,
        took: Duration,
    ) {
        let kind = match kind {
            ProbeKind::Startup => "Startup",
            ProbeKind::Liveness => "Liveness",
            ProbeKind::Readiness => "Readiness",
        };
        let result = if success { "successful" } else { "failed" };
        let probe = Probe {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
            kind,
            result,
        };
        let mut counts = self.lock();
        *counts.probes.entry(probe).or_default() += 1;
        observe(&mut counts.probe_durations, kind, took);
    }

    /// A step of a Pod was done: its name (`RunSandbox`), and whether it failed.
    pub fn step(&self, name: &'static str, failed: bool, took: Duration) {
        let mut counts = self.lock();
        *counts.failed_steps.entry(name).or_default() += u64::from(failed);
        observe(&mut counts.steps, name, took);
    }

    /// Rules were made anew: whose (`services`, `ingress`), and whether it failed.
    pub fn reload(&self, rules: &'static str, failed: bool, took: Duration) {
        let mut counts = self.lock();
        *counts.failed_reloads.entry(rules).or_default() += u64::from(failed);
        observe(&mut counts.reloads, rules, took);
    }

    /// An Ingress' request was answered: the host of its rule (None: it had none), its status (0: it could not be answered).
    pub fn ingress(&self, host: Option<&str>, status: u16, took: Duration) {
        let mut counts = self.lock();
        let known = |host: &str| counts.request_durations.contains_key(host);
        let host = match host.unwrap_or("") {
            host if known(host) || counts.request_durations.len() < HOSTS => host,
            _ => "other",
        };
        let status = match http::StatusCode::from_u16(status) {
            Ok(code) if code.canonical_reason().is_some() => code.as_str().to_owned(),
            // Servers make up what they like.
            Ok(code) => format!("{}xx", code.as_u16() / 100),
            Err(_) => "none".to_owned(),
        };
        *counts.requests.entry((host.to_owned(), status)).or_default() += 1;
        observe(&mut counts.request_durations, host, took);
    }

    /// Forgets a Pod that is gone.
    pub fn forget_pod(&self, namespace: &str, pod: &str) {
        self.lock().probes.retain(|probe, _| probe.namespace != namespace || probe.pod != pod);
    }

    /// How many Pods' containers' probes are counted, each kind and result of them.
    #[cfg(test)]
    pub fn probes(&self) -> usize {
        self.lock().probes.len()
    }

    /// Forgets Pods that are gone.
    pub fn forget(&self, objects: &Objects) {
        let mut counts = self.lock();
        let gone: BTreeSet<(String, String)> = counts
            .probes
            .keys()
            .filter(|probe| objects.find::<Pod>(&probe.namespace, &probe.pod).is_none())
            .map(|probe| (probe.namespace.clone(), probe.pod.clone()))
            .collect();
        if !gone.is_empty() {
            counts.probes.retain(|probe, _| !gone.contains(&(probe.namespace.clone(), probe.pod.clone())));
        }
    }
}

fn observe(all: &mut BTreeMap<String, Durations>, name: &str, took: Duration) {
    let seconds = took.as_secs_f64();
    match all.get(name) {
        Some(durations) => durations.0.observe(seconds),
        None => all.entry(name.to_owned()).or_default().0.observe(seconds),
    }
}

/// [`Counters`] as they are at a scrape.
#[derive(Debug)]
pub struct Counted(pub Arc<Counters>);

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let encoder = &mut encoder;
        let counts = self.0.lock();
        let probes = counts.probes.iter().map(|(probe, count)| {
            let labels = [
                ("namespace", &*probe.namespace),
                ("pod", &*probe.pod),
                ("container", &*probe.container),
                ("probe_type", probe.kind),
                ("result", probe.result),
            ];
            (labels, *count as f64)
        });
        counter(encoder, "prober_probe", "Answers of probes", probes)?;
        histogram(
            encoder,
            "prober_probe_duration_seconds",
            "How long probes took",
            "probe_type",
            &counts.probe_durations,
        )?;
        histogram(
            encoder,
            "rcrun_agent_step_duration_seconds",
            "How long steps of Pods took at the runtime",
            "step",
            &counts.steps,
        )?;
        counter(encoder, "rcrun_agent_step_errors", "Steps that failed", ones("step", &counts.failed_steps))?;
        histogram(
            encoder,
            "rcrun_agent_reload_duration_seconds",
            "How long it took to make rules anew",
            "rules",
            &counts.reloads,
        )?;
        counter(
            encoder,
            "rcrun_agent_reload_errors",
            "Rules that could not be made",
            ones("rules", &counts.failed_reloads),
        )?;
        let requests = counts
            .requests
            .iter()
            .map(|((host, status), count)| ([("host", &**host), ("status", &**status)], *count as f64));
        counter(
            encoder,
            "rcrun_ingress_requests",
            "Requests to Ingresses by the host of their rule",
            requests,
        )?;
        histogram(
            encoder,
            "rcrun_ingress_request_duration_seconds",
            "How long requests took, to the end of their answers",
            "host",
            &counts.request_durations,
        )
    }
}

fn ones<'a>(
    label: &'static str,
    counts: &'a BTreeMap<&'static str, u64>,
) -> impl Iterator<Item = (Labels<'a, 1>, f64)> {
    counts.iter().map(move |(name, count)| ([(label, *name)], *count as f64))
}

fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &'static str,
    all: &BTreeMap<String, Durations>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (value, durations) in all {
        durations.0.encode(metric.encode_family(&[(label, value.as_str())])?)?;
    }
    Ok(())
}
