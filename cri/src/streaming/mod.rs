//! The streaming server: Exec, Attach and PortForward over SPDY/3.1 and WebSocket (docs/streaming.md).
//!
//! An RPC is answered with a URL ([`token`]); a client that asks for it ([`http`], [`handshake`]) leaves HTTP and speaks
//! [`spdy`] or [`websocket`], which give streams of bytes ([`channel`]). They are joined with a process' ([`command`]) or with
//! sockets in the Pod ([`port_forward`]); both come from the [`backend`].

pub mod backend;
mod channel;
mod command;
mod handshake;
pub mod http;
mod outcome;
mod port_forward;
pub mod resize;
mod spdy;
pub mod terminal;
pub mod token;
mod websocket;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tonic::Status;

use crate::api;
use crate::container;
use crate::runtime::Runtime;
use crate::state::PodState;
use token::{Request, Tokens};

/// Tokens of URLs that were given out, and where the server listens.
#[derive(Debug, Default)]
pub struct Streaming {
    tokens: Tokens,
    address: OnceLock<SocketAddr>,
}

impl Streaming {
    /// Says where the server listens. Whoever listens everywhere is told to be on this machine.
    pub fn listens(&self, mut address: SocketAddr) {
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let _ = self.address.set(address);
    }

    /// A URL for a request.
    pub fn url(&self, request: Request, lifetime: Duration) -> Result<String, Status> {
        let address = self.address.get();
        let address = address
            .ok_or_else(|| Status::unavailable("the streaming server does not listen yet; try again"))?;
        let path = request.path();
        let token = self.tokens.issue(request, lifetime, Instant::now());
        let token = token.map_err(|error| Status::resource_exhausted(error.to_string()))?;
        Ok(format!("http://{address}/{path}/{token}"))
    }
}

/// The server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error(
    "streaming server on {address}:{port}: {error}; change streaming.address or streaming.port in the configuration"
)]
pub struct ListenError {
    address: String,
    port: u16,
    error: std::io::Error,
}

/// Listens as the configuration says; from now on URLs are given out.
pub async fn listen(runtime: &Runtime) -> Result<TcpListener, ListenError> {
    let config = runtime.config();
    let (address, port) = (config.streaming.address.as_str(), config.streaming.port);
    let listener = async {
        let listener = TcpListener::bind((address, port)).await?;
        runtime.streaming.listens(listener.local_addr()?);
        Ok(listener)
    };
    listener.await.map_err(|error| ListenError { address: address.to_owned(), port, error })
}

/// Listens from now on; connections are served by tasks of their own.
pub async fn serve(runtime: Arc<Runtime>) -> Result<(), ListenError> {
    let listener = listen(&runtime).await?;
    tokio::spawn(http::serve(listener, Arc::new(backend::Containers(runtime))));
    Ok(())
}

/// Exec.
pub async fn exec(
    runtime: &Arc<Runtime>,
    mut request: api::ExecRequest,
) -> Result<api::ExecResponse, Status> {
    validate(&request.container_id, [request.stdin, request.stdout, request.stderr], request.tty)?;
    if request.cmd.is_empty() {
        return Err(Status::invalid_argument("cmd is empty: name a program to run"));
    }
    request.container_id = container::running(runtime, &request.container_id)?.get().id.clone();
    url(runtime, Request::Exec(request)).map(|url| api::ExecResponse { url })
}

/// Attach.
pub async fn attach(
    runtime: &Arc<Runtime>,
    mut request: api::AttachRequest,
) -> Result<api::AttachResponse, Status> {
    validate(&request.container_id, [request.stdin, request.stdout, request.stderr], request.tty)?;
    request.container_id = container::running(runtime, &request.container_id)?.get().id.clone();
    url(runtime, Request::Attach(request)).map(|url| api::AttachResponse { url })
}

/// PortForward.
pub async fn port_forward(
    runtime: &Arc<Runtime>,
    mut request: api::PortForwardRequest,
) -> Result<api::PortForwardResponse, Status> {
    if request.pod_sandbox_id.is_empty() {
        return Err(Status::invalid_argument("pod_sandbox_id is empty"));
    }
    if let Some(port) = request.port.iter().find(|port| !(1..=65535).contains(*port)) {
        return Err(Status::invalid_argument(format!("port {port}: 1 to 65535 are ports")));
    }
    let pod = runtime.pods.find(&request.pod_sandbox_id);
    let pod = pod.map_err(|error| Status::not_found(error.to_string()))?.get();
    if pod.state != PodState::Ready {
        let message = format!("Pod sandbox {} is not ready: nothing listens in it", pod.id);
        return Err(Status::failed_precondition(message));
    }
    request.pod_sandbox_id = pod.id.clone();
    url(runtime, Request::PortForward(request)).map(|url| api::PortForwardResponse { url })
}

fn url(runtime: &Runtime, request: Request) -> Result<String, Status> {
    runtime.streaming.url(request, Duration::from_secs(runtime.config().streaming.token_lifetime))
}

fn validate(id: &str, streams: [bool; 3], tty: bool) -> Result<(), Status> {
    if id.is_empty() {
        return Err(Status::invalid_argument("container_id is empty"));
    }
    if tty && streams[2] {
        return Err(Status::invalid_argument(
            "tty and stderr: a terminal has one output; ask for stdout alone",
        ));
    }
    if streams == [false; 3] {
        return Err(Status::invalid_argument("none of stdin, stdout and stderr is asked for"));
    }
    Ok(())
}
