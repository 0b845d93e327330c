//! HTTP for Prometheus: `/metrics`, and `/healthz`, `/readyz` for whoever watches the agent.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};

use super::containers::Containers;
use super::counters::{Counted, Counters};
use super::objects::State;
use super::process::Process;
use super::usage::{self, Usage};
use crate::cri::{Runtime, api};
use crate::objects::{Kind, Objects};
use crate::store::Store;

/// Several who scrape at the same time ask the runtime once.
const FRESH: Duration = Duration::from_secs(1);
/// For a runtime that is asked whether it is ready.
const READY: Duration = Duration::from_secs(2);
/// For the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// Connections at a time.
const CONNECTIONS: usize = 64;
/// A port that is taken is tried again.
const RETRY: Duration = Duration::from_secs(3);

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What answers are made of.
pub struct Sources {
    /// Objects.
    pub store: Arc<Store>,
    /// Statistics.
    pub runtime: Runtime,
    /// And what was counted.
    pub counters: Arc<Counters>,
    /// What the runtime said last.
    pub last: Mutex<Option<(Instant, Arc<Usage>)>>,
}

/// Serves for ever; a port that is taken is said, and tried again.
pub async fn serve(sources: Arc<Sources>, address: SocketAddr) {
    let mut said = false;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(
                        "metrics: cannot listen on {address}: {error}; it is tried again, --metrics sets another"
                    );
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    serve_on(sources, listener).await;
}

/// Serves on a port.
pub async fn serve_on(sources: Arc<Sources>, listener: TcpListener) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("metrics: cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let sources = sources.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(sources.clone(), request));
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD);
            // Clients that break off are no concern.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
    }
}

async fn answer(
    sources: Arc<Sources>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => {
            let (kind, encoded) = metrics(&sources, accept.contains("application/openmetrics-text")).await;
            match encoded {
                Ok(text) => response(StatusCode::OK, kind, text),
                Err(error) => response(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    TEXT,
                    format!("cannot write metrics: {error}\n"),
                ),
            }
        }
        (&Method::GET | &Method::HEAD, "/healthz" | "/livez") => {
            response(StatusCode::OK, TEXT, "ok\n".into())
        }
        (&Method::GET | &Method::HEAD, "/readyz") => match ready(&sources.runtime).await {
            Ok(()) => response(StatusCode::OK, TEXT, "ok\n".into()),
            Err(error) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{error:#}\n")),
        },
        (&Method::GET | &Method::HEAD, _) => {
            response(StatusCode::NOT_FOUND, TEXT, "there are /metrics, /healthz and /readyz\n".into())
        }
        _ => {
            let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".into());
            refused.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
            refused
        }
    })
}

fn response(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

/// All metrics, and the format's name.
pub async fn metrics(
    sources: &Sources,
    open_metrics: bool,
) -> (&'static str, Result<String, std::fmt::Error>) {
    let usage = usage_of(sources).await;
    let objects = Arc::new(sources.store.read(copy));
    sources.counters.forget(&objects);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(State(objects.clone())));
    registry.register_collector(Box::new(Containers { usage, objects }));
    registry.register_collector(Box::new(Counted(sources.counters.clone())));
    registry.register_collector(Box::new(Process));
    let mut all = String::new();
    match open_metrics {
        true => (OPEN_METRICS, text::encode(&mut all, &registry).map(|()| all)),
        false => (TEXT, prometheus_text::encode(&mut all, &registry).map(|()| all)),
    }
}

/// All objects: each copy is a pointer. Secrets' and ConfigMaps' are only counted.
fn copy(objects: &Objects) -> Objects {
    Kind::ALL.iter().flat_map(|kind| objects.of_kind(*kind)).cloned().collect()
}

/// None: the runtime does not answer.
async fn usage_of(sources: &Sources) -> Option<Arc<Usage>> {
    // Whoever comes meanwhile waits for this answer.
    let mut last = sources.last.lock().await;
    if let Some((at, usage)) = &*last
        && at.elapsed() < FRESH
    {
        return Some(usage.clone());
    }
    match usage::of_all(&sources.runtime).await {
        Ok(usage) => {
            let usage = Arc::new(usage);
            *last = Some((Instant::now(), usage.clone()));
            Some(usage)
        }
        Err(status) => {
            *last = None;
            tracing::debug!("metrics: the runtime says no statistics: {}", status.message());
            None
        }
    }
}

/// Whether Pods can be run.
async fn ready(runtime: &Runtime) -> anyhow::Result<()> {
    let mut client = runtime.runtime();
    let asked = client.status(api::StatusRequest::default());
    let answer = tokio::time::timeout(READY, asked).await.context("the runtime does not answer in 2 s")?;
    let answer =
        answer.map_err(|status| anyhow::anyhow!("the runtime does not answer: {}", status.message()))?;
    for condition in answer.into_inner().status.map(|status| status.conditions).unwrap_or_default() {
        let needed = ["RuntimeReady", "NetworkReady"].contains(&condition.r#type.as_str());
        anyhow::ensure!(
            condition.status || !needed,
            "the runtime says that {} is false: {}",
            condition.r#type,
            condition.message
        );
    }
    Ok(())
}
