use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::node::hook;

/// A server on loopback, which ends with the test.
struct Server {
    at: SocketAddr,
    tasks: JoinSet<()>,
}

/// What is answered to a request's head.
type Answer = fn(&str) -> String;

impl Server {
    async fn start(answer: Answer, tls: Option<TlsAcceptor>) -> Self {
        // A host of its own: nobody gets the port when it is free again.
        static CALLS: AtomicU8 = AtomicU8::new(0);
        let host = [127, 2, std::process::id() as u8, CALLS.fetch_add(1, Ordering::Relaxed)];
        let listener = TcpListener::bind((Ipv4Addr::from(host), 0)).await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let tls = tls.clone();
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, answer).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, answer).await;
                            }
                        }
                    }
                });
            }
        });
        Self { at, tasks }
    }

    /// When this returns nobody listens.
    async fn end(mut self) -> SocketAddr {
        self.tasks.shutdown().await;
        self.at
    }

    /// A probe of it.
    async fn ask(&self, probe: Value) -> Result<(bool, String), String> {
        ask_at(self.at, probe).await
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: Answer) {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    // Whoever speaks something else gets its answer at once.
    while !head.ends_with(b"\r\n\r\n") && (head.is_empty() || head.starts_with(b"GET")) {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => head.extend_from_slice(&buffer[..length]),
        }
    }
    let answer = answer(&String::from_utf8_lossy(&head));
    let _ = stream.write_all(answer.as_bytes()).await;
    if answer.ends_with("hangs") {
        std::future::pending::<()>().await;
    }
    let _ = stream.shutdown().await;
}

fn container(port: u16) -> Container {
    let ports = json!([{"name": "web", "containerPort": port}]);
    let env = json!([{"name": "A", "value": "a"}, {"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    serde_json::from_value(json!({"name": "main", "ports": ports, "env": env})).expect("a container")
}

async fn ask_at(at: SocketAddr, probe: Value) -> Result<(bool, String), String> {
    let probe: Probe = serde_json::from_value(probe).expect("a probe");
    let runtime = Runtime::at("unix:///nowhere/cri.sock").expect("a runtime");
    ask(&runtime, &Pod::default(), &container(at.port()), "id", &probe, &[at.ip()]).await
}

fn path(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

fn answer(head: &str) -> String {
    let status = |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
    let to =
        |location: &str| format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    match path(head) {
        "/ok?x=%20y" | "/ok" => status("200 OK"),
        "/399" => status("399 Fine"),
        "/400" => status("400 Bad Request"),
        "/503" => status("503 Service Unavailable"),
        "/to-ok" => to("ok"),
        "/to-503" => to("/503"),
        "/loop" => to("/loop"),
        "/elsewhere" => to("http://192.0.2.9/"),
        "/nowhere" => "HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n".into(),
        "/long" => format!("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{}hangs", "x".repeat(11 << 10)),
        "/short" => "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nhangs".into(),
        "/cut" => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx".into(),
        "/noise" => "SSH-2.0-x\r\n\r\n".into(),
        "/head" => {
            let lower = head.to_ascii_lowercase();
            let wanted = [
                "x-a: 1\r\n",
                "x-a: 2\r\n",
                "host: example.org\r\n",
                "user-agent: kube-probe/1.37\r\n",
                "connection: close\r\n",
            ];
            let all = wanted.iter().all(|line| lower.contains(line)) && !lower.contains("accept");
            status(if all { "200 OK" } else { "400 Bad Request" })
        }
        _ => status("404 Not Found"),
    }
}

#[tokio::test]
async fn http_succeeds_below_400() {
    let server = Server::start(answer, None).await;
    let port = server.at.port();
    let base = format!("http://{}", server.at);
    for (path, wanted) in [
        ("/ok", Ok(())),
        ("ok?x= y", Ok(())),
        ("/399", Ok(())),
        ("/400", Err("HTTP probe failed with statuscode: 400".into())),
        ("/503", Err("HTTP probe failed with statuscode: 503".into())),
        ("/to-ok", Ok(())),
        ("/to-503", Err("HTTP probe failed with statuscode: 503".into())),
        ("/loop", Err(format!("GET {base}/loop: stopped after 10 redirects"))),
        ("/elsewhere", Ok(())),
        ("/nowhere", Ok(())),
        ("/long", Ok(())),
        ("/short", Err("no answer within 1 s".into())),
        ("/cut", Err(format!("GET {base}/cut: its body: end of file before message length reached"))),
        ("/noise", Err(format!("GET {base}/noise: invalid HTTP version parsed"))),
    ] {
        let limit = if path == "/short" { 1 } else { 60 };
        for port in [json!(port), json!("web")] {
            let probe = json!({"timeoutSeconds": limit, "httpGet": {"path": path, "port": port}});
            let wanted = match &wanted {
                Ok(()) => (true, String::new()),
                Err(message) => (false, message.clone()),
            };
            assert_eq!(server.ask(probe).await, Ok(wanted), "{path}");
        }
    }
}

#[tokio::test]
async fn http_headers_are_the_probes() {
    let server = Server::start(answer, None).await;
    let headers = |all: &[(&str, &str)]| {
        let all: Vec<_> = all.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        json!({"timeoutSeconds": 60, "httpGet": {"path": "/head", "port": "web", "httpHeaders": all}})
    };
    let wanted = headers(&[("X-A", "1"), ("X-A", "2"), ("Host", "example.org"), ("Accept", "")]);
    assert_eq!(server.ask(wanted).await, Ok((true, String::new())));
    let (success, message) = server.ask(headers(&[("X-A", "pass\nword")])).await.expect("an answer");
    assert!(!success && message.contains("x-a") && !message.contains("word"), "{message}");
}

fn acceptor() -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["example.org".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config =
        config.expect("versions").with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
    TlsAcceptor::from(Arc::new(config.expect("a configuration")))
}

#[tokio::test]
async fn https_takes_any_certificate() {
    let server = Server::start(answer, Some(acceptor())).await;
    let probe = |scheme: &str| json!({"timeoutSeconds": 60, "httpGet": {"path": "/to-ok", "port": "web", "scheme": scheme}});
    assert_eq!(server.ask(probe("HTTPS")).await, Ok((true, String::new())));
    let (success, _) = server.ask(probe("HTTP")).await.expect("an answer");
    assert!(!success);
    let plain = Server::start(answer, None).await;
    let (success, message) = plain.ask(probe("HTTPS")).await.expect("an answer");
    assert!(!success && message.contains("TLS: "), "{message}");
}

#[tokio::test]
async fn tcp_succeeds_where_somebody_listens() {
    let server = Server::start(answer, None).await;
    let probe = json!({"timeoutSeconds": 60, "tcpSocket": {"port": "web"}});
    assert_eq!(server.ask(probe.clone()).await, Ok((true, String::new())));
    let at = server.end().await;
    let refused = Ok((false, format!("cannot connect to {at}: connection refused")));
    assert_eq!(ask_at(at, probe).await, refused);
    let http = json!({"timeoutSeconds": 60, "httpGet": {"port": "web", "path": "/ok"}});
    let refused = Ok((false, format!("GET http://{at}/ok: cannot connect to {at}: connection refused")));
    assert_eq!(ask_at(at, http).await, refused);
}

#[tokio::test]
async fn what_cannot_be_asked_is_no_failure_of_the_container() {
    let at = SocketAddr::from(([127, 0, 0, 1], 1));
    for (probe, wanted) in [
        (
            json!({"tcpSocket": {"port": "none"}}),
            "port \"none\": neither a port's number nor the name of a port of the container",
        ),
        (json!({"tcpSocket": {"port": 70000}}), "port 70000: neither"),
        (json!({}), "the probe has none of exec, httpGet, tcpSocket, grpc"),
        (json!({"exec": {"command": ["true"]}}), "cri.sock"),
    ] {
        let error = ask_at(at, probe.clone()).await;
        // The runtime's own words are tonic's where there is no runtime.
        assert!(
            matches!(&error, Err(why) if why.contains(wanted) || probe.get("exec").is_some()),
            "{error:?}"
        );
    }
}

/// A gRPC server's answer: the status in a message, or a gRPC error.
async fn health(service: &'static str, status: i32) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                    tokio::spawn(checked(request.into_body(), respond, service, status));
                }
            });
        }
    });
    Server { at, tasks }
}

async fn checked(
    mut body: h2::RecvStream,
    mut respond: h2::server::SendResponse<Bytes>,
    service: &str,
    status: i32,
) {
    let mut bytes = BytesMut::new();
    while let Some(Ok(part)) = body.data().await {
        bytes.extend_from_slice(&part);
    }
    let asked = grpc::HealthCheckRequest::decode(&bytes[5..]).expect("a request");
    let head = hyper::Response::builder().header("content-type", "application/grpc");
    let code = if asked.service == service { "0" } else { "5" };
    let mut stream = respond.send_response(head.body(()).expect("a head"), false).expect("sent");
    if code == "0" {
        let message = grpc::HealthCheckResponse { status }.encode_to_vec();
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len()).expect("short"));
        frame.extend_from_slice(&message);
        stream.send_data(frame.freeze(), false).expect("sent");
    }
    let trailers = [("grpc-status", code)]
        .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
    stream.send_trailers(trailers.into_iter().collect()).expect("sent");
}

#[tokio::test]
async fn grpc_asks_for_health() {
    let serving = health("db", grpc::SERVING).await;
    let probe =
        |service: &str, port: u16| json!({"timeoutSeconds": 60, "grpc": {"port": port, "service": service}});
    let port = serving.at.port();
    assert_eq!(serving.ask(probe("db", port)).await, Ok((true, String::new())));
    assert_eq!(
        serving.ask(probe("other", port)).await,
        Ok((false, "the server knows no service \"other\"".into()))
    );
    let not = health("", 2).await;
    let answer = not.ask(probe("", not.at.port())).await;
    assert_eq!(answer, Ok((false, "service unhealthy (responded with \"NOT_SERVING\")".into())));
    let plain = Server::start(answer_noise, None).await;
    let (success, _) = plain.ask(probe("", plain.at.port())).await.expect("an answer");
    assert!(!success);
}

fn answer_noise(_: &str) -> String {
    "noise\r\n\r\n".into()
}

#[tokio::test]
async fn hooks_are_called() {
    let server = Server::start(answer, None).await;
    let runtime = Runtime::at("unix:///nowhere/cri.sock").expect("a runtime");
    let call = async |handler: Value, limit: Duration| {
        let handler = serde_json::from_value(handler).expect("a handler");
        let container = container(server.at.port());
        hook::call(&runtime, &Pod::default(), &container, "id", &handler, &[server.at.ip()], limit).await
    };
    let long = Duration::from_secs(60);
    // Kubelet does not look at the status, either.
    assert_eq!(call(json!({"httpGet": {"port": "web", "path": "/503"}}), long).await, Ok(()));
    assert_eq!(call(json!({"sleep": {"seconds": 0}}), long).await, Ok(()));
    let late = call(json!({"sleep": {"seconds": 3600}}), Duration::from_millis(10)).await;
    assert_eq!(late, Err("it did not end within 0.01 s".into()));
    assert!(call(json!({"httpGet": {"port": "none"}}), long).await.is_err());
    assert!(call(json!({}), long).await.is_err());
    assert!(call(json!({"exec": {"command": ["true"]}}), long).await.is_err());
}

#[test]
fn commands_know_what_env_says_outright() {
    let words = ["$(A)", "[$(F)]", "$(NONE)", "$$(A)"].map(ToOwned::to_owned);
    assert_eq!(command(&container(1), &words), ["a", "[]", "$(NONE)", "$(A)"]);
}

#[test]
fn what_containers_say_becomes_one_line() {
    assert_eq!(one_line(b" a\n\tb\x1b[1m \xff"), "a b [1m \u{fffd}");
    assert_eq!(one_line(&[b'x'; 5000]).len(), 1024);
}
