//! The two ports: connections are accepted here, and handed to pingora.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ServerApp};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_proxy::HttpProxy;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::certificates;
use super::connection::{Connection, Head};
use super::proxy::{Current, HEAD, Proxy};

/// Connections at a time, of both ports. Each costs two descriptors.
const CONNECTIONS: usize = 4096;
/// For TLS' handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A connection waits so long for its next request.
const KEEPALIVE_SECONDS: u64 = 60;
/// And that has to have come, line and headers, after so long.
const HEAD_TIME: Duration = Duration::from_secs(75);
/// While no descriptors are left.
const PAUSE: Duration = Duration::from_millis(100);

/// What serves connections.
pub struct Server {
    proxy: Arc<HttpProxy<Proxy>>,
    connections: Arc<Semaphore>,
    shutdown: watch::Receiver<bool>,
    head_time: Duration,
}

impl Server {
    /// `shutdown`: its sender has to live as long as the server.
    pub fn new(proxy: Proxy, shutdown: watch::Receiver<bool>) -> Self {
        // pingora's own timers need a thread that wakes up a hundred times a second.
        pingora_timeout::fast_timeout::set_fast_timeout_to_tokio_threshold(Some(Duration::ZERO));
        let configuration =
            pingora_core::server::configuration::ServerConf { threads: 2, ..Default::default() };
        let mut proxy = pingora_proxy::http_proxy(&Arc::new(configuration), proxy);
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(Duration::from_secs(KEEPALIVE_SECONDS));
        proxy.server_options = Some(options);
        let proxy = Arc::new(proxy);
        Self { proxy, connections: Arc::new(Semaphore::new(CONNECTIONS)), shutdown, head_time: HEAD_TIME }
    }

    /// Accepts connections for ever. Dropping it ends those, too, that are not accepted yet, and no others.
    pub async fn accept(self: Arc<Self>, listener: TcpListener, tls: Option<TlsAcceptor>) {
        loop {
            let Ok(permit) = self.connections.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (server, tls) = (self.clone(), tls.clone());
                    tokio::spawn(async move {
                        server.serve(stream, tls).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!("ingress: cannot accept a connection: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn serve(&self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Best effort: the socket works without.
        let _ = stream.set_nodelay(true);
        let head = Arc::new(Head::default());
        let Some(tls) = tls else {
            return self.http1(Box::new(Connection::plain(stream, head.clone())), head).await;
        };
        let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(stream)).await else { return };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let connection = Box::new(Connection::tls(stream, head.clone()));
        if http2 {
            self.proxy.process_new(connection, &self.shutdown).await;
        } else {
            self.http1(connection, head).await;
        }
    }

    /// One request after the other.
    async fn http1(&self, stream: Stream, head: Arc<Head>) {
        let mut session = ServerSession::new_http1(stream);
        session.set_keepalive(Some(KEEPALIVE_SECONDS));
        loop {
            head.begin();
            let request = HEAD.scope(head.clone(), self.proxy.process_new_http(session, &self.shutdown));
            let Some(reused) = self.in_time(request, &head).await else { return };
            let (stream, settings) = reused.consume();
            session = ServerSession::new_http1(stream);
            settings
                .unwrap_or_else(|| HttpPersistentSettings::for_session(&session))
                .apply_to_session(&mut session);
        }
    }

    /// None: the connection is over, also because its request's head did not come in time.
    async fn in_time<T>(&self, request: impl Future<Output = Option<T>>, head: &Head) -> Option<T> {
        tokio::pin!(request);
        match timeout(self.head_time, &mut request).await {
            Ok(done) => done,
            Err(_) if head.is_complete() => request.await,
            Err(_) => None,
        }
    }
}

/// TLS with the certificates of the rules as they are at each handshake.
pub fn tls(current: Arc<Current>) -> anyhow::Result<TlsAcceptor> {
    let resolver = Resolver { current, fallback: Arc::new(certificates::fallback()?) };
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(certificates::provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[derive(Debug)]
struct Resolver {
    current: Arc<Current>,
    fallback: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        self.current.get().certificates.find(name.as_deref()).or_else(|| Some(self.fallback.clone()))
    }
}

/// Listens on a port; the error names who else does.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| {
        let holder = match error.kind() {
            std::io::ErrorKind::AddrInUse => super::holder::of_port(address.port()),
            _ => None,
        };
        let holder = holder.map(|holder| format!(" ({holder})")).unwrap_or_default();
        format!("cannot listen on {address}: {error}{holder}")
    })
}

/// For tests: a server without rules that gives heads of requests little time.
#[cfg(test)]
pub async fn short(head_time: Duration) -> (TcpListener, Arc<Server>) {
    let (current, counters) = (Arc::default(), Arc::default());
    // Without a sender the server never hears of a shutdown, which is what is wanted.
    let (_, shutdown) = watch::channel(false);
    let server = Server::new(Proxy { current, counters, https_port: 443 }, shutdown);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    (listener, Arc::new(Server { head_time, ..server }))
}
