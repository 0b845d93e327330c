use std::sync::Arc;

use base64::Engine as _;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::world::{World, ask_on, ingress, service, until, until_async};
use crate::ingress::certificates::provider;

/// A Secret of type kubernetes.io/tls, and its certificate.
fn secret(name: &str, host: &str) -> (Value, CertificateDer<'static>) {
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec![host.to_owned()])
        .and_then(|params| params.self_signed(&key))
        .expect("a certificate");
    let encode = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    let value = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"namespace": "web", "name": name},
        "data": {"tls.crt": encode(certificate.pem()), "tls.key": encode(key.serialize_pem())}});
    (value, certificate.der().clone())
}

/// A connection that trusts one certificate, and asks for protocols.
async fn connect(
    world: &World,
    host: &'static str,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a root");
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(world.https).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(host).expect("a name"), stream).await
}

async fn world() -> (World, CertificateDer<'static>) {
    let tls = json!([{"hosts": ["www.example.com", "old.example.com"], "secretName": "cert"}]);
    let rules = [("www.example.com", "/", "a"), ("plain.example.com", "/", "a")];
    let (secret, certificate) = secret("cert", "www.example.com");
    let mut world = World::new(vec![ingress(&rules, tls), secret]).await;
    let a = world.server("a").await;
    service("a", &[a]).into_iter().for_each(|value| world.put(value));
    until_async(async || world.get("plain.example.com", "/").await.contains("200 OK")).await;
    (world, certificate)
}

#[tokio::test]
async fn tls_comes_from_the_secret_and_plain_requests_are_led_there() {
    let (world, certificate) = world().await;
    let plain = world.get("www.example.com", "/x?y=1").await;
    assert!(plain.starts_with("HTTP/1.1 308"), "{plain}");
    let location = format!("location: https://www.example.com:{}/x?y=1\r", world.https.port());
    assert!(plain.to_ascii_lowercase().contains(&location), "{plain}");
    let mut stream = connect(&world, "www.example.com", &certificate, &["http/1.1"]).await.expect("trusted");
    let answer =
        ask_on(&mut stream, "GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("a got 0 bytes"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\nx-forwarded-proto: https\r"), "{answer}");
}

#[tokio::test]
async fn a_new_certificate_is_used_at_once_and_connections_go_on() {
    let (world, before) = world().await;
    let mut open = connect(&world, "www.example.com", &before, &[]).await.expect("trusted");
    let (renewed, after) = secret("cert", "www.example.com");
    world.put(renewed);
    until_async(async || connect(&world, "www.example.com", &after, &[]).await.is_ok()).await;
    assert!(connect(&world, "www.example.com", &before, &[]).await.is_err());
    let answer =
        ask_on(&mut open, "GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("200 OK"), "{answer}");
}

#[tokio::test]
async fn without_a_good_secret_there_is_a_fallback_and_an_event() {
    let (world, before) = world().await;
    let broken = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "web", "name": "cert"},
        "data": {"tls.crt": "aGlkZGVuIHdvcmRz"}});
    world.put(broken);
    until(|| world.events().contains(&"CertificateInvalid: secret web/cert: data.tls.crt holds no certificate in PEM: clients get a self-signed certificate".to_owned())).await;
    let error = connect(&world, "www.example.com", &before, &[]).await.expect_err("another certificate");
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    // It is not trusted, and it is there.
    let error = connect(&world, "nobody.example.com", &before, &[]).await.expect_err("another certificate");
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
}

#[tokio::test]
async fn http2_is_spoken_where_the_client_does() {
    let (world, certificate) = world().await;
    let stream =
        connect(&world, "www.example.com", &certificate, &["h2", "http/1.1"]).await.expect("trusted");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    for path in ["one", "two"] {
        let request =
            http::Request::get(format!("https://www.example.com/{path}")).body(()).expect("a request");
        let (response, _) = client.send_request(request, true).expect("it is sent");
        let response = response.await.expect("an answer");
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let mut text = Vec::new();
        while let Some(part) = body.data().await {
            let part = part.expect("a part");
            let _ = body.flow_control().release_capacity(part.len());
            text.extend_from_slice(&part);
        }
        let text = String::from_utf8_lossy(&text).to_ascii_lowercase();
        assert!(text.contains(&format!("get /{path} http/1.1\r")), "{text}");
        assert!(
            text.contains("\nhost: www.example.com\r")
                && text.contains("\nx-forwarded-host: www.example.com\r"),
            "{text}"
        );
    }
    connection.abort();
}
