//! Rules of containers.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, PodSpec, ResourceRequirements, VolumeMount,
};

use super::path::{At, Broken};
use super::{downward, names, pod, probes, security};
use crate::objects::quantity::milli;

/// All containers of a Pod, whose volumes have these names.
pub(super) fn all(spec: &PodSpec, volumes: &BTreeSet<String>, at: &At<'_>, broken: &mut Broken) {
    broken.that(!spec.containers.is_empty(), &at.field("containers"), "at least one is needed");
    let mut seen = BTreeSet::new();
    for (list, index, container) in super::containers(spec) {
        let lists = at.field(list);
        let at = lists.item(index);
        broken.rule(&at.field("name"), &container.name, names::dns_label);
        broken.once(&at.field("name"), container.name.clone(), &mut seen);
        one(container, &at, broken);
        mounts(container, volumes, &at.field("volumeMounts"), broken);
        if let Some(context) = &container.security_context {
            security::container(context, spec, &at.field("securityContext"), broken);
        }
        if list == "initContainers" {
            init(container, &at, broken);
        } else {
            let policies = ["Always", "OnFailure", "Never"];
            broken.one_of(&at.field("restartPolicy"), container.restart_policy.as_ref(), &policies);
        }
        restart_rules(container, &at, broken);
    }
    pod::host_ports(spec, at, broken);
}

fn one(container: &Container, at: &At<'_>, broken: &mut Broken) {
    let image = container.image.as_deref().unwrap_or_default();
    broken.set(&at.field("image"), container.image.as_ref());
    broken.that(image.trim() == image, &at.field("image"), "there is white space around it");
    let policies = ["Always", "IfNotPresent", "Never"];
    broken.one_of(&at.field("imagePullPolicy"), container.image_pull_policy.as_ref(), &policies);
    let policy = container.termination_message_policy.as_ref();
    broken.one_of(&at.field("terminationMessagePolicy"), policy, &["File", "FallbackToLogsOnError"]);
    let path = container.termination_message_path.as_ref();
    broken.rule_if(&at.field("terminationMessagePath"), path, names::absolute_path);
    ports(container, at, broken);
    for (index, variable) in container.env.iter().flatten().enumerate() {
        env(variable, &at.field("env").item(index), broken);
    }
    for (index, source) in container.env_from.iter().flatten().enumerate() {
        env_from(source, &at.field("envFrom").item(index), broken);
    }
    if let Some(of) = &container.resources {
        resources(of, &at.field("resources"), broken);
    }
    probes::all(container, at, broken);
}

/// After which exit codes a container is started again, whatever its policy.
fn restart_rules(container: &Container, at: &At<'_>, broken: &mut Broken) {
    let rules = container.restart_policy_rules.as_deref().unwrap_or_default();
    let list = at.field("restartPolicyRules");
    let alone = rules.is_empty() || container.restart_policy.is_some();
    broken.that(alone, &list, "it needs the container's restartPolicy");
    for (index, rule) in rules.iter().enumerate() {
        let at = list.item(index);
        broken.one_of(&at.field("action"), Some(&rule.action), &["Restart"]);
        let at = at.field("exitCodes");
        let Some(codes) = &rule.exit_codes else {
            broken.add(&at, "it is not set");
            continue;
        };
        broken.one_of(&at.field("operator"), Some(&codes.operator), &["In", "NotIn"]);
        let values = at.field("values");
        broken.that(codes.values.as_ref().is_some_and(|values| !values.is_empty()), &values, "it is not set");
        for (index, code) in codes.values.iter().flatten().enumerate() {
            broken.range(&values.item(index), Some(*code), 0, 255);
        }
    }
}

/// Init containers run to their end, but for sidecars.
fn init(container: &Container, at: &At<'_>, broken: &mut Broken) {
    broken.one_of(&at.field("restartPolicy"), container.restart_policy.as_ref(), &["Always"]);
    if container.restart_policy.as_deref() == Some("Always") {
        return;
    }
    let forbidden = [
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
        ("lifecycle", container.lifecycle.is_some()),
    ];
    for (field, there) in forbidden {
        broken.that(
            !there,
            &at.field(field),
            "an init container has none, unless its restartPolicy is Always",
        );
    }
}

fn ports(container: &Container, at: &At<'_>, broken: &mut Broken) {
    let mut seen = BTreeSet::new();
    let list = at.field("ports");
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let at = list.item(index);
        broken.port(&at.field("containerPort"), port.container_port);
        broken.one_of(&at.field("protocol"), port.protocol.as_ref(), &["TCP", "UDP", "SCTP"]);
        if let Some(name) = port.name.as_ref().filter(|name| !name.is_empty()) {
            broken.rule(&at.field("name"), name, names::port);
            broken.once(&at.field("name"), name.clone(), &mut seen);
        }
        let address = port.host_ip.as_deref().unwrap_or_default();
        broken.that(
            address.is_empty() || address.parse::<IpAddr>().is_ok(),
            &at.field("hostIP"),
            "it is no address",
        );
    }
}

fn env(variable: &EnvVar, at: &At<'_>, broken: &mut Broken) {
    broken.rule(&at.field("name"), &variable.name, names::environment);
    let Some(source) = &variable.value_from else { return };
    let has_value = variable.value.as_ref().is_some_and(|value| !value.is_empty());
    broken.that(!has_value, &at.field("valueFrom"), "it cannot be together with a value");
    let at = at.field("valueFrom");
    broken.exactly_one(
        &at,
        &[
            ("fieldRef", source.field_ref.is_some()),
            ("resourceFieldRef", source.resource_field_ref.is_some()),
            ("configMapKeyRef", source.config_map_key_ref.is_some()),
            ("secretKeyRef", source.secret_key_ref.is_some()),
        ],
    );
    if let Some(field) = &source.field_ref {
        downward::env_field(field, &at.field("fieldRef"), broken);
    }
    if let Some(field) = &source.resource_field_ref {
        downward::resource(field, &at.field("resourceFieldRef"), broken);
    }
    if let Some(key) = &source.config_map_key_ref {
        let at = at.field("configMapKeyRef");
        broken.rule(&at.field("name"), &key.name, names::dns_subdomain);
        broken.rule(&at.field("key"), &key.key, names::config_key);
    }
    if let Some(key) = &source.secret_key_ref {
        let at = at.field("secretKeyRef");
        broken.rule(&at.field("name"), &key.name, names::dns_subdomain);
        broken.rule(&at.field("key"), &key.key, names::config_key);
    }
}

fn env_from(source: &EnvFromSource, at: &At<'_>, broken: &mut Broken) {
    broken.rule_if(&at.field("prefix"), source.prefix.as_ref(), names::environment);
    broken.exactly_one(
        at,
        &[("configMapRef", source.config_map_ref.is_some()), ("secretRef", source.secret_ref.is_some())],
    );
    if let Some(map) = &source.config_map_ref {
        broken.rule(&at.field("configMapRef.name"), &map.name, names::dns_subdomain);
    }
    if let Some(secret) = &source.secret_ref {
        broken.rule(&at.field("secretRef.name"), &secret.name, names::dns_subdomain);
    }
}

fn mounts(container: &Container, volumes: &BTreeSet<String>, list: &At<'_>, broken: &mut Broken) {
    let privileged = container.security_context.as_ref().and_then(|context| context.privileged) == Some(true);
    let mut seen = BTreeSet::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let at = list.item(index);
        broken.set(&at.field("name"), Some(&mount.name));
        let known = mount.name.is_empty() || volumes.contains(&mount.name);
        broken.that(known, &at.field("name"), &format!("\"{}\" is no volume of the Pod", mount.name));
        broken.set(&at.field("mountPath"), Some(&mount.mount_path));
        let colon = mount.mount_path.contains(':');
        broken.that(!colon, &at.field("mountPath"), "there is a ':' in it");
        broken.once(&at.field("mountPath"), mount.mount_path.trim_end_matches('/').to_owned(), &mut seen);
        broken.rule_if(&at.field("subPath"), mount.sub_path.as_ref(), names::path_below);
        broken.rule_if(&at.field("subPathExpr"), mount.sub_path_expr.as_ref(), names::path_below);
        let there = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let both = there(&mount.sub_path) && there(&mount.sub_path_expr);
        broken.that(!both, &at.field("subPathExpr"), "it cannot be together with subPath");
        propagation(mount, privileged, &at, broken);
    }
}

fn propagation(mount: &VolumeMount, privileged: bool, at: &At<'_>, broken: &mut Broken) {
    let propagation = mount.mount_propagation.as_ref();
    let at_propagation = at.field("mountPropagation");
    broken.one_of(&at_propagation, propagation, &["None", "HostToContainer", "Bidirectional"]);
    let bidirectional = propagation.is_some_and(|kind| kind == "Bidirectional");
    broken.that(!bidirectional || privileged, &at_propagation, "Bidirectional is for privileged containers");
    let recursive = mount.recursive_read_only.as_ref();
    let at_recursive = at.field("recursiveReadOnly");
    broken.one_of(&at_recursive, recursive, &["Disabled", "IfPossible", "Enabled"]);
    if recursive.is_some_and(|kind| kind != "Disabled") {
        broken.that(mount.read_only == Some(true), &at_recursive, "it needs readOnly");
        let none = propagation.is_none_or(|kind| kind == "None");
        broken.that(none, &at_recursive, "it cannot be together with mountPropagation");
    }
}

fn resources(of: &ResourceRequirements, at: &At<'_>, broken: &mut Broken) {
    for (list, amounts) in [("limits", &of.limits), ("requests", &of.requests)] {
        for (name, amount) in amounts.iter().flatten() {
            let lists = at.field(list);
            let at = lists.field(name);
            match name.as_str() {
                "cpu" | "memory" | "ephemeral-storage" => {}
                _ => broken
                    .add(&at, "not supported by this agent: there are cpu, memory and ephemeral-storage"),
            }
            match milli(amount) {
                None => broken.add(&at, format!("\"{}\" is no amount, as 500m or 64Mi", amount.0)),
                Some(milli) => broken.that(milli >= 0, &at, "it is negative"),
            }
        }
    }
    for (name, request) in of.requests.iter().flatten() {
        let limit = of.limits.as_ref().and_then(|limits| limits.get(name));
        if let (Some(limit), Some(request), Some(most)) = (limit, milli(request), limit.and_then(milli))
            && request > most
        {
            let requests = at.field("requests");
            broken.add(&requests.field(name), format!("it is more than the limit of {}", limit.0));
        }
    }
}
