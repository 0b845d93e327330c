//! One HTTP GET: of a probe, or of a hook.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use url::Url;

use super::{connect, host, port};

const MOST_REDIRECTS: usize = 10;
/// Bytes of a body that are waited for.
const BODY: usize = 10 << 10;
/// Bytes of a head.
const HEAD: usize = 64 << 10;

/// The status of the answer. Redirects within the host are followed, as kubelet does. An error: there was no answer.
pub async fn get(
    container: &Container,
    action: &HTTPGetAction,
    addresses: &[IpAddr],
    purpose: &str,
) -> Result<u16, String> {
    let host = host(action.host.as_deref(), addresses)?;
    let port = port(container, &action.port)?;
    let mut url = url(action.scheme.as_deref(), &host, port, action.path.as_deref().unwrap_or("/"))?;
    let headers = headers(action, purpose)?;
    let first = url.host_str().map(ToOwned::to_owned);
    for _ in 0..=MOST_REDIRECTS {
        let (status, location) = ask(&url, &headers).await.map_err(|why| format!("GET {url}: {why}"))?;
        let next = match (status, location) {
            (301 | 302 | 303 | 307 | 308, Some(location)) => url.join(&location),
            _ => return Ok(status),
        };
        // What is elsewhere is not this Pod's to answer for.
        match next {
            Ok(next) if next.host_str() == first.as_deref() && matches!(next.scheme(), "http" | "https") => {
                url = next
            }
            Ok(_) => return Ok(status),
            Err(error) => return Err(format!("GET {url}: it redirects to what is no URL: {error}")),
        }
    }
    Err(format!("GET {url}: stopped after {MOST_REDIRECTS} redirects"))
}

fn url(scheme: Option<&str>, host: &str, port: u16, path: &str) -> Result<Url, String> {
    let scheme = scheme.filter(|scheme| !scheme.is_empty()).unwrap_or("http").to_ascii_lowercase();
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let text = format!("{scheme}://{host}:{port}/{}", path.trim_start_matches('/'));
    Url::parse(&text).map_err(|error| format!("httpGet: {text} is no URL: {error}"))
}

fn headers(action: &HTTPGetAction, purpose: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for header in action.http_headers.iter().flatten() {
        // Values may be passwords.
        let name = HeaderName::try_from(&header.name);
        let name = name.map_err(|_| format!("httpGet.httpHeaders: {:?} is no header's name", header.name))?;
        let value = HeaderValue::try_from(&header.value);
        let value =
            value.map_err(|_| format!("httpGet.httpHeaders: {name}: the value is none of a header"))?;
        headers.append(name, value);
    }
    let agent = HeaderValue::try_from(format!("kube-{purpose}/1.37")).map_err(|error| error.to_string())?;
    headers.entry("user-agent").or_insert(agent);
    if headers.get("accept").is_some_and(HeaderValue::is_empty) {
        headers.remove("accept");
    } else {
        headers.entry("accept").or_insert(HeaderValue::from_static("*/*"));
    }
    headers.insert("connection", HeaderValue::from_static("close"));
    Ok(headers)
}

/// The status, and where it redirects to.
async fn ask(url: &Url, headers: &HeaderMap) -> Result<(u16, Option<String>), String> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = connect(host, port).await?;
    if url.scheme() != "https" {
        return exchange(stream, url, headers).await;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let connector = TlsConnector::from(TLS.clone()?);
    let stream = connector.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?;
    exchange(stream, url, headers).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &Url,
    headers: &HeaderMap,
) -> Result<(u16, Option<String>), String> {
    let handshake = http1::Builder::new().max_buf_size(HEAD).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| cause(&error))?;
    // Ends with this function, however that ends.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut request = Request::get(path).body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    *request.headers_mut() = headers.clone();
    if !headers.contains_key("host") {
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let host = HeaderValue::try_from(host).map_err(|error| error.to_string())?;
        request.headers_mut().insert("host", host);
    }
    let response = sender.send_request(request).await.map_err(|error| cause(&error))?;
    let status = response.status().as_u16();
    let location =
        response.headers().get("location").and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    read(response).await?;
    Ok((status, location.filter(|location| !location.is_empty())))
}

/// Whoever does not end its answer has not answered.
async fn read(response: Response<Incoming>) -> Result<(), String> {
    let mut body = response.into_body();
    let mut left = BODY;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("its body: {}", cause(&error)))?;
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            break;
        }
    }
    Ok(())
}

/// The innermost: hyper's own words say little.
fn cause(error: &hyper::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<std::io::Error>() {
        Some(error) => super::words(error),
        None => cause.to_string(),
    }
}

/// Whom a probe asks is known by its address; certificates are for others, and are rarely made for Pods' addresses.
static TLS: LazyLock<Result<Arc<rustls::ClientConfig>, String>> = LazyLock::new(|| {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AnyCertificate(provider.clone()));
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    Ok(Arc::new(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
});

#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
