//! What the HTTP/1.1 servers ([`crate::streaming`], [`crate::metrics`]) have in common.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioTimer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a request's headers may take.
const HEADERS: Duration = Duration::from_secs(10);

/// A whole answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Gives `serve` each connection with its place, of which there are `places`: more clients wait to be accepted. Serves until the
/// task is dropped.
pub(crate) async fn accept(
    server: &'static str,
    listener: TcpListener,
    places: usize,
    serve: impl Fn(TcpStream, OwnedSemaphorePermit),
) {
    let places = Arc::new(Semaphore::new(places));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, _)) => serve(socket, place),
            Err(error) => {
                // Of descriptors there may be some again soon; what else there is concerns one client.
                tracing::warn!(server, %error, "a client cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// How requests are read: not for ever, and not without end.
pub(crate) fn protocol() -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(32 * 1024);
    protocol
}

/// One line for people.
pub(crate) fn text(status: StatusCode, headers: HeaderMap, message: &str) -> Answer {
    let mut answer = Response::new(Full::from(format!("{message}\n")));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}
