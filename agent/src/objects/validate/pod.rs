//! Rules of Pods and of their templates.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{PodDNSConfig, PodSpec, PodTemplateSpec};

use super::path::{At, Broken};
use super::{container, metadata, names, security, volumes};

/// The longest activeDeadlineSeconds and graces, as Kubernetes has it.
const LONGEST: i64 = i32::MAX as i64;
/// The longest name that the kernel takes.
const HOSTNAME: usize = 64;
/// What resolvers take.
const NAMESERVERS: usize = 3;

pub(super) fn template(template: &PodTemplateSpec, restart: &[&str], at: &At<'_>, broken: &mut Broken) {
    if let Some(of) = &template.metadata {
        metadata::labels(of, &at.field("metadata"), broken);
        let named = of.name.is_some() || of.namespace.is_some() || of.generate_name.is_some();
        broken.that(!named, &at.field("metadata"), "a template's Pods are named by who makes them");
    }
    let spec_at = at.field("spec");
    match &template.spec {
        Some(of) => {
            spec(of, &spec_at, broken);
            broken.one_of(&spec_at.field("restartPolicy"), of.restart_policy.as_ref(), restart);
        }
        None => broken.add(&spec_at, "it is not set"),
    }
}

pub(super) fn spec(spec: &PodSpec, at: &At<'_>, broken: &mut Broken) {
    let names = volumes::all(spec.volumes.as_deref().unwrap_or_default(), &at.field("volumes"), broken);
    container::all(spec, &names, at, broken);
    broken.one_of(
        &at.field("restartPolicy"),
        spec.restart_policy.as_ref(),
        &["Always", "OnFailure", "Never"],
    );
    let grace = spec.termination_grace_period_seconds;
    broken.range(&at.field("terminationGracePeriodSeconds"), grace, 0, LONGEST);
    broken.range(&at.field("activeDeadlineSeconds"), spec.active_deadline_seconds, 1, LONGEST);
    host(spec, at, broken);
    name_resolution(spec, at, broken);
    for (index, secret) in spec.image_pull_secrets.iter().flatten().enumerate() {
        let secrets = at.field("imagePullSecrets");
        broken.rule(&secrets.item(index).field("name"), &secret.name, names::dns_subdomain);
    }
    broken.rule_if(&at.field("runtimeClassName"), spec.runtime_class_name.as_ref(), names::dns_subdomain);
    if let Some(context) = &spec.security_context {
        security::pod(context, spec, &at.field("securityContext"), broken);
    }
    no_ops(spec, at, broken);
}

/// Namespaces of the host.
fn host(spec: &PodSpec, at: &At<'_>, broken: &mut Broken) {
    let is = |flag: Option<bool>| flag == Some(true);
    let both = is(spec.host_pid) && is(spec.share_process_namespace);
    broken.that(!both, &at.field("shareProcessNamespace"), "it cannot be together with hostPID");
    let of_host = is(spec.host_network) || is(spec.host_pid) || is(spec.host_ipc);
    let users = spec.host_users == Some(false) && of_host;
    broken.that(
        !users,
        &at.field("hostUsers"),
        "false cannot be together with hostNetwork, hostPID or hostIPC",
    );
    broken.one_of(&at.field("os.name"), spec.os.as_ref().map(|os| &os.name), &["linux"]);
}

fn name_resolution(spec: &PodSpec, at: &At<'_>, broken: &mut Broken) {
    broken.rule_if(&at.field("hostname"), spec.hostname.as_ref(), names::dns_label);
    let over = spec.hostname_override.as_ref();
    let at_over = at.field("hostnameOverride");
    broken.rule_if(&at_over, over, names::dns_subdomain);
    broken.that(over.is_none_or(|over| over.len() <= HOSTNAME), &at_over, "it must be at most 64 letters");
    let other = spec.set_hostname_as_fqdn == Some(true) || spec.host_network == Some(true);
    broken.that(
        over.is_none() || !other,
        &at_over,
        "it cannot be together with setHostnameAsFQDN or hostNetwork",
    );
    broken.rule_if(&at.field("subdomain"), spec.subdomain.as_ref(), names::dns_label);
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let aliases = at.field("hostAliases");
        let at = aliases.item(index);
        broken.that(alias.ip.parse::<IpAddr>().is_ok(), &at.field("ip"), "it is no address");
        for (index, host) in alias.hostnames.iter().flatten().enumerate() {
            let hosts = at.field("hostnames");
            broken.rule(&hosts.item(index), host, names::dns_subdomain);
        }
    }
    let policies = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    broken.one_of(&at.field("dnsPolicy"), spec.dns_policy.as_ref(), &policies);
    let servers =
        spec.dns_config.as_ref().and_then(|config| config.nameservers.as_deref()).unwrap_or_default();
    if spec.dns_policy.as_deref() == Some("None") {
        broken.that(!servers.is_empty(), &at.field("dnsConfig.nameservers"), "dnsPolicy None needs one");
    }
    if let Some(config) = &spec.dns_config {
        dns_config(config, &at.field("dnsConfig"), broken);
    }
}

fn dns_config(config: &PodDNSConfig, at: &At<'_>, broken: &mut Broken) {
    let servers = config.nameservers.as_deref().unwrap_or_default();
    broken.that(servers.len() <= NAMESERVERS, &at.field("nameservers"), "resolvers take at most 3");
    for (index, server) in servers.iter().enumerate() {
        let list = at.field("nameservers");
        broken.that(server.parse::<IpAddr>().is_ok(), &list.item(index), "it is no address");
    }
    for (index, search) in config.searches.iter().flatten().enumerate() {
        let list = at.field("searches");
        let name = search.strip_suffix('.').unwrap_or(search);
        let plain = name.replace('_', "-");
        let good = search == "."
            || plain.split('.').all(|part| !part.is_empty()) && !plain.contains(char::is_whitespace);
        broken.that(good, &list.item(index), "it is no domain");
    }
    for (index, option) in config.options.iter().flatten().enumerate() {
        let list = at.field("options");
        broken.set(&list.item(index).field("name"), option.name.as_ref());
    }
}

/// Fields that are taken only as far as they change nothing here.
fn no_ops(spec: &PodSpec, at: &At<'_>, broken: &mut Broken) {
    let others =
        |text: Option<&String>, allowed: &str| text.is_some_and(|text| !text.is_empty() && text != allowed);
    let scheduler = others(spec.scheduler_name.as_ref(), "default-scheduler");
    broken.that(
        !scheduler,
        &at.field("schedulerName"),
        "not supported by this agent: nothing schedules here",
    );
    let token = spec.automount_service_account_token == Some(true);
    let none = "not supported by this agent: there are no service accounts";
    broken.that(!token, &at.field("automountServiceAccountToken"), none);
    for (field, account) in
        [("serviceAccountName", &spec.service_account_name), ("serviceAccount", &spec.service_account)]
    {
        broken.that(!others(account.as_ref(), "default"), &at.field(field), none);
    }
}

/// Ports of the host that a Pod asks for twice.
pub(super) fn host_ports(spec: &PodSpec, at: &At<'_>, broken: &mut Broken) {
    let mut seen = BTreeSet::new();
    for (list, index, container) in super::containers(spec).filter(|(list, ..)| *list == "containers") {
        for (number, port) in container.ports.iter().flatten().enumerate() {
            let lists = at.field(list);
            let of = lists.item(index);
            let ports = of.field("ports");
            let at = ports.item(number);
            let Some(host) = port.host_port.filter(|port| *port != 0) else { continue };
            broken.port(&at.field("hostPort"), host);
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let address = port.host_ip.as_deref().unwrap_or_default();
            broken.once(&at.field("hostPort"), format!("{address}:{host}/{protocol}"), &mut seen);
            let same = spec.host_network != Some(true) || host == port.container_port;
            broken.that(same, &at.field("hostPort"), "with hostNetwork it must be the containerPort");
        }
    }
}
