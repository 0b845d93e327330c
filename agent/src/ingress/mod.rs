//! Ingresses: HTTP and HTTPS from outside to Services' endpoints.
//!
//! [`table`] is what the objects say, pure; [`certificates`] those of Secrets. Both are made anew when one of these changes, and put
//! in place of the old ones at once, while requests go on with what they began with. [`listen`] accepts connections for pingora,
//! which calls [`proxy`] for each request. Nothing listens before there is an Ingress.

mod certificates;
mod connection;
mod holder;
mod listen;
mod proxy;
mod rule;
mod status;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::metrics::Counters;
use crate::objects::{Key, Kind, Object, Objects};
use crate::store::{Change, Store};
use certificates::Certificates;
use listen::Server;
use proxy::{Current, Proxy, Rules};
use table::Problem;

/// A port that is taken is tried again.
const RETRY: Duration = Duration::from_secs(3);

/// What routes and certificates are made of.
const KINDS: [Kind; 4] = [Kind::Ingress, Kind::Service, Kind::Endpoints, Kind::Secret];

/// Where it listens.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For HTTP.
    pub http: SocketAddr,
    /// For HTTPS.
    pub https: SocketAddr,
    /// The node's, for the Ingresses' statuses.
    pub addresses: Vec<IpAddr>,
}

/// How it stands with the two ports: None: it is listened on; or else why not.
type Ports = BTreeMap<SocketAddr, Option<String>>;

/// Serves until the process ends.
pub async fn run(store: Arc<Store>, settings: Settings, counters: Arc<Counters>) -> anyhow::Result<()> {
    let current = Arc::new(Current::default());
    let (ports, mut ports_changed) = watch::channel(Ports::new());
    let (_stays, shutdown) = watch::channel(false);
    // What is dropped here ends with this future.
    let mut listeners = JoinSet::new();
    let mut told = BTreeSet::new();
    let (mut objects, mut changes) = store.watch(chosen);
    loop {
        let (before, began) = (current.get(), Instant::now());
        let (rules, problems) = tokio::task::spawn_blocking(move || rules(&objects, &before)).await?;
        current.set(rules.clone());
        counters.reload("ingress", false, began.elapsed());
        if listeners.is_empty() && !rules.table.ingresses.is_empty() {
            let proxy = Proxy {
                current: current.clone(),
                counters: counters.clone(),
                https_port: settings.https.port(),
            };
            let server = Arc::new(Server::new(proxy, shutdown.clone()));
            let tls = listen::tls(current.clone())?;
            listeners.spawn(listen_on(settings.http, None, server.clone(), ports.clone()));
            listeners.spawn(listen_on(settings.https, Some(tls), server, ports.clone()));
        }
        let ports = ports_changed.borrow_and_update().clone();
        report(&store, &settings.addresses, &rules.table.ingresses, problems, &ports, &mut told);
        tokio::select! {
            () = relevant(&mut changes) => {}
            _ = ports_changed.changed() => {}
        }
        objects = store.read(chosen);
    }
}

/// The objects that rules are made of, where there is an Ingress: a copy of each is a pointer.
fn chosen(objects: &Objects) -> Objects {
    if objects.of_kind(Kind::Ingress).next().is_none() {
        return Objects::default();
    }
    KINDS.iter().flat_map(|kind| objects.of_kind(*kind)).cloned().collect()
}

fn rules(objects: &Objects, before: &Rules) -> (Arc<Rules>, Vec<Problem>) {
    let mut table = table::table(objects);
    let mut problems = std::mem::take(&mut table.problems);
    let (certificates, broken) = Certificates::load(&table.secrets, objects, &before.certificates);
    problems.extend(broken);
    (Arc::new(Rules { table, certificates }), problems)
}

/// Waits for a change of what rules are made of, and takes those that are there already as one.
async fn relevant(changes: &mut broadcast::Receiver<Change>) {
    loop {
        match changes.recv().await {
            Ok(change) if is_relevant(&change) => break,
            Ok(_) => {}
            // Some were missed: all objects are read again.
            Err(broadcast::error::RecvError::Lagged(_)) => break,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
    while changes.try_recv().is_ok() {}
}

/// Statuses of Ingresses are written here: they lead to no other rules.
fn is_relevant(change: &Change) -> bool {
    match change {
        Change::Modified(Object::Ingress(after), Object::Ingress(before)) => {
            after.spec != before.spec
                || after.metadata.annotations != before.metadata.annotations
                || after.metadata.deletion_timestamp != before.metadata.deletion_timestamp
        }
        change => KINDS.contains(&change.object().kind()),
    }
}

/// Listens as soon as the port is free.
async fn listen_on(
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    server: Arc<Server>,
    ports: watch::Sender<Ports>,
) {
    loop {
        let listener = listen::bind(address).await;
        let failed = listener.as_ref().err().cloned();
        ports.send_if_modified(|ports| ports.insert(address, failed.clone()) != Some(failed));
        match listener {
            Ok(listener) => return server.accept(listener, tls).await,
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

/// Tells Ingresses their address, and what is wrong with them.
fn report(
    store: &Store,
    addresses: &[IpAddr],
    ingresses: &[Key],
    problems: Vec<Problem>,
    ports: &Ports,
    told: &mut BTreeSet<Problem>,
) {
    let mut problems: BTreeSet<Problem> = problems.into_iter().collect();
    for message in ports.values().flatten() {
        problems.extend(ingresses.iter().map(|ingress| Problem {
            ingress: ingress.clone(),
            reason: "ListenFailed",
            message: message.clone(),
        }));
    }
    status::tell(store, told, problems);
    let listens = ports.values().any(Option::is_none);
    if !ports.is_empty() {
        status::publish(store, ingresses, if listens { addresses } else { &[] });
    }
}

#[cfg(test)]
mod tests;
