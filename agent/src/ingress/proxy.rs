//! What happens to a request: found in the table, led to an endpoint, answered by the proxy itself where there is none.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{ConnectTimedout, Error, ErrorSource, ErrorType, ReadTimedout, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

use super::certificates::Certificates;
use super::connection::Head;
use super::table::{Answer, Backend, Table};
use crate::metrics::Counters;

/// As nginx' defaults: for a connection to an endpoint,
const CONNECT: Duration = Duration::from_secs(5);
/// for each read and write after that, on either side,
const SILENCE: Duration = Duration::from_secs(60);
/// and for WebSockets, which are silent for longer.
const SILENCE_UPGRADED: Duration = Duration::from_secs(3600);
/// Connections to endpoints are kept for this long. Many servers close theirs after five seconds; this is before that.
const IDLE: Duration = Duration::from_secs(4);
/// The rest of a body that nobody read is waited for so long, before its connection serves another request.
const DRAIN: Duration = Duration::from_secs(5);
/// Endpoints that are tried for one request.
const TRIES: usize = 4;

tokio::task_local! {
    /// The head of the request that this task reads.
    pub static HEAD: Arc<Head>;
}

/// What is served at the moment.
#[derive(Debug, Default)]
pub struct Rules {
    /// Routes.
    pub table: Table,
    /// And certificates.
    pub certificates: Certificates,
}

/// Rules that are replaced while requests go on with those that they began with.
#[derive(Debug, Default)]
pub struct Current(RwLock<Arc<Rules>>);

impl Current {
    /// The rules as of now.
    pub fn get(&self) -> Arc<Rules> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From the next request on.
    pub fn set(&self, rules: Arc<Rules>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }
}

/// The proxy, as pingora asks for it.
pub struct Proxy {
    /// Rules.
    pub current: Arc<Current>,
    /// Where requests are counted.
    pub counters: Arc<Counters>,
    /// The port that redirects lead to.
    pub https_port: u16,
}

/// What is known of one request.
pub struct Request {
    began: Instant,
    backend: Option<Arc<Backend>>,
    tried: usize,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Request;

    fn new_ctx(&self) -> Request {
        Request { began: Instant::now(), backend: None, tried: 0 }
    }

    // No compression of ours.
    fn init_downstream_modules(&self, _: &mut pingora_core::modules::http::HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, _: &mut Request) -> Result<()> {
        // Streams of HTTP/2 are in tasks of their own.
        let _ = HEAD.try_with(|head| head.end());
        let client = session.as_downstream_mut();
        let silence = if client.is_upgrade_req() { SILENCE_UPGRADED } else { SILENCE };
        client.set_read_timeout(Some(silence));
        client.set_write_timeout(Some(silence));
        client.set_total_drain_timeout(Some(DRAIN));
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, request: &mut Request) -> Result<bool> {
        let tls = is_tls(session.as_downstream().digest());
        let header = session.req_header();
        let Some(authority) = authority(header) else {
            answer(session, 400, "the request names no host, or more than one\n").await?;
            return Ok(true);
        };
        let host = host_of(&authority);
        match self.current.get().table.find(&host, header.uri.path(), tls) {
            None => answer(session, 404, "no ingress has a rule for this host and path\n").await?,
            Some(Answer::Secure(backend)) => {
                let location = secure_location(&host, self.https_port, header);
                request.backend = Some(backend);
                redirect(session, &location).await?;
            }
            Some(Answer::Backend(backend)) if backend.endpoints() == 0 => {
                let why = format!("no endpoint of service {} is ready\n", backend.name);
                request.backend = Some(backend);
                answer(session, 503, &why).await?;
            }
            Some(Answer::Backend(backend)) => {
                request.backend = Some(backend);
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn upstream_peer(&self, session: &mut Session, request: &mut Request) -> Result<Box<HttpPeer>> {
        if request.tried > 0 {
            // Endpoints may have changed since the request came: the table is asked again.
            let header = session.req_header();
            let host = authority(header).map(|authority| host_of(&authority)).unwrap_or_default();
            if let Some(Answer::Backend(backend)) =
                self.current.get().table.find(&host, header.uri.path(), true)
            {
                request.backend = Some(backend);
            }
        }
        let Some(address) = request.backend.as_ref().and_then(|backend| backend.next()) else {
            return Err(Error::explain(ErrorType::HTTPStatus(503), "no endpoint is ready"));
        };
        let mut peer = HttpPeer::new(address, false, String::new());
        let silence = if session.as_downstream().is_upgrade_req() { SILENCE_UPGRADED } else { SILENCE };
        peer.options.connection_timeout = Some(CONNECT);
        peer.options.total_connection_timeout = Some(CONNECT);
        peer.options.read_timeout = Some(silence);
        peer.options.write_timeout = Some(silence);
        peer.options.idle_timeout = Some(IDLE);
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        _: &mut Request,
    ) -> Result<()> {
        let digest = session.as_downstream().digest();
        let tls = is_tls(digest);
        // What clients say of themselves is not believed: the agent is the edge.
        upstream.remove_header("Forwarded");
        let socket = digest.and_then(|digest| digest.socket_digest.as_ref());
        match socket.and_then(|socket| socket.peer_addr()?.as_inet()) {
            Some(client) => {
                let client = client.ip().to_canonical().to_string();
                upstream.insert_header("X-Forwarded-For", &client)?;
                upstream.insert_header("X-Real-IP", &client)?;
            }
            None => {
                upstream.remove_header("X-Forwarded-For");
                upstream.remove_header("X-Real-IP");
            }
        }
        let local = socket.and_then(|socket| socket.local_addr()?.as_inet());
        let port = local.map_or(if tls { 443 } else { 80 }, SocketAddr::port);
        upstream.insert_header("X-Forwarded-Proto", if tls { "https" } else { "http" })?;
        upstream.insert_header("X-Forwarded-Port", port.to_string())?;
        match authority(session.req_header()) {
            Some(host) => upstream.insert_header("X-Forwarded-Host", host)?,
            None => drop(upstream.remove_header("X-Forwarded-Host")),
        }
        Ok(())
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        request: &mut Request,
        mut error: Box<Error>,
    ) -> Box<Error> {
        // Nothing of the request was sent: any method may go to another endpoint.
        request.tried += 1;
        let endpoints = request.backend.as_ref().map_or(0, |backend| backend.endpoints());
        error.set_retry(request.tried < endpoints.clamp(2, TRIES));
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, _: &mut Request) -> FailToProxy {
        let code = match (error.etype(), error.esource()) {
            (ErrorType::HTTPStatus(code), _) => *code,
            (ConnectTimedout | ReadTimedout, ErrorSource::Upstream) => 504,
            (_, ErrorSource::Upstream) => 502,
            (
                ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed,
                ErrorSource::Downstream,
            ) => 0,
            (ReadTimedout, ErrorSource::Downstream) => 408,
            (_, ErrorSource::Downstream) => 400,
            _ => 500,
        };
        if code > 0 {
            // The client may be gone.
            let _ = session.respond_error(code).await;
        }
        FailToProxy { error_code: code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, request: &mut Request) {
        let status = session.response_written().map_or(0, |response| response.status.as_u16());
        let host = request.backend.as_ref().map(|backend| backend.host.as_str());
        self.counters.ingress(host, status, request.began.elapsed());
        if let Some(error) = error {
            let backend = request.backend.as_ref().map_or("none", |backend| &backend.name);
            tracing::debug!(backend, status, "a request failed: {error}");
        }
    }
}

fn is_tls(digest: Option<&Digest>) -> bool {
    digest.is_some_and(|digest| digest.ssl_digest.is_some())
}

/// Host and port as the client named them. None: not at all, or not clearly; HTTP/1.0 may leave them out.
fn authority(header: &RequestHeader) -> Option<String> {
    if let Some(authority) = header.uri.authority() {
        return Some(authority.as_str().to_owned());
    }
    let mut hosts = header.headers.get_all("host").iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().map(str::to_owned),
        (None, _) if header.version < http::Version::HTTP_11 => Some(String::new()),
        _ => None,
    }
}

/// The host of an authority: without port, in lower case, without the dot of the root.
fn host_of(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// The same place over HTTPS.
fn secure_location(host: &str, port: u16, header: &RequestHeader) -> String {
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let path = header.uri.path_and_query().map_or("/", |path| path.as_str());
    format!("https://{host}{port}{path}")
}

async fn redirect(session: &mut Session, location: &str) -> Result<()> {
    let mut response = ResponseHeader::build(308, Some(2))?;
    response.insert_header("Location", location)?;
    response.insert_header("Content-Length", "0")?;
    session.write_response_header(Box::new(response), true).await
}

/// An answer of the proxy's own, after which the connection goes on.
async fn answer(session: &mut Session, status: u16, text: &str) -> Result<()> {
    let mut response = ResponseHeader::build(status, Some(3))?;
    response.insert_header("Content-Type", "text/plain; charset=utf-8")?;
    response.insert_header("Content-Length", text.len().to_string())?;
    let without_body = session.req_header().method == http::Method::HEAD;
    session.write_response_header(Box::new(response), without_body).await?;
    if !without_body {
        session.write_response_body(Some(Bytes::copy_from_slice(text.as_bytes())), true).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_without_port_and_case() {
        for (authority, host) in [
            ("WWW.Example.com:8080", "www.example.com"),
            ("example.com.", "example.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(host_of(authority), host);
        }
    }
}
