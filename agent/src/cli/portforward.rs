//! `port-forward`.

use std::net::IpAddr;

use hyper::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::client::{self, Client, Error, Result, with_query};
use super::plain::say;
use super::streams;
use super::target::{self, Target};
use super::value::Look as _;
use super::{Scope, Session, pods};
use crate::objects::{Key, Kind};

/// Bytes at a time.
const PIECE: usize = 32 << 10;
const DATA: u8 = 0;
const ERROR: u8 = 1;

/// `port-forward`.
#[derive(clap::Args, Debug)]
pub struct PortForward {
    /// A Pod, or "svc/NAME", "deploy/NAME" and the like for one of its Pods
    #[arg(value_name = "POD|KIND/NAME")]
    what: String,
    /// Ports: 8080:80, 80 for the same one here, :80 for any that is free
    #[arg(value_name = "[LOCAL:]REMOTE", required = true)]
    ports: Vec<String>,
    #[command(flatten)]
    scope: Scope,
    /// Where to listen: addresses, or localhost
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', default_value = "localhost")]
    address: Vec<String>,
}

/// A pair of ports.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ports {
    /// 0: any.
    local: u16,
    /// A number, or the name of one.
    remote: String,
}

impl Ports {
    fn parse(text: &str) -> Result<Self> {
        let wrong = || Error::usage(format!("invalid port: {text}: it is [LOCAL:]REMOTE, as 8080:80"));
        let (local, remote) = match text.split_once(':') {
            Some(("", remote)) => (Some(0), remote),
            Some((local, remote)) => (Some(local.parse().map_err(|_| wrong())?), remote),
            None => (None, text),
        };
        if remote.is_empty() || remote == "0" {
            return Err(wrong());
        }
        Ok(Self { local: local.or_else(|| remote.parse().ok()).unwrap_or(0), remote: remote.to_owned() })
    }
}

impl PortForward {
    pub async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let target = target::one(std::slice::from_ref(&self.what), Some(Kind::Pod))?;
        let ports: Vec<Ports> = self.ports.iter().map(|ports| Ports::parse(ports)).collect::<Result<_>>()?;
        let pods = pods::of(session, &target, self.scope.name()).await?;
        let pod = pods.first().ok_or_else(|| Error::usage("no Pod"))?;
        if pod.text("/status/phase") != "Running" {
            return Err(Error::usage(format!(
                "unable to forward port because pod is not running. Current status={}",
                pod.text("/status/phase")
            )));
        }
        let service = service(session, &target, self.scope.name()).await?;
        let (sender, mut accepted) = mpsc::channel(16);
        for ports in &ports {
            let remote = remote(pod, service.as_ref(), &ports.remote)?;
            let mut local = ports.local;
            let mut listening = 0;
            for address in addresses(&self.address)? {
                let listener = match TcpListener::bind((address, local)).await {
                    Ok(listener) => listener,
                    // A machine without IPv6: localhost is 127.0.0.1 alone.
                    Err(_) if address.is_ipv6() && listening > 0 => continue,
                    Err(error) => {
                        return Err(Error::usage(format!(
                            "unable to listen on {address} port {local}: {error}"
                        )));
                    }
                };
                local = listener.local_addr()?.port();
                listening += 1;
                let shown = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
                writeln!(session.out, "Forwarding from {shown}:{local} -> {remote}")?;
                tokio::spawn(accept(listener, local, remote, sender.clone()));
            }
        }
        session.out.flush()?;
        let key = pods::key(pod);
        let (lost, mut ended) = mpsc::channel::<Error>(1);
        loop {
            let (stream, local, remote) = tokio::select! {
                Some(error) = ended.recv() => return Err(error),
                Some(accepted) = accepted.recv() => accepted,
                else => return Ok(()),
            };
            writeln!(session.out, "Handling connection for {local}")?;
            session.out.flush()?;
            let url = match url(&session.client, &key, remote).await {
                Ok(url) => url,
                Err(error) => {
                    say("error: lost connection to pod");
                    return Err(error);
                }
            };
            let lost = lost.clone();
            tokio::spawn(async move {
                if let Err(error) = forward(stream, &url, remote).await {
                    say(format_args!("an error occurred forwarding {local} -> {remote}: {error}"));
                }
                drop(lost);
            });
        }
    }
}

async fn accept(listener: TcpListener, local: u16, remote: u16, sender: mpsc::Sender<(TcpStream, u16, u16)>) {
    while let Ok((stream, _)) = listener.accept().await {
        if sender.send((stream, local, remote)).await.is_err() {
            return;
        }
    }
}

fn addresses(words: &[String]) -> Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for word in words {
        match word.as_str() {
            "localhost" => {
                addresses.extend([IpAddr::from([127, 0, 0, 1]), std::net::Ipv6Addr::LOCALHOST.into()])
            }
            word => addresses.push(word.parse().map_err(|_| {
                Error::usage(format!("--address {word}: it is no IP address and not localhost"))
            })?),
        }
    }
    Ok(addresses)
}

async fn service(session: &Session<'_>, target: &Target, namespace: &str) -> Result<Option<Value>> {
    match target.key(namespace) {
        Some(key) if target.kind == Kind::Service => session.client.get(&key).await.map(Some),
        _ => Ok(None),
    }
}

/// The port of a Pod that a word means: of a Service its target.
fn remote(pod: &Value, service: Option<&Value>, word: &str) -> Result<u16> {
    let mut word = word.to_owned();
    if let Some(service) = service {
        let port = service
            .items("/spec/ports")
            .iter()
            .find(|port| port.plain("/port") == word || port.text("/name") == word);
        let port = port.ok_or_else(|| {
            Error::usage(format!(
                "Service {} does not have a service port {word}",
                service.text("/metadata/name")
            ))
        })?;
        word = match port.plain("/targetPort") {
            none if none.is_empty() => port.plain("/port"),
            target => target,
        };
    }
    if let Ok(port) = word.parse() {
        return Ok(port);
    }
    let ports = pod.items("/spec/containers").iter().flat_map(|container| container.items("/ports"));
    let number =
        ports.filter(|port| port.text("/name") == word).map(|port| port.number("/containerPort")).next();
    number.and_then(|port| u16::try_from(port).ok()).ok_or_else(|| {
        Error::usage(format!("Pod '{}' does not have a named port '{word}'", pod.text("/metadata/name")))
    })
}

async fn url(client: &Client, pod: &Key, port: u16) -> Result<String> {
    let port = port.to_string();
    let path = with_query(&format!("{}/portforward", client::object(pod)), [("ports", port.as_str())]);
    Ok(client.json(Method::POST, &path, "").await?.text("/url").to_owned())
}

/// One connection. This protocol cannot say that only one direction has ended: the Pod's end is the connection's.
async fn forward(local: TcpStream, url: &str, port: u16) -> Result<()> {
    let (mut sink, mut source) = streams::connect(url, "v4.channel.k8s.io").await?;
    let (mut from, mut to) = local.into_split();
    let writer = tokio::spawn(async move {
        let mut piece = vec![0; PIECE];
        while let Ok(read @ 1..) = from.read(&mut piece).await {
            if sink.send(DATA, piece.get(..read).unwrap_or_default()).await.is_err() {
                return None;
            }
        }
        Some(sink)
    });
    let (mut greeted, mut failure) = ([false; 2], None);
    while let Some((channel, bytes)) = source.next().await? {
        // The first message of each channel repeats the port.
        if let Some(greeted) = greeted.get_mut(usize::from(channel)).filter(|greeted| !**greeted) {
            *greeted = true;
            if bytes.as_ref() == port.to_le_bytes() {
                continue;
            }
        }
        match channel {
            DATA if to.write_all(&bytes).await.is_err() => break,
            ERROR if !bytes.is_empty() => failure = Some(String::from_utf8_lossy(&bytes).into_owned()),
            _ => {}
        }
        if failure.is_some() {
            break;
        }
    }
    let _ = to.shutdown().await;
    if writer.is_finished() {
        if let Ok(Some(mut sink)) = writer.await {
            sink.close().await;
        }
    } else {
        writer.abort();
    }
    failure.map_or(Ok(()), |failure| Err(Error::usage(failure)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports() {
        let ports = |text| Ports::parse(text).ok().map(|ports| (ports.local, ports.remote));
        assert_eq!(ports("8080:80"), Some((8080, "80".into())));
        assert_eq!(ports("80"), Some((80, "80".into())));
        assert_eq!(ports(":80"), Some((0, "80".into())));
        assert_eq!(ports("8080:http"), Some((8080, "http".into())));
        for bad in ["", "a:80", "80:", "70000:1", "0"] {
            assert_eq!(ports(bad), None, "{bad}");
        }
    }

    #[test]
    fn services_lead_to_targets() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"ports": [{"name": "http", "containerPort": 8080}]}]}});
        let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [
            {"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8181}, {"name": "x", "port": 82}]}});
        let of = |service: Option<&Value>, word: &str| remote(&pod, service, word).ok();
        assert_eq!(of(Some(&service), "80"), Some(8080));
        assert_eq!(of(Some(&service), "81"), Some(8181));
        assert_eq!(of(Some(&service), "x"), Some(82));
        assert_eq!(of(Some(&service), "83"), None);
        assert_eq!(of(None, "http"), Some(8080));
        assert_eq!(of(None, "none"), None);
    }
}
