//! The HTTP server: `/exec/TOKEN`, `/attach/TOKEN`, `/portforward/TOKEN`, each to be upgraded.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

use super::backend::Backend;
use super::channel::Activity;
use super::command::{self, Command, Streams};
use super::handshake::{self, Agreed, Refused, Transport};
use super::{port_forward, spdy, token, websocket};
use crate::http::{self, Answer, text};

/// Connections at a time: each is a descriptor and a task. More wait to be accepted.
const CONNECTIONS: usize = 4096;

/// Serves until the task is dropped.
pub async fn serve<B: Backend>(listener: TcpListener, backend: Arc<B>) {
    http::accept("streaming", listener, CONNECTIONS, |socket, place| {
        tokio::spawn(connection(socket, Arc::clone(&backend), Arc::new(place)));
    })
    .await;
}

async fn connection<B: Backend>(socket: TcpStream, backend: Arc<B>, place: Arc<OwnedSemaphorePermit>) {
    // What is typed goes out at once.
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |request| {
        let answer = answer(&backend, &place, request);
        async { Ok::<_, Infallible>(answer) }
    });
    let connection = http::protocol().serve_connection(TokioIo::new(socket), service).with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a streaming client's request");
    }
}

fn answer<B: Backend>(
    backend: &Arc<B>,
    place: &Arc<OwnedSemaphorePermit>,
    mut request: Request<Incoming>,
) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::POST) {
        let mut headers = HeaderMap::new();
        headers.insert(ALLOW, HeaderValue::from_static("GET, POST"));
        return text(StatusCode::METHOD_NOT_ALLOWED, headers, "only GET and POST are served");
    }
    let Some(wanted) = redeem(&**backend, request.uri().path()) else {
        let message = "no such streaming URL: each is good once and expires; ask the runtime for another";
        return text(StatusCode::NOT_FOUND, HeaderMap::new(), message);
    };
    let ports = matches!(wanted, token::Request::PortForward(_));
    let Agreed { transport, headers } = match handshake::agree(request.headers(), ports) {
        Ok(agreed) => agreed,
        Err(Refused { status, headers, message }) => return text(status, headers, &message),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let (backend, place) = (Arc::clone(backend), Arc::clone(place));
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => stream(backend, wanted, transport, TokioIo::new(upgraded)).await,
            Err(error) => tracing::debug!(%error, "a streaming client's upgrade"),
        }
        drop(place);
    });
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = headers;
    answer
}

fn redeem(backend: &impl Backend, path: &str) -> Option<token::Request> {
    let (kind, token) = path.strip_prefix('/')?.split_once('/')?;
    let request = backend.streaming().tokens.redeem(token, Instant::now())?;
    (request.path() == kind).then_some(request)
}

/// Serves a connection that has left HTTP.
async fn stream<B: Backend>(
    backend: Arc<B>,
    wanted: token::Request,
    transport: Transport,
    io: TokioIo<hyper::upgrade::Upgraded>,
) {
    let activity = Activity::new(backend.idle_timeout());
    match wanted {
        token::Request::Exec(request) => {
            serve_command(backend, Command::Exec(request), transport, io, activity).await;
        }
        token::Request::Attach(request) => {
            serve_command(backend, Command::Attach(request), transport, io, activity).await;
        }
        token::Request::PortForward(request) => {
            let pod = request.pod_sandbox_id;
            match transport {
                Transport::Spdy { .. } => {
                    let (connection, accepted) = spdy::serve(io, activity);
                    port_forward::run(backend, pod, connection, accepted).await;
                }
                Transport::Tunnel => {
                    let tunnel = websocket::tunnel(websocket::open(io).await);
                    let (connection, accepted) = spdy::serve(tunnel, activity);
                    port_forward::run(backend, pod, connection, accepted).await;
                }
                Transport::Channels { framing, .. } => {
                    let ports: Vec<u16> =
                        request.port.into_iter().filter_map(|port| u16::try_from(port).ok()).collect();
                    let read = port_forward::read_channels(ports.len());
                    let socket = websocket::open(io).await;
                    let (connection, incoming) = websocket::serve(socket, framing, &read, activity);
                    port_forward::run_channels(backend, pod, ports, connection, incoming).await;
                }
            }
        }
    }
}

async fn serve_command<B: Backend>(
    backend: Arc<B>,
    command: Command,
    transport: Transport,
    io: TokioIo<hyper::upgrade::Upgraded>,
    activity: Activity,
) {
    let wants = command.wants();
    let (connection, streams) = match transport {
        Transport::Spdy { version } => {
            let (connection, accepted) = spdy::serve(io, activity);
            (connection, Streams::gather(accepted, wants, version).await)
        }
        Transport::Channels { framing, version } => {
            let socket = websocket::open(io).await;
            let read = Streams::read_channels(wants);
            let (connection, incoming) = websocket::serve(socket, framing, &read, activity);
            let streams = Streams::of_channels(&connection, incoming, wants, version).await;
            (connection, Some(streams))
        }
        // Only ports are asked for so.
        Transport::Tunnel => return,
    };
    match streams {
        Some(streams) => command::run(&*backend, command, connection, streams).await,
        None => tracing::debug!("a streaming client has not opened the streams that it asked for"),
    }
}
