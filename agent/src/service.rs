//! The agent: puts its parts together and runs them until a signal.

use std::io::IsTerminal as _;
use std::sync::Arc;

use anyhow::Context;
use rcrun_agent::api::admission::Ranges;
use rcrun_agent::api::{self, Api};
use rcrun_agent::cri::Runtime;
use rcrun_agent::metrics::{self, Counters};
use rcrun_agent::node::{self, Node};
use rcrun_agent::reconcile::observed::NodeFacts;
use rcrun_agent::store::Store;
use rcrun_agent::{ingress, manifests, services, spec};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::arguments::{Settings, optional};
use crate::memory;

/// Runs until SIGTERM or SIGINT. Pods go on without it.
pub fn run(settings: &Settings) -> anyhow::Result<()> {
    let level: tracing::Level =
        settings.log_level.parse().with_context(|| format!("--log-level {}", settings.log_level))?;
    // Libraries tell of each packet.
    let told = Targets::new().with_default(tracing::Level::WARN).with_target("rcrun_agent", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // What nobody reads is no reason to end.
    let lines = lines.with_ansi(std::io::stderr().is_terminal()).log_internal_errors(false);
    tracing_subscriber::registry().with(lines.with_filter(told)).init();
    memory::share_one_heap();
    // What blocks is short: files of volumes.
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build();
    tokio.context("cannot start threads")?.block_on(serve(settings))
}

async fn serve(settings: &Settings) -> anyhow::Result<()> {
    let logs = settings.log_limits()?;
    let store = Arc::new(Store::open(&settings.state)?);
    // Before anything is done, for another agent may be there.
    let listener = api::bind(&settings.socket)?;
    let runtime = Runtime::at(&settings.cri)?;
    let counters = Arc::new(Counters::default());
    let cluster_dns = optional("cluster-dns", &settings.cluster_dns)?;
    let facts = NodeFacts::of_host(settings.node_name.clone(), settings.node_address.clone())?;
    let ranges = Ranges::new(&facts.name, &settings.service_range, &settings.node_ports, cluster_dns)?;
    let addresses = facts.addresses.clone();
    let of_pods = spec::Settings {
        node: facts,
        logs: settings.logs.clone(),
        cluster_domain: settings.cluster_domain.clone(),
        cluster_dns,
        resolv_conf: "/etc/resolv.conf".into(),
        seccomp: settings.state.join("seccomp"),
        users: spec::UserRanges::below(settings.state.join("pods")),
    };
    let of_services = services::Settings {
        range: settings.service_range.clone(),
        dns: cluster_dns,
        cluster_domain: settings.cluster_domain.clone(),
        resolv_conf: "/etc/resolv.conf".into(),
    };
    let node = Node::new(
        store.clone(),
        runtime.clone(),
        counters.clone(),
        of_pods,
        settings.state.clone(),
        ranges.clone(),
    );
    let api = Arc::new(Api { store: store.clone(), runtime: runtime.clone(), ranges: ranges.clone() });
    let mut ended = [SignalKind::terminate(), SignalKind::interrupt()].map(signal).into_iter();
    let (mut terminate, mut interrupt) = (ended.next().expect("one")?, ended.next().expect("two")?);
    let ingress = settings.ingress()?.map(|(http, https)| ingress::Settings { http, https, addresses });
    let metrics = optional("metrics", &settings.metrics)?;
    // Each on a task of its own, so that none waits for another. The first that ends, ends the agent.
    let mut parts = JoinSet::new();
    parts.spawn(node::run(node, logs));
    parts.spawn(api::serve(api, listener));
    parts.spawn(services::run(store.clone(), of_services, counters.clone()));
    if let Some(directory) = settings.manifests.clone() {
        let (store, ranges) = (store.clone(), ranges.clone());
        parts.spawn(async move { manifests::follow(store, ranges, &directory).await });
    }
    if let Some(settings) = ingress {
        parts.spawn(ingress::run(store.clone(), settings, counters.clone()));
    }
    if let Some(address) = metrics {
        parts.spawn(metrics::serve(store, runtime, counters, address));
    }
    parts.spawn(async {
        memory::give_back().await;
        Ok(())
    });
    tokio::select! {
        Some(ended) = parts.join_next() => ended.context("a part of the agent panicked")?,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
