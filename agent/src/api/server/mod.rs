//! The server on the socket: connections in, [`path`]s to what answers them, answers out.
//!
//! [`socket`] lets root and the socket's owner in. [`read`] and [`watch`] look into the store, [`write`] goes through
//! [`super::admission`], [`log`] reads the runtime's log files, [`streams`] hands out the runtime's own URLs.

mod answer;
mod log;
mod path;
mod read;
mod rollout;
mod select;
mod socket;
mod stats;
mod streams;
#[cfg(test)]
pub(crate) mod tests;
mod watch;
mod write;

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::Api;
use answer::{Answer, Failure};
use path::{Route, Sub};
pub use socket::bind;

/// Connections at a time.
const CONNECTIONS: usize = 256;
/// Those beyond that are told so, as many at a time; others are closed.
const REFUSALS: usize = 32;
/// Bytes of a request's body.
const BODY: usize = 10 << 20;
/// Bytes of a request's head, and of what is buffered of its body.
const BUFFER: usize = 64 << 10;
/// How long a client may take for a request's head, which no program needs.
const HEAD: Duration = Duration::from_secs(10);
/// How long for its body.
const PATIENCE: Duration = Duration::from_secs(30);

/// See [`super::serve`].
pub async fn serve(api: Arc<Api>, listener: UnixListener) -> anyhow::Result<()> {
    let owner = rustix::process::geteuid().as_raw();
    let (free, refusals) = (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(Semaphore::new(REFUSALS)));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // No descriptors or no memory, most likely: others give some back.
                tracing::warn!("cannot accept a connection on the socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if !socket::may_enter(&stream, owner) {
            continue;
        }
        // Nobody who asks waits behind clients that watch for days, or that say nothing.
        if let Ok(permit) = Arc::clone(&free).try_acquire_owned() {
            let api = Arc::clone(&api);
            tokio::spawn(async move {
                let _permit = permit;
                connection(Some(api), stream).await;
            });
        } else if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
            tokio::spawn(async move {
                let _permit = permit;
                let _ = tokio::time::timeout(Duration::from_secs(1), connection(None, stream)).await;
            });
        }
    }
}

/// Answers requests; without an API each is refused.
async fn connection(api: Option<Arc<Api>>, stream: UnixStream) {
    let service = service_fn(move |request| {
        let api = api.clone();
        async move {
            let answer = match &api {
                Some(api) => answer(api, request).await,
                None => Err(Failure::new(
                    503,
                    format!(
                        "{CONNECTIONS} connections to the agent are open, and it takes no more: end some"
                    ),
                )),
            };
            Ok::<_, std::convert::Infallible>(answer.unwrap_or_else(Failure::answer))
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        // A client that went away in the middle: its own business.
        tracing::debug!("connection to the socket ended: {error}");
    }
}

async fn answer(api: &Arc<Api>, request: Request<Incoming>) -> Result<Answer, Failure> {
    let route = Route::parse(request.uri().path(), request.uri().query().unwrap_or_default())?;
    let method = request.method().clone();
    match (&method, route) {
        (&Method::GET, Route::Version) => Ok(read::version()),
        (&Method::GET, Route::Health) => Ok(answer::text("ok")),
        (&Method::GET, Route::Stats(query)) => stats::all(api, &query).await,
        (&Method::POST, Route::Apply(query)) => write::apply(api, query, body(request).await?).await,
        (&Method::GET, Route::Objects(list)) if list.query.flag("watch") => watch::start(api, &list),
        (&Method::GET, Route::Objects(list)) => read::list(api, &list),
        (&Method::POST, Route::Objects(list)) => write::create(api, list, body(request).await?).await,
        (method, Route::Object(key, sub, query)) => match (method, sub) {
            (&Method::GET, Sub::None | Sub::Status) => read::get(api, &key),
            (&Method::PUT, Sub::None) => write::replace(api, key, body(request).await?).await,
            (&Method::PATCH, Sub::None) => write::patch(api, key, body(request).await?).await,
            (&Method::DELETE, Sub::None) => write::delete(api, key, query, body(request).await?).await,
            (&Method::GET, Sub::Scale) => rollout::scale(api, &key),
            (&Method::PUT | &Method::PATCH, Sub::Scale) => {
                rollout::set_scale(api, key, body(request).await?).await
            }
            (&Method::GET, Sub::Rollout) => rollout::status(api, &key),
            (&Method::GET, Sub::History) => rollout::history(api, &key),
            (&Method::POST, Sub::Rollback) => rollout::rollback(api, key, &query).await,
            (&Method::GET, Sub::Log) => log::start(api, &key, &query).await,
            (&Method::POST | &Method::GET, Sub::Exec) => streams::exec(api, &key, &query).await,
            (&Method::POST | &Method::GET, Sub::Attach) => streams::attach(api, &key, &query).await,
            (&Method::POST | &Method::GET, Sub::PortForward) => {
                streams::port_forward(api, &key, &query).await
            }
            (method, _) => Err(Failure::method(method)),
        },
        (method, _) => Err(Failure::method(method)),
    }
}

/// All of a request's body, within limits of size and time.
async fn body(request: Request<Incoming>) -> Result<Bytes, Failure> {
    let too_long = || Failure::new(413, "the request's body is longer than 10 MiB: apply less at a time");
    if request.body().size_hint().lower() > BODY as u64 {
        return Err(too_long());
    }
    let read = tokio::time::timeout(PATIENCE, Limited::new(request.into_body(), BODY).collect());
    match read.await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_long()),
        Ok(Err(error)) => Err(Failure::new(400, format!("cannot read the request's body: {error}"))),
        Err(_) => Err(Failure::new(408, format!("the request's body did not come within {PATIENCE:?}"))),
    }
}
