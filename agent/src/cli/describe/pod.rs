//! Pods and templates of Pods.

use serde_json::Value;

use super::super::value::{Look as _, or};
use super::layout::Text;
use super::{conditions, metadata};

/// What follows a Pod's name and namespace.
pub fn describe(text: &mut Text, pod: &Value) {
    text.optional(0, "Priority Class Name", pod.text("/spec/priorityClassName"));
    text.optional(0, "Runtime Class Name", pod.text("/spec/runtimeClassName"));
    text.optional(0, "Service Account", pod.text("/spec/serviceAccountName"));
    let node = match (pod.text("/spec/nodeName"), pod.text("/status/hostIP")) {
        ("", _) => "<none>".to_owned(),
        (node, "") => node.to_owned(),
        (node, address) => format!("{node}/{address}"),
    };
    text.field(0, "Node", node);
    text.optional(0, "Start Time", pod.text("/status/startTime"));
    metadata(text, pod);
    if pod.has("/metadata/deletionTimestamp") {
        let grace = pod.number("/metadata/deletionGracePeriodSeconds");
        text.field(0, "Status", format!("Terminating (since {})", pod.text("/metadata/deletionTimestamp")));
        text.field(0, "Termination Grace Period", format!("{grace}s"));
    } else {
        text.field(0, "Status", pod.text("/status/phase"));
    }
    text.optional(0, "Reason", pod.text("/status/reason"));
    text.optional(0, "Message", pod.text("/status/message"));
    text.field(0, "IP", pod.text("/status/podIP"));
    let ips: Vec<&str> = pod.items("/status/podIPs").iter().map(|ip| ip.text("/ip")).collect();
    if ips.is_empty() {
        text.field(0, "IPs", "<none>");
    } else {
        text.line(0, "IPs:");
        ips.iter().for_each(|ip| text.field(1, "IP", ip));
    }
    for owner in pod.items("/metadata/ownerReferences").iter().filter(|owner| owner.flag("/controller")) {
        text.field(0, "Controlled By", format!("{}/{}", owner.text("/kind"), owner.text("/name")));
    }
    if !pod.items("/spec/initContainers").is_empty() {
        text.line(0, "Init Containers:");
        containers(text, 1, pod, "/spec/initContainers", "/status/initContainerStatuses");
    }
    text.line(0, "Containers:");
    containers(text, 1, pod, "/spec/containers", "/status/containerStatuses");
    conditions(text, pod);
    volumes(text, 0, &pod["spec"]);
    text.field(0, "QoS Class", pod.text("/status/qosClass"));
    let selectors = super::super::value::pairs(pod, "/spec/nodeSelector", "<none>");
    text.field(0, "Node-Selectors", selectors);
}

/// A Pod's template in words.
pub fn template(template: &Value) -> String {
    let mut text = Text::default();
    template_into(&mut text, template);
    text.finish()
}

/// The same, as a part of a text.
pub fn template_into(text: &mut Text, template: &Value) {
    text.line(0, "Pod Template:");
    text.field(1, "Labels", super::super::value::pairs(template, "/metadata/labels", "<none>"));
    let annotations = template.fields("/metadata/annotations");
    for (at, (name, value)) in annotations.into_iter().enumerate() {
        let line = format!("{name}: {}", value.as_str().unwrap_or_default());
        if at == 0 { text.field(1, "Annotations", line) } else { text.under(1, line) }
    }
    if !template.items("/spec/initContainers").is_empty() {
        text.line(1, "Init Containers:");
        containers(text, 2, template, "/spec/initContainers", "");
    }
    text.line(1, "Containers:");
    containers(text, 2, template, "/spec/containers", "");
    volumes(text, 1, &template["spec"]);
}

fn containers(text: &mut Text, level: usize, pod: &Value, specs: &str, statuses: &str) {
    let statuses = if statuses.is_empty() { &[] } else { pod.items(statuses) };
    for container in pod.items(specs) {
        let name = container.text("/name");
        text.line(level, format!("{name}:"));
        let status = statuses.iter().find(|status| status.text("/name") == name);
        if let Some(status) = status {
            text.field(level + 1, "Container ID", status.text("/containerID"));
        }
        text.field(level + 1, "Image", container.text("/image"));
        if let Some(status) = status {
            text.field(level + 1, "Image ID", status.text("/imageID"));
        }
        ports(text, level + 1, container);
        for (name, pointer) in [("Command", "/command"), ("Args", "/args")] {
            let words = container.items(pointer);
            if !words.is_empty() {
                text.line(level + 1, format!("{name}:"));
                words.iter().filter_map(Value::as_str).for_each(|word| text.line(level + 2, word));
            }
        }
        if let Some(status) = status {
            state(text, level + 1, "State", &status["state"]);
            if status.fields("/lastState").iter().any(|(_, value)| !value.is_null()) {
                state(text, level + 1, "Last State", &status["lastState"]);
            }
            text.field(level + 1, "Ready", yes(status.flag("/ready")));
            text.field(level + 1, "Restart Count", status.number("/restartCount").to_string());
        }
        resources(text, level + 1, container);
        for (name, pointer) in
            [("Liveness", "/livenessProbe"), ("Readiness", "/readinessProbe"), ("Startup", "/startupProbe")]
        {
            if let Some(of) = container.pointer(pointer).filter(|probe| !probe.is_null()) {
                text.field(level + 1, name, probe(of));
            }
        }
        environment(text, level + 1, container);
        mounts(text, level + 1, container);
    }
}

fn yes(flag: bool) -> &'static str {
    if flag { "True" } else { "False" }
}

fn ports(text: &mut Text, level: usize, container: &Value) {
    let of = |pointer: &str| -> Vec<String> {
        let ports = container.items("/ports").iter();
        ports.map(|port| format!("{}/{}", port.number(pointer), or(port.text("/protocol"), "TCP"))).collect()
    };
    let or_none = |ports: Vec<String>| or(&ports.join(", "), "<none>").to_owned();
    text.field(level, "Port", or_none(of("/containerPort")));
    text.field(level, "Host Port", or_none(of("/hostPort")));
}

fn state(text: &mut Text, level: usize, name: &str, state: &Value) {
    if state.has("/running") {
        text.field(level, name, "Running");
        text.field(level + 1, "Started", state.text("/running/startedAt"));
    } else if state.has("/terminated") {
        let of = |field: &str| state.plain(&format!("/terminated/{field}"));
        text.field(level, name, "Terminated");
        text.optional(level + 1, "Reason", of("reason"));
        text.optional(level + 1, "Message", of("message"));
        text.field(level + 1, "Exit Code", of("exitCode"));
        text.optional(level + 1, "Signal", of("signal"));
        text.optional(level + 1, "Started", of("startedAt"));
        text.optional(level + 1, "Finished", of("finishedAt"));
    } else {
        text.field(level, name, "Waiting");
        text.optional(level + 1, "Reason", state.text("/waiting/reason"));
        text.optional(level + 1, "Message", state.text("/waiting/message"));
    }
}

fn resources(text: &mut Text, level: usize, container: &Value) {
    for (name, pointer) in [("Limits", "/resources/limits"), ("Requests", "/resources/requests")] {
        let amounts = container.fields(pointer);
        if !amounts.is_empty() {
            text.line(level, format!("{name}:"));
            amounts.iter().for_each(|(name, value)| text.field(level + 1, name, value.plain("")));
        }
    }
}

fn probe(probe: &Value) -> String {
    let handler = if probe.has("/exec") {
        let words: Vec<&str> = probe.items("/exec/command").iter().filter_map(Value::as_str).collect();
        format!("exec [{}]", words.join(" "))
    } else if probe.has("/httpGet") {
        let scheme = or(probe.text("/httpGet/scheme"), "HTTP").to_ascii_lowercase();
        let path = probe.text("/httpGet/path");
        format!("http-get {scheme}://{}:{}{path}", probe.text("/httpGet/host"), probe.plain("/httpGet/port"))
    } else if probe.has("/tcpSocket") {
        format!("tcp-socket {}:{}", probe.text("/tcpSocket/host"), probe.plain("/tcpSocket/port"))
    } else if probe.has("/grpc") {
        format!("grpc <pod>:{} {}", probe.plain("/grpc/port"), probe.text("/grpc/service"))
    } else {
        "unknown".to_owned()
    };
    format!(
        "{} delay={}s timeout={}s period={}s #success={} #failure={}",
        handler.trim_end(),
        probe.number("/initialDelaySeconds"),
        probe.number("/timeoutSeconds"),
        probe.number("/periodSeconds"),
        probe.number("/successThreshold"),
        probe.number("/failureThreshold"),
    )
}

fn environment(text: &mut Text, level: usize, container: &Value) {
    let from = container.items("/envFrom");
    if !from.is_empty() {
        text.line(level, "Environment Variables from:");
        for source in from {
            let (kind, of) = if source.has("/secretRef") {
                ("Secret", "/secretRef")
            } else {
                ("ConfigMap", "/configMapRef")
            };
            let name = source.text(&format!("{of}/name"));
            let optional = source.flag(&format!("{of}/optional"));
            text.row(level + 1, &[name, kind, &format!("Optional: {optional}")]);
        }
    }
    let variables = container.items("/env");
    if variables.is_empty() {
        if from.is_empty() {
            text.field(level, "Environment", "<none>");
        }
        return;
    }
    text.line(level, "Environment:");
    for variable in variables {
        let of = |field: &str| variable.plain(&format!("/valueFrom/{field}"));
        let value = if variable.has("/valueFrom/secretKeyRef") {
            format!("<set to the key '{}' in secret '{}'>", of("secretKeyRef/key"), of("secretKeyRef/name"))
        } else if variable.has("/valueFrom/configMapKeyRef") {
            format!(
                "<set to the key '{}' of config map '{}'>",
                of("configMapKeyRef/key"),
                of("configMapKeyRef/name")
            )
        } else if variable.has("/valueFrom/fieldRef") {
            format!("({})", of("fieldRef/fieldPath"))
        } else if variable.has("/valueFrom/resourceFieldRef") {
            format!("({})", of("resourceFieldRef/resource"))
        } else {
            variable.text("/value").to_owned()
        };
        text.field(level + 1, variable.text("/name"), value);
    }
}

fn mounts(text: &mut Text, level: usize, container: &Value) {
    let mounts = container.items("/volumeMounts");
    if mounts.is_empty() {
        return text.field(level, "Mounts", "<none>");
    }
    text.line(level, "Mounts:");
    for mount in mounts {
        let mut flags = vec![if mount.flag("/readOnly") { "ro" } else { "rw" }.to_owned()];
        if !mount.text("/subPath").is_empty() {
            flags.push(format!("path=\"{}\"", mount.text("/subPath")));
        }
        let path = mount.text("/mountPath");
        text.line(level + 1, format!("{path} from {} ({})", mount.text("/name"), flags.join(",")));
    }
}

fn volumes(text: &mut Text, level: usize, spec: &Value) {
    let volumes = spec.items("/volumes");
    if volumes.is_empty() {
        return text.field(level, "Volumes", "<none>");
    }
    text.line(level, "Volumes:");
    for volume in volumes {
        text.line(level + 1, format!("{}:", volume.text("/name")));
        for (kind, source) in volume.fields("").into_iter().filter(|(name, _)| *name != "name") {
            text.field(level + 2, "Type", kind);
            for (name, value) in source.fields("") {
                match value {
                    Value::Array(_) | Value::Object(_) => text.field(level + 2, name, value.to_string()),
                    value => text.field(level + 2, name, value.plain("")),
                }
            }
        }
    }
}
