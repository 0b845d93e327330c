//! Probes of servers that the test itself runs in the node's network, asked in Pods that share it.

use std::convert::Infallible;
use std::future::Future;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::cluster::{Cluster, is_ready};

/// As grpc.health.v1 has them.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// A server of grpc.health.v1.Health: of itself, and of the service `web`, which both serve or do not.
#[derive(Clone, Default)]
struct Health {
    fails: Arc<AtomicBool>,
}

type Answer<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl NamedService for Health {
    const NAME: &'static str = "grpc.health.v1.Health";
}

impl tonic::codegen::Service<http::Request<Body>> for Health {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let health = self.clone();
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(health, request).await) })
    }
}

impl UnaryService<HealthCheckRequest> for Health {
    type Response = HealthCheckResponse;
    type Future = Answer<Response<HealthCheckResponse>, Status>;

    fn call(&mut self, request: Request<HealthCheckRequest>) -> Self::Future {
        let status = if self.fails.load(Ordering::Relaxed) { 2 } else { 1 };
        Box::pin(async move {
            match request.into_inner().service.as_str() {
                "" | "web" => Ok(Response::new(HealthCheckResponse { status })),
                _ => Err(Status::not_found("unknown service")),
            }
        })
    }
}

/// A port of the node.
fn listen(cluster: &Cluster, port: u16) -> tokio::net::TcpListener {
    let listener = cluster.node.in_network(|| TcpListener::bind(("0.0.0.0", port)).expect("a port"));
    listener.set_nonblocking(true).expect("non-blocking");
    let _in = cluster.node.tokio.enter();
    tokio::net::TcpListener::from_std(listener).expect("a listener")
}

/// Pods of one container in the node's network, each with this of the container's fields.
fn pods(all: &[(&str, &str)]) -> String {
    let one = |(name, fields): &(&str, &str)| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{hostNetwork: true, terminationGracePeriodSeconds: 1, \
             containers: [{{name: main, image: 'busybox:1', command: [sleep, '1000'], {fields}}}]}}\n"
        )
    };
    all.iter().map(one).collect()
}

fn container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

#[test]
fn grpc_servers_are_asked_how_they_are() {
    let cluster = cluster!();
    let health = Health::default();
    let incoming = TcpIncoming::from(listen(&cluster, 50051));
    let server = tonic::transport::Server::builder().add_service(health.clone());
    let server = cluster.node.tokio.spawn(server.serve_with_incoming(incoming));
    cluster.apply(&pods(&[
        ("ready", "readinessProbe: {grpc: {port: 50051}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 30}"),
        ("web", "readinessProbe: {grpc: {port: 50051, service: web}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 30}"),
        ("other", "readinessProbe: {grpc: {port: 50051, service: other}, periodSeconds: 1, timeoutSeconds: 30}"),
        ("nobody", "readinessProbe: {grpc: {port: 50052}, periodSeconds: 1, timeoutSeconds: 30}"),
        (
            "live",
            "startupProbe: {grpc: {port: 50051}, periodSeconds: 1, failureThreshold: 1000, timeoutSeconds: 30}, livenessProbe: {grpc: {port: 50051}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 30}",
        ),
    ]));
    for name in ["ready", "web", "live"] {
        cluster.ready(name);
    }
    cluster.tells(&["pod/other", "Readiness probe failed: the server knows no service \"other\""]);
    cluster.tells(&["pod/nobody", "Readiness probe failed: cannot connect to", ":50052: connection refused"]);
    health.fails.store(true, Ordering::Relaxed);
    for name in ["ready", "web"] {
        cluster.wait("pod", name, "not ready", |pod| !is_ready(pod));
    }
    cluster
        .tells(&["pod/ready", "Readiness probe failed: service unhealthy (responded with \"NOT_SERVING\")"]);
    cluster.tells(&["pod/live", "Container main failed liveness probe, will be restarted"]);
    health.fails.store(false, Ordering::Relaxed);
    for name in ["ready", "web"] {
        cluster.ready(name);
    }
    cluster.wait("pod", "live", "ready after a restart", |pod| {
        is_ready(pod) && container(pod)["restartCount"].as_u64() >= Some(1)
    });
    server.abort();
}

/// An HTTPS server that is well only for one who knows the word, and counts the others; it has the certificate of another name.
async fn serve_https(listener: tokio::net::TcpListener, strangers: Arc<AtomicUsize>) {
    let made =
        rcgen::generate_simple_self_signed(vec!["elsewhere.example".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    let config =
        config.with_single_cert(vec![made.cert.der().clone()], key).expect("a certificate and its key");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, strangers) = (acceptor.clone(), strangers.clone());
        tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let (mut head, mut buffer) = (String::new(), [0; 1024]);
            while !head.ends_with("\r\n\r\n") {
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(length) => head.push_str(&String::from_utf8_lossy(&buffer[..length])),
                }
            }
            let head = head.to_lowercase();
            let knows =
                ["get /health?full=1 http/1.1\r\n", "\r\nx-word: sesame\r\n", "\r\nhost: web.example\r\n"];
            let status = match knows.iter().all(|line| head.contains(line)) {
                true => "200 OK",
                false => {
                    strangers.fetch_add(1, Ordering::Relaxed);
                    "403 Forbidden"
                }
            };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        });
    }
}

#[test]
fn https_probes_have_their_headers_and_named_ports() {
    let cluster = cluster!();
    let strangers = Arc::new(AtomicUsize::new(0));
    let server = cluster.node.tokio.spawn(serve_https(listen(&cluster, 8443), strangers.clone()));
    let often = "periodSeconds: 1, timeoutSeconds: 30";
    let probe = "scheme: HTTPS, path: '/health?full=1', httpHeaders: [{name: X-Word, value: sesame}, {name: Host, value: web.example}]";
    let named = format!(
        "ports: [{{name: https, containerPort: 8443}}], readinessProbe: {{{often}, httpGet: {{port: https, {probe}}}}}"
    );
    let of_host = format!("readinessProbe: {{{often}, httpGet: {{host: 127.0.0.1, port: 8443, {probe}}}}}");
    let elsewhere =
        format!("readinessProbe: {{{often}, httpGet: {{host: 127.0.0.99, port: 8444, {probe}}}}}");
    let stranger = format!("readinessProbe: {{{often}, httpGet: {{port: 8443, scheme: HTTPS}}}}");
    let plain = format!("readinessProbe: {{{often}, httpGet: {{port: 8443}}}}");
    cluster.apply(&pods(&[
        ("named", &named),
        ("host", &of_host),
        ("elsewhere", &elsewhere),
        ("stranger", &stranger),
        ("plain", &plain),
    ]));
    cluster.ready("named");
    cluster.ready("host");
    cluster.tells(&["pod/stranger", "Readiness probe failed: HTTP probe failed with statuscode: 403"]);
    cluster.tells(&["pod/plain", "Readiness probe failed: GET http://127.0.0.1:8443/"]);
    cluster.tells(&["pod/elsewhere", "cannot connect to 127.0.0.99:8444: connection refused"]);
    assert!(strangers.load(Ordering::Relaxed) > 0);
    // What a header says may be a password.
    let told = [cluster.ok(&["get", "events", "-o", "json"]), cluster.log()].concat();
    assert!(!told.contains("sesame"), "a header is told");
    server.abort();
}

#[test]
fn probes_wait_for_the_startup_probe_and_have_a_grace_of_their_own() {
    let cluster = cluster!();
    let serve = "mkdir -p /tmp/w; until test -e /tmp/go; do sleep 0.1; done; httpd -p 8080 -h /tmp/w; trap '' TERM; while :; do sleep 0.1; done";
    let pod = format!(
        r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "slow"}}, "spec": {{"terminationGracePeriodSeconds": 600,
            "containers": [{{"name": "main", "image": "busybox:1", "command": ["sh", "-c", {}], "ports": [{{"name": "web", "containerPort": 8080}}],
              "startupProbe": {{"tcpSocket": {{"port": "web"}}, "periodSeconds": 1, "failureThreshold": 1000}},
              "livenessProbe": {{"httpGet": {{"port": "web", "path": "/well"}}, "periodSeconds": 1, "timeoutSeconds": 30, "failureThreshold": 2, "terminationGracePeriodSeconds": 1}},
              "readinessProbe": {{"tcpSocket": {{"port": 8080}}, "periodSeconds": 1}}}}]}}}}"#,
        serde_json::to_string(serve).expect("JSON"),
    );
    cluster.apply(&pod);
    cluster.tells(&["pod/slow", "Startup probe failed: cannot connect to", "connection refused"]);
    let before = cluster.wait("pod", "slow", "running", |pod| container(pod)["state"]["running"].is_object());
    assert_eq!(
        (&container(&before)["started"], &container(&before)["restartCount"]),
        (&false.into(), &0.into())
    );
    assert!(!cluster.ok(&["get", "events"]).contains("Liveness"), "nobody asks before it has started");
    cluster.ok(&["exec", "slow", "--", "sh", "-c", "mkdir -p /tmp/w; echo yes >/tmp/w/well; touch /tmp/go"]);
    cluster.ready("slow");
    // The container may be killed, and rm with it, before rm itself has ended.
    let _ = cluster.verb(&["exec", "slow", "--", "rm", "/tmp/w/well"]);
    cluster.tells(&["pod/slow", "Container main failed liveness probe, will be restarted"]);
    let told = Instant::now();
    let after = cluster.wait("pod", "slow", "restarted", |pod| container(pod)["restartCount"] == 1);
    assert_eq!(container(&after)["lastState"]["terminated"]["exitCode"], 137);
    // Not after the Pod's own ten minutes.
    assert!(told.elapsed() < crate::support::seconds(60), "{:?}", told.elapsed());
    cluster.ok(&["delete", "pod", "slow", "--now"]);
}
