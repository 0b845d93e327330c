//! The routing table of all Ingresses: pure, made anew whenever an Ingress, Service or Endpoints changes.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend, IngressServiceBackend};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::rule::{self, Pattern, Redirect};
use crate::objects::{Key, Kind, Objects, Typed};

/// Where requests go.
#[derive(Debug, Default)]
pub struct Table {
    /// By host: `www.example.com`; by what follows the first label: `*.example.com`; and "" for rules of any host.
    hosts: HashMap<String, Vec<Route>>,
    /// Where no rule matches.
    default: Option<Arc<Backend>>,
    /// The Ingresses that are this agent's.
    pub ingresses: Vec<Key>,
    /// Which Secret has a host's certificate; "" is that of connections that name no host of these.
    pub secrets: BTreeMap<String, SecretOf>,
    /// What is wrong with Ingresses, for their events.
    pub problems: Vec<Problem>,
}

/// A Secret with a certificate, and the Ingress that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SecretOf {
    pub secret: Key,
    pub ingress: Key,
}

/// What is wrong with an Ingress; the rest of it is served.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub struct Problem {
    pub ingress: Key,
    pub reason: &'static str,
    pub message: String,
}

#[derive(Debug)]
struct Route {
    pattern: Pattern,
    redirect: Redirect,
    backend: Arc<Backend>,
}

/// A Service's port: its ready endpoints.
#[derive(Debug)]
pub struct Backend {
    /// `web/front:http`, for errors.
    pub name: String,
    /// The host of the rule, for metrics: `*` for any.
    pub host: String,
    endpoints: Vec<SocketAddr>,
    next: AtomicUsize,
}

impl Backend {
    /// The endpoint whose turn it is. None: no Pod is ready.
    pub fn next(&self) -> Option<SocketAddr> {
        let count = self.endpoints.len();
        // Wraps at 2^64, where one endpoint has two turns.
        (count > 0).then(|| self.endpoints[self.next.fetch_add(1, Ordering::Relaxed) % count])
    }

    /// How many endpoints there are.
    pub fn endpoints(&self) -> usize {
        self.endpoints.len()
    }
}

/// What a request is answered with.
#[derive(Clone, Debug)]
pub enum Answer {
    /// By this Service.
    Backend(Arc<Backend>),
    /// By the same place over HTTPS: the rule has TLS, and the request came without.
    Secure(Arc<Backend>),
}

impl Table {
    /// Where a request goes. `host`: without port, in lower case. None: there is no rule for it.
    pub fn find(&self, host: &str, path: &str, tls: bool) -> Option<Answer> {
        let wildcard = host.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        let names = [Some(host), wildcard.as_deref(), Some("")];
        let routes = names.into_iter().flatten().filter_map(|name| self.hosts.get(name)).flatten();
        let route = routes.into_iter().find(|route| route.pattern.matches(path));
        match route {
            Some(route) if route.redirect == Redirect::ToHttps && !tls => {
                Some(Answer::Secure(route.backend.clone()))
            }
            Some(route) => Some(Answer::Backend(route.backend.clone())),
            None => self.default.clone().map(Answer::Backend),
        }
    }
}

/// The table of all objects. Of two rules for the same, that of the older Ingress holds.
pub fn table(objects: &Objects) -> Table {
    let mut ours: Vec<&Ingress> =
        objects.list::<Ingress>().filter(|ingress| rule::is_ours(ingress)).collect();
    ours.sort_by_key(|ingress| {
        (ingress.metadata.creation_timestamp.as_ref().map(|time| time.0), ingress.namespace(), ingress.name())
    });
    let mut building = Building { objects, table: Table::default() };
    for ingress in ours {
        building.add(ingress);
    }
    let mut table = building.table;
    for routes in table.hosts.values_mut() {
        // Stable: of equal patterns the older stays before.
        routes.sort_by(|a, b| a.pattern.before(&b.pattern));
        routes.dedup_by(|later, earlier| later.pattern == earlier.pattern);
    }
    table
}

struct Building<'a> {
    objects: &'a Objects,
    table: Table,
}

impl Building<'_> {
    fn add(&mut self, ingress: &Ingress) {
        self.table.ingresses.push(ingress.key());
        let Some(spec) = &ingress.spec else { return };
        for tls in spec.tls.iter().flatten() {
            let Some(secret) = tls.secret_name.as_deref() else { continue };
            let of = SecretOf {
                secret: Key::new(Kind::Secret, ingress.namespace(), secret),
                ingress: ingress.key(),
            };
            for host in rule::tls_hosts(tls, spec) {
                self.table.secrets.entry(host).or_insert_with(|| of.clone());
            }
        }
        if let Some(backend) = &spec.default_backend
            && let Some(backend) = self.backend(ingress, backend, "")
            && self.table.default.is_none()
        {
            self.table.default = Some(backend);
        }
        for rule in spec.rules.iter().flatten() {
            let host = rule.host.as_deref().unwrap_or_default().to_ascii_lowercase();
            let redirect = rule::redirect(ingress, &host);
            match &rule.http {
                Some(http) => {
                    http.paths.iter().for_each(|path| self.add_path(ingress, &host, redirect, path))
                }
                // A rule of a host alone leads all of it to the Ingress' default backend.
                None => {
                    if let Some(backend) = &spec.default_backend
                        && let Some(backend) = self.backend(ingress, backend, &host)
                    {
                        self.put(host, Route { pattern: Pattern::all(), redirect, backend });
                    }
                }
            }
        }
    }

    fn add_path(&mut self, ingress: &Ingress, host: &str, redirect: Redirect, path: &HTTPIngressPath) {
        if let Some(backend) = self.backend(ingress, &path.backend, host) {
            let pattern = Pattern::new(path.path.as_deref().unwrap_or("/"), &path.path_type);
            self.put(host.to_owned(), Route { pattern, redirect, backend });
        }
    }

    fn put(&mut self, host: String, route: Route) {
        self.table.hosts.entry(host).or_default().push(route);
    }

    /// None: the backend is no Service, which is one of the problems. A Service that is not there has no endpoints.
    fn backend(&mut self, ingress: &Ingress, backend: &IngressBackend, host: &str) -> Option<Arc<Backend>> {
        let Some(service) = &backend.service else {
            self.problem(
                ingress,
                "UnsupportedBackend",
                "a backend that is a resource, not a service: its path is not served".into(),
            );
            return None;
        };
        let port = port_name(service);
        let endpoints =
            endpoints(self.objects, ingress.namespace(), service).unwrap_or_else(|(reason, why)| {
                self.problem(ingress, reason, why);
                Vec::new()
            });
        Some(Arc::new(Backend {
            name: format!("{}/{}:{port}", ingress.namespace(), service.name),
            host: if host.is_empty() { "*".into() } else { host.into() },
            endpoints,
            next: AtomicUsize::new(0),
        }))
    }

    fn problem(&mut self, ingress: &Ingress, reason: &'static str, message: String) {
        let problem = Problem { ingress: ingress.key(), reason, message };
        if !self.table.problems.contains(&problem) {
            self.table.problems.push(problem);
        }
    }
}

fn port_name(backend: &IngressServiceBackend) -> String {
    let port = backend.port.as_ref();
    let number = port.and_then(|port| port.number).map(|number| number.to_string());
    number.or_else(|| port?.name.clone()).unwrap_or_default()
}

/// The ready addresses of a Service's port, or what is wrong with it.
fn endpoints(
    objects: &Objects,
    namespace: &str,
    backend: &IngressServiceBackend,
) -> Result<Vec<SocketAddr>, (&'static str, String)> {
    let name = &backend.name;
    let Some(service) = objects.find::<Service>(namespace, name) else {
        return Err(("ServiceNotFound", format!("service {namespace}/{name} not found: requests get 503")));
    };
    let spec = service.spec.as_ref();
    if spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        return Err((
            "UnsupportedBackend",
            format!(
                "service {namespace}/{name} is of type ExternalName, which has no endpoints: requests get 503"
            ),
        ));
    }
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let wanted = backend.port.as_ref();
    let by_number = wanted.and_then(|port| port.number);
    let by_name = wanted.and_then(|port| port.name.as_deref());
    let port = ports.iter().find(|port| match by_number {
        Some(number) => port.port == number,
        None => by_name.is_some() && port.name.as_deref() == by_name,
    });
    // A headless Service may have no ports: then its Pods' own are meant.
    let (port_name, own_number) = match port {
        Some(port) => (port.name.as_deref().unwrap_or_default(), target_number(&port.target_port)),
        None if ports.is_empty() && by_number.is_some() => ("", by_number),
        None => {
            let port = port_name_of(backend);
            return Err((
                "PortNotFound",
                format!("service {namespace}/{name} has no port {port}: requests get 503"),
            ));
        }
    };
    let mut addresses = Vec::new();
    let found = objects.find::<Endpoints>(namespace, name);
    for subset in found.and_then(|endpoints| endpoints.subsets.as_deref()).unwrap_or_default() {
        let ports = subset.ports.as_deref().unwrap_or_default();
        let number = ports.iter().find(|port| port.name.as_deref().unwrap_or_default() == port_name);
        let number = match number {
            Some(port) => Some(port.port),
            None if ports.is_empty() => own_number,
            None => None,
        };
        let Some(number) = number.and_then(|number| u16::try_from(number).ok()) else { continue };
        let parsed = subset.addresses.iter().flatten().filter_map(|address| address.ip.parse().ok());
        addresses.extend(parsed.map(|ip| SocketAddr::new(ip, number)));
    }
    Ok(addresses)
}

fn port_name_of(backend: &IngressServiceBackend) -> String {
    match port_name(backend) {
        name if name.is_empty() => "(none named)".into(),
        name => name,
    }
}

fn target_number(target: &Option<IntOrString>) -> Option<i32> {
    match target {
        Some(IntOrString::Int(number)) => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
