//! An Ingress proxy on loopback, servers behind it, and clients before it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::ingress::{Settings, run};
use crate::metrics::Counters;
use crate::objects::{Key, Kind, Object};
use crate::store::{Durability, Store};

/// Longer than anything takes on a machine that is busy with other things.
pub const LONG: Duration = Duration::from_secs(60);

pub struct World {
    pub store: Arc<Store>,
    pub http: SocketAddr,
    pub https: SocketAddr,
    tasks: JoinSet<()>,
    _directory: tempfile::TempDir,
}

impl World {
    pub async fn new(objects: Vec<Value>) -> Self {
        let world = Self::closed(free().await, objects);
        world.until_open().await;
        world
    }

    /// Which may not listen yet.
    pub fn closed((http, https): (SocketAddr, SocketAddr), objects: Vec<Value>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Store::open(directory.path()).expect("a store"));
        let mut tasks = JoinSet::new();
        let settings = Settings { http, https, addresses: vec!["192.0.2.7".parse().expect("an address")] };
        let running = run(store.clone(), settings, Arc::new(Counters::default()));
        tasks.spawn(async move { running.await.expect("it runs") });
        let world = Self { store, http, https, tasks, _directory: directory };
        objects.into_iter().for_each(|value| world.put(value));
        world
    }

    pub async fn until_open(&self) {
        until(|| self.ingress("front")["status"]["loadBalancer"]["ingress"] == json!([{"ip": "192.0.2.7"}]))
            .await;
        // The status says that one of them listens.
        for address in [self.http, self.https] {
            until_async(async || TcpStream::connect(address).await.is_ok()).await;
        }
    }

    pub fn put(&self, value: Value) {
        let object = object(value);
        let key = object.key();
        let known = self.store.read(|objects| objects.get(&key).is_some());
        let done = match known {
            true => self.store.update(&key, Durability::Written, |_| Some(object)),
            false => self.store.create(object, Durability::Written),
        };
        done.expect("it is put");
    }

    pub fn ingress(&self, name: &str) -> Value {
        let key = Key::new(Kind::Ingress, "web", name);
        self.store.read(|objects| objects.get(&key).map(Object::to_value)).unwrap_or_default()
    }

    /// All events, as `reason: message`.
    pub fn events(&self) -> Vec<String> {
        let said = |object: &Object| {
            let value = object.to_value();
            format!("{}: {}", value["reason"].as_str().unwrap_or(""), value["message"].as_str().unwrap_or(""))
        };
        self.store.read(|objects| objects.of_kind(Kind::Event).map(said).collect())
    }

    /// A server that answers each request with its name, and what it got.
    pub async fn server(&mut self, name: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer(stream, name));
            }
        });
        address
    }

    /// One request without a body, and the whole answer.
    pub async fn get(&self, host: &str, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await
    }

    pub async fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.http).await.expect("it listens");
        ask_on(&mut stream, request).await
    }
}

/// Writes, and reads to the end.
pub async fn ask_on(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> String {
    stream.write_all(request.as_bytes()).await.expect("it is written");
    let mut answer = Vec::new();
    // A server that closes early may reset the connection.
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.expect("an answer in time");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request on a connection that stays, and its whole answer.
pub async fn ask_again(stream: &mut TcpStream, host: &str) -> String {
    stream
        .write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
        .await
        .expect("it is written");
    let mut answer = Vec::new();
    let whole = |answer: &[u8]| {
        let text = String::from_utf8_lossy(answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok())?;
        (body.len() >= length).then_some(text.clone())
    };
    loop {
        if let Some(whole) = whole(&answer) {
            return whole;
        }
        let read = tokio::time::timeout(LONG, stream.read_buf(&mut answer)).await.expect("an answer in time");
        assert!(read.expect("an answer") > 0, "the connection ended: {}", String::from_utf8_lossy(&answer));
    }
}

/// Two addresses of loopback whose ports nobody has, and nobody gets before they are used: no other call has their host.
pub async fn free() -> (SocketAddr, SocketAddr) {
    static CALLS: AtomicU8 = AtomicU8::new(0);
    let host = Ipv4Addr::new(127, 1, std::process::id() as u8, CALLS.fetch_add(1, Ordering::Relaxed));
    let one = TcpListener::bind((host, 0)).await.expect("a port");
    let two = TcpListener::bind((host, 0)).await.expect("a port");
    (one.local_addr().expect("its address"), two.local_addr().expect("its address"))
}

pub async fn until(is: impl Fn() -> bool) {
    until_async(async || is()).await;
}

pub async fn until_async(is: impl AsyncFn() -> bool) {
    let wait = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("it comes true in time");
}

pub fn object(value: Value) -> Object {
    let of = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let kind = Kind::of_manifest(&of("apiVersion"), &of("kind")).expect("a kind");
    Object::from_value(kind, value).expect("an object")
}

/// A Service with one port, and its endpoints.
pub fn service(name: &str, endpoints: &[SocketAddr]) -> Vec<Value> {
    let subset = |address: &SocketAddr| json!({"addresses": [{"ip": address.ip().to_string()}], "ports": [{"port": address.port()}]});
    let subsets: Vec<_> = endpoints.iter().map(subset).collect();
    vec![
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "web", "name": name}, "spec": {"ports": [{"port": 80}]}}),
        json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"namespace": "web", "name": name}, "subsets": subsets}),
    ]
}

/// The Ingress `front` with a rule for each (host, path, service).
pub fn ingress(rules: &[(&str, &str, &str)], tls: Value) -> Value {
    let rule = |(host, path, service): &(&str, &str, &str)| {
        let backend = json!({"service": {"name": service, "port": {"number": 80}}});
        json!({"host": host, "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}})
    };
    let rules: Vec<_> = rules.iter().map(rule).collect();
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"namespace": "web", "name": "front"},
        "spec": {"rules": rules, "tls": tls}})
}

/// HTTP/1.1, one request after the other; `Upgrade` turns it into an echo.
async fn answer(mut stream: TcpStream, name: &'static str) {
    let mut received = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8_lossy(&received[..end]).into_owned();
        received.drain(..end);
        if head.to_ascii_lowercase().contains("upgrade: websocket") {
            let accepted =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            let (mut read, mut write) = stream.split();
            if write.write_all(accepted.as_bytes()).await.is_ok() {
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
            return;
        }
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let length: usize = length.unwrap_or(0);
        while received.len() < length {
            if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                return;
            }
        }
        received.drain(..length);
        let body = format!("{name} got {length} bytes\n{head}");
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}
