//! Rules of Ingresses.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend};

use super::names;
use super::path::{At, Broken};

pub(super) fn ingress(ingress: &Ingress, at: &At<'_>, broken: &mut Broken) {
    let Some(spec) = &ingress.spec else { return broken.add(at, "it is not set") };
    let rules = spec.rules.as_deref().unwrap_or_default();
    if rules.is_empty() && spec.default_backend.is_none() {
        broken.add(at, "rules or a defaultBackend are needed");
    }
    broken.rule_if(&at.field("ingressClassName"), spec.ingress_class_name.as_ref(), names::dns_subdomain);
    if let Some(of) = &spec.default_backend {
        backend(of, &at.field("defaultBackend"), broken);
    }
    let list = at.field("rules");
    for (index, rule) in rules.iter().enumerate() {
        let at = list.item(index);
        host(rule.host.as_deref().unwrap_or_default(), &at.field("host"), broken);
        let Some(http) = &rule.http else { continue };
        let list = at.field("http.paths");
        broken.that(!http.paths.is_empty(), &list, "at least one is needed");
        for (index, of) in http.paths.iter().enumerate() {
            path(of, &list.item(index), broken);
        }
    }
    let list = at.field("tls");
    for (index, tls) in spec.tls.iter().flatten().enumerate() {
        let at = list.item(index);
        broken.rule_if(&at.field("secretName"), tls.secret_name.as_ref(), names::dns_subdomain);
        let hosts = at.field("hosts");
        for (index, name) in tls.hosts.iter().flatten().enumerate() {
            host(name, &hosts.item(index), broken);
        }
    }
}

fn host(name: &str, at: &At<'_>, broken: &mut Broken) {
    if !name.is_empty() {
        broken.that(name.parse::<IpAddr>().is_err(), at, "an address is no name of a host");
        broken.rule(at, name, names::host);
    }
}

fn path(path: &HTTPIngressPath, at: &At<'_>, broken: &mut Broken) {
    let kinds = ["Exact", "Prefix", "ImplementationSpecific"];
    broken.set(&at.field("pathType"), Some(&path.path_type));
    if !path.path_type.is_empty() {
        broken.one_of(&at.field("pathType"), Some(&path.path_type), &kinds);
    }
    let text = path.path.as_deref().unwrap_or_default();
    let at_path = at.field("path");
    if path.path_type != "ImplementationSpecific" || !text.is_empty() {
        broken.that(text.starts_with('/'), &at_path, "it must begin with '/'");
    }
    let twisted = ["//", "/./", "/../", "%2f", "%2F"].iter().find(|part| text.contains(**part));
    if let Some(part) = twisted {
        broken.add(&at_path, format!("\"{part}\" must not be in it"));
    }
    broken.that(
        !text.ends_with("/..") && !text.ends_with("/."),
        &at_path,
        "it must not end with '.' or \"..\"",
    );
    backend(&path.backend, &at.field("backend"), broken);
}

fn backend(backend: &IngressBackend, at: &At<'_>, broken: &mut Broken) {
    let at = at.field("service");
    let Some(service) = &backend.service else { return broken.add(&at, "it is not set") };
    broken.rule(&at.field("name"), &service.name, names::dns_label);
    let at = at.field("port");
    let Some(port) = &service.port else { return broken.add(&at, "it is not set") };
    let named = port.name.as_ref().is_some_and(|name| !name.is_empty());
    let numbered = port.number.is_some_and(|number| number != 0);
    broken.exactly_one(&at, &[("name", named), ("number", numbered)]);
    if let Some(number) = port.number.filter(|_| numbered) {
        broken.port(&at.field("number"), number);
    }
}
