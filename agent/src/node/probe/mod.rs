//! Probes of containers: asked once, by exec, HTTP, TCP or gRPC.

mod grpc;
pub(super) mod http;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;

use crate::cri::{Runtime, api};
use crate::spec;

/// Bytes of an answer that are told; an Event has no more.
const LONGEST: usize = 1024;
/// For the runtime to say that a command's time is over.
const SLACK: Duration = Duration::from_secs(2);

/// Asks a probe: whether it succeeded, and what there is to say of it. Never longer than its `timeoutSeconds`. An error says that
/// nobody knows: the runtime did not do what it was asked for. Then nothing is to be made of it.
pub async fn ask(
    runtime: &Runtime,
    pod: &Pod,
    container: &Container,
    id: &str,
    probe: &Probe,
    addresses: &[IpAddr],
) -> Result<(bool, String), String> {
    let _ = pod;
    let limit = Duration::from_secs(u64::try_from(probe.timeout_seconds.unwrap_or(1)).unwrap_or(1).max(1));
    if let Some(exec) = &probe.exec {
        let command = command(container, exec.command.as_deref().unwrap_or_default());
        return run(runtime, id, command, limit).await;
    }
    let answered = tokio::time::timeout(limit, asked(container, probe, addresses)).await;
    match answered {
        Ok(answer) => answer,
        Err(_) => Ok((false, format!("no answer within {} s", limit.as_secs()))),
    }
}

async fn asked(container: &Container, probe: &Probe, addresses: &[IpAddr]) -> Result<(bool, String), String> {
    let answered = if let Some(action) = &probe.http_get {
        let answer = http::get(container, action, addresses, "probe").await;
        answer.and_then(|status| match status {
            200..=399 => Ok(()),
            status => Err(format!("HTTP probe failed with statuscode: {status}")),
        })
    } else if let Some(action) = &probe.tcp_socket {
        let port = port(container, &action.port)?;
        let host = host(action.host.as_deref(), addresses)?;
        connect(&host, port).await.map(drop)
    } else if let Some(action) = &probe.grpc {
        let port =
            u16::try_from(action.port).map_err(|_| format!("grpc.port: {} is no port", action.port))?;
        let host = host(None, addresses)?;
        grpc::check(&host, port, action.service.as_deref().unwrap_or_default()).await
    } else {
        return Err("the probe has none of exec, httpGet, tcpSocket, grpc".into());
    };
    Ok(match answered {
        Ok(()) => (true, String::new()),
        Err(message) => (false, message),
    })
}

/// Variables in a probe's command are those that `env` says outright.
fn command(container: &Container, words: &[String]) -> Vec<String> {
    let value = |name: &str| {
        let mut said = container.env.iter().flatten().rev();
        said.find(|variable| variable.name == name)
            .map(|variable| variable.value.as_deref().unwrap_or_default().as_bytes())
    };
    words.iter().map(|word| String::from_utf8_lossy(&spec::expand(word, value)).into_owned()).collect()
}

/// Runs a command in a container: whether it exited with 0, and what it wrote. An error: it could not be run.
async fn run(
    runtime: &Runtime,
    id: &str,
    command: Vec<String>,
    limit: Duration,
) -> Result<(bool, String), String> {
    let ended = exec(runtime, id, command, limit).await?;
    Ok(match &ended {
        Ended::Exited(0, said) => (true, said.clone()),
        Ended::Exited(_, said) if !said.is_empty() => (false, format!("{ended}: {said}")),
        _ => (false, ended.to_string()),
    })
}

/// How a command ended. Its text is without what the command wrote.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With this code, after it wrote this, in one line.
    Exited(i32, String),
    /// Not within so many seconds.
    Late(u64),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code, _) => write!(f, "the command exited with {code}"),
            Self::Late(seconds) => write!(f, "the command did not end within {seconds} s"),
        }
    }
}

/// Runs a command in a container. An error: it could not be run.
pub(super) async fn exec(
    runtime: &Runtime,
    id: &str,
    command: Vec<String>,
    limit: Duration,
) -> Result<Ended, String> {
    // The runtime counts seconds, and takes 0 for no limit.
    let seconds = limit.as_secs().max(1);
    let timeout = i64::try_from(seconds).unwrap_or(i64::MAX);
    let request = api::ExecSyncRequest { container_id: id.into(), cmd: command, timeout };
    let mut runtime = runtime.runtime();
    match tokio::time::timeout(limit + SLACK, runtime.exec_sync(request)).await {
        Err(_) => Ok(Ended::Late(seconds)),
        Ok(Err(status)) if status.code() == tonic::Code::DeadlineExceeded => Ok(Ended::Late(seconds)),
        Ok(Err(status)) => Err(one_line(status.message().as_bytes())),
        Ok(Ok(answer)) => {
            let answer = answer.into_inner();
            let said = if answer.stderr.is_empty() { &answer.stdout } else { &answer.stderr };
            Ok(Ended::Exited(answer.exit_code, one_line(said)))
        }
    }
}

/// What somebody else says, fit for an Event: one line, not long.
pub(super) fn one_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]);
    let text: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// By number, or by the name of one of the container's ports.
pub(super) fn port(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let named = ports.find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port);
            named.or_else(|| name.parse().ok())
        }
    };
    let said = || match port {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(name) => format!("{name:?}"),
    };
    number.and_then(|number| u16::try_from(number).ok()).filter(|port| *port != 0).ok_or_else(|| {
        format!("port {}: neither a port's number nor the name of a port of the container", said())
    })
}

/// The host that is asked: the Pod, unless another is named.
pub(super) fn host(named: Option<&str>, addresses: &[IpAddr]) -> Result<String, String> {
    match (named.filter(|host| !host.is_empty()), addresses.first()) {
        (Some(host), _) => Ok(host.trim_matches(['[', ']']).to_owned()),
        (None, Some(address)) => Ok(address.to_string()),
        (None, None) => Err("the Pod has no address".into()),
    }
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((host, port)).await.map_err(|error| {
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        format!("cannot connect to {address}: {}", words(&error))
    })
}

/// The error without the number that nobody needs.
fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_ascii_lowercase()
}
