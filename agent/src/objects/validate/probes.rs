//! Rules of probes and hooks.

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::names;
use super::path::{At, Broken};

/// Signals that a container may be asked to end by.
fn is_signal(name: &str) -> bool {
    let known = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU",
        "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "POLL", "PWR", "SYS",
    ];
    let Some(name) = name.strip_prefix("SIG") else { return false };
    let offset = |text: &str, most: u8| text.parse::<u8>().is_ok_and(|offset| (1..=most).contains(&offset));
    known.contains(&name)
        || matches!(name, "RTMIN" | "RTMAX")
        || name.strip_prefix("RTMIN+").is_some_and(|text| offset(text, 15))
        || name.strip_prefix("RTMAX-").is_some_and(|text| offset(text, 14))
}

pub(super) fn all(container: &Container, at: &At<'_>, broken: &mut Broken) {
    let probes = [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ];
    for (field, of) in probes {
        let Some(of) = of else { continue };
        let at = at.field(field);
        probe(of, &at, broken);
        if field == "readinessProbe" {
            let none = of.termination_grace_period_seconds.is_none();
            broken.that(none, &at.field("terminationGracePeriodSeconds"), "a readiness probe ends nothing");
        } else {
            let once = of.success_threshold.is_none_or(|threshold| threshold <= 1);
            broken.that(once, &at.field("successThreshold"), "it must be 1");
        }
    }
    let Some(lifecycle) = &container.lifecycle else { return };
    let at = at.field("lifecycle");
    for (field, of) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        if let Some(of) = of {
            handler(of, &at.field(field), broken);
        }
    }
    if let Some(signal) = &lifecycle.stop_signal {
        broken.that(
            is_signal(signal),
            &at.field("stopSignal"),
            &format!("\"{signal}\" is no signal, as SIGTERM"),
        );
    }
}

fn probe(probe: &Probe, at: &At<'_>, broken: &mut Broken) {
    broken.exactly_one(
        at,
        &[
            ("exec", probe.exec.is_some()),
            ("httpGet", probe.http_get.is_some()),
            ("tcpSocket", probe.tcp_socket.is_some()),
            ("grpc", probe.grpc.is_some()),
        ],
    );
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("periodSeconds", probe.period_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    numbers.into_iter().for_each(|(field, number)| broken.natural(&at.field(field), number));
    let grace = probe.termination_grace_period_seconds;
    broken.range(&at.field("terminationGracePeriodSeconds"), grace, 1, i64::MAX);
    if let Some(exec) = &probe.exec {
        command(exec.command.as_ref(), &at.field("exec"), broken);
    }
    if let Some(get) = &probe.http_get {
        http_get(get, &at.field("httpGet"), broken);
    }
    if let Some(socket) = &probe.tcp_socket {
        port(&socket.port, &at.field("tcpSocket.port"), broken);
    }
    if let Some(grpc) = &probe.grpc {
        broken.port(&at.field("grpc.port"), grpc.port);
    }
}

fn handler(handler: &LifecycleHandler, at: &At<'_>, broken: &mut Broken) {
    broken.exactly_one(
        at,
        &[
            ("exec", handler.exec.is_some()),
            ("httpGet", handler.http_get.is_some()),
            ("sleep", handler.sleep.is_some()),
        ],
    );
    if let Some(exec) = &handler.exec {
        command(exec.command.as_ref(), &at.field("exec"), broken);
    }
    if let Some(get) = &handler.http_get {
        http_get(get, &at.field("httpGet"), broken);
    }
    if let Some(sleep) = &handler.sleep {
        broken.natural(&at.field("sleep.seconds"), Some(sleep.seconds));
    }
}

fn command(command: Option<&Vec<String>>, at: &At<'_>, broken: &mut Broken) {
    broken.that(command.is_some_and(|command| !command.is_empty()), &at.field("command"), "it is not set");
}

fn http_get(get: &HTTPGetAction, at: &At<'_>, broken: &mut Broken) {
    port(&get.port, &at.field("port"), broken);
    broken.one_of(&at.field("scheme"), get.scheme.as_ref(), &["HTTP", "HTTPS"]);
    for (index, header) in get.http_headers.iter().flatten().enumerate() {
        let list = at.field("httpHeaders");
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let good = !header.name.is_empty() && header.name.bytes().all(token);
        broken.that(good, &list.item(index).field("name"), "it is no header's name");
    }
}

/// A port's number, or the name of one.
pub(super) fn port(port: &IntOrString, at: &At<'_>, broken: &mut Broken) {
    match port {
        IntOrString::Int(number) => broken.port(at, *number),
        IntOrString::String(name) => broken.rule(at, name, names::port),
    }
}

#[cfg(test)]
mod tests {
    use super::is_signal;

    #[test]
    fn signals_have_names() {
        for name in ["SIGTERM", "SIGRTMIN", "SIGRTMIN+3", "SIGRTMAX-14"] {
            assert!(is_signal(name), "{name}");
        }
        for name in ["TERM", "9", "", "SIGRTMIN+16", "SIGRTMIN+", "SIGNO"] {
            assert!(!is_signal(name), "{name}");
        }
    }
}
