//! The HTTP server: `GET /metrics`, one request a connection.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::text;
use crate::http::{self, Answer};

/// Connections at a time: a scraper has one. More wait to be accepted.
const CONNECTIONS: usize = 16;
/// A connection's whole time: who never reads keeps no place.
const CONNECTION: Duration = Duration::from_secs(10);

/// Serves what `metrics` says until the task is dropped; it may block.
pub async fn serve<F: Fn() -> String + Send + Sync + 'static>(listener: TcpListener, metrics: Arc<F>) {
    http::accept("metrics", listener, CONNECTIONS, |socket, place| {
        let metrics = Arc::clone(&metrics);
        tokio::spawn(async move {
            match tokio::time::timeout(CONNECTION, connection(socket, metrics)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a metrics client's request"),
                Err(_) => tracing::debug!("a metrics client took too long"),
            }
            drop(place);
        });
    })
    .await;
}

async fn connection<F: Fn() -> String + Send + Sync + 'static>(
    socket: TcpStream,
    metrics: Arc<F>,
) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let metrics = Arc::clone(&metrics);
        async move { answer(&request, metrics).await }
    });
    let mut protocol = http::protocol();
    // Who has asked and sends no more is answered, too.
    protocol.keep_alive(false).half_close(true).serve_connection(TokioIo::new(socket), service).await
}

async fn answer<F: Fn() -> String + Send + Sync + 'static>(
    request: &hyper::Request<hyper::body::Incoming>,
    metrics: Arc<F>,
) -> Result<Answer, std::convert::Infallible> {
    if request.uri().path() != "/metrics" {
        return Ok(http::text(StatusCode::NOT_FOUND, HeaderMap::new(), "only /metrics is served"));
    }
    if *request.method() != Method::GET {
        let allow = HeaderMap::from_iter([(ALLOW, HeaderValue::from_static("GET"))]);
        return Ok(http::text(StatusCode::METHOD_NOT_ALLOWED, allow, "only GET is served"));
    }
    let Ok(metrics) = tokio::task::spawn_blocking(move || metrics()).await else {
        let message = "the metrics could not be gathered";
        return Ok(http::text(StatusCode::INTERNAL_SERVER_ERROR, HeaderMap::new(), message));
    };
    let mut answer = Response::new(Full::from(metrics));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(text::CONTENT_TYPE));
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    async fn served() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Arc::new(|| "up 1\n".to_owned())));
        address
    }

    async fn ask(mut stream: TcpStream, request: &str) -> String {
        let request = format!("{request} HTTP/1.1\r\nHost: it\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.to_lowercase()
    }

    #[tokio::test]
    async fn only_get_and_only_metrics_are_served() {
        let address = served().await;
        let ask = async |request: &str| ask(TcpStream::connect(address).await.unwrap(), request).await;
        let answer = ask("GET /metrics?x=1").await;
        assert!(answer.starts_with("http/1.1 200 ") && answer.ends_with("\r\n\r\nup 1\n"), "{answer}");
        assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
        for path in ["/", "/metrics/", "/debug"] {
            assert!(ask(&format!("GET {path}")).await.starts_with("http/1.1 404 "), "{path}");
        }
        for method in ["POST", "HEAD", "DELETE"] {
            let answer = ask(&format!("{method} /metrics")).await;
            assert!(answer.starts_with("http/1.1 405 ") && answer.contains("allow: get\r\n"), "{answer}");
        }
    }

    #[tokio::test]
    async fn more_clients_than_places_wait_until_one_is_gone() {
        let address = served().await;
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let late = TcpStream::connect(address).await.unwrap();
        let mut late = tokio::spawn(ask(late, "GET /metrics"));
        assert!(timeout(Duration::from_millis(100), &mut late).await.is_err(), "served beside all others");
        idle.pop();
        let answer = timeout(Duration::from_secs(60), late).await.expect("in time").unwrap();
        assert!(answer.ends_with("up 1\n"), "{answer}");
    }
}
