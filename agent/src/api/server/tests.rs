//! A server over a store of its own, asked as clients ask. No runtime is behind it.

use std::path::PathBuf;

use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use serde_json::{Value, json};

use super::*;
use crate::api::admission::Ranges;
use crate::cri::Runtime;
use crate::objects::{Kind, Object};
use crate::store::{Change, Durability, Store};

/// Ends with its value.
pub struct Server {
    directory: tempfile::TempDir,
    pub api: Arc<Api>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// With the namespace `default`.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&directory.path().join("state")).unwrap());
        let default = json!({"metadata": {"name": "default"}, "status": {"phase": "Active"}});
        store.create(Object::from_value(Kind::Namespace, default).unwrap(), Durability::Written).unwrap();
        let ranges = Ranges::new("node", "10.96.0.0/16", "30000-32767", None).unwrap();
        let runtime = Runtime::at("unix:///nonexistent/cri.sock").unwrap();
        let api = Arc::new(Api { store, runtime, ranges });
        let (served, socket) = (Arc::clone(&api), directory.path().join("agent.sock"));
        let listener = bind(&socket).unwrap();
        let task = tokio::spawn(async move { serve(served, listener).await.unwrap() });
        Self { directory, api, task }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    /// Puts an object as a controller does.
    pub fn put(&self, kind: Kind, value: Value) -> Object {
        let mut object = Object::from_value(kind, value).unwrap();
        crate::objects::defaults::complete(&mut object);
        self.api.store.create(object, Durability::Written).unwrap()
    }

    async fn ask(&self, method: &str, path: &str, body: impl Into<Bytes>) -> (u16, Bytes) {
        let stream = UnixStream::connect(self.socket()).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", "a");
        let answer = sender.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        (answer.status().as_u16(), answer.into_body().collect().await.unwrap().to_bytes())
    }

    async fn json(&self, method: &str, path: &str, body: impl Into<Bytes>) -> (u16, Value) {
        let (code, body) = self.ask(method, path, body).await;
        (code, serde_json::from_slice(&body).unwrap())
    }
}

fn config_map(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"a": "b"}})
}

#[tokio::test]
async fn objects_are_made_read_changed_and_deleted() {
    let server = Server::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let (code, made) = server.json("POST", maps, config_map("one", json!({"app": "web"})).to_string()).await;
    assert_eq!(
        (code, &made["kind"], &made["metadata"]["namespace"]),
        (201, &json!("ConfigMap"), &json!("default"))
    );
    let (code, again) = server.json("POST", maps, config_map("one", json!({})).to_string()).await;
    assert_eq!((code, &again["reason"]), (409, &json!("AlreadyExists")), "{again}");
    server.json("POST", maps, config_map("two", json!({"app": "db"})).to_string()).await;

    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let (_, list) = server.json("GET", maps, "").await;
    assert_eq!((names(&list), &list["kind"]), (vec!["one".into(), "two".into()], &json!("ConfigMapList")));
    let (_, list) = server.json("GET", &format!("{maps}?labelSelector=app%3Dweb"), "").await;
    assert_eq!(names(&list), ["one"]);
    let (_, list) = server.json("GET", &format!("{maps}?labelSelector=app+notin+(web)"), "").await;
    assert_eq!(names(&list), ["two"]);
    let (_, list) = server.json("GET", "/api/v1/configmaps?fieldSelector=metadata.name%3Dtwo", "").await;
    assert_eq!(names(&list), ["two"]);
    let (code, _) = server.json("GET", &format!("{maps}?labelSelector=a+in"), "").await;
    assert_eq!(code, 400);

    let one = format!("{maps}/one");
    let (code, patched) =
        server.json("PATCH", &one, json!({"data": {"a": null, "c": "d"}}).to_string()).await;
    assert_eq!((code, &patched["data"]), (200, &json!({"c": "d"})), "{patched}");
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"x": "y"}}).to_string();
    assert_eq!(server.json("PATCH", &one, stale).await.0, 409);
    let replaced = config_map("one", json!({})).to_string();
    assert_eq!(server.json("PUT", &one, replaced).await.1["data"], json!({"a": "b"}));

    assert_eq!(server.json("DELETE", &one, "").await.0, 200);
    let (code, gone) = server.json("GET", &one, "").await;
    assert_eq!(code, 404);
    assert_eq!(gone["message"], "configmaps \"one\" not found");
    assert_eq!(server.json("DELETE", &one, "").await.0, 404);
    assert_eq!(server.json("PATCH", &one, "{}").await.0, 404);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let server = Server::start().await;
    for (method, path, body, code) in [
        ("GET", "/nowhere", "", 404),
        ("GET", "/apis/apps/v1/pods", "", 404),
        ("DELETE", "/api/v1/namespaces/default/pods", "", 405),
        ("PUT", "/apply", "", 405),
        ("POST", "/api/v1/namespaces/default/pods", "{", 400),
        ("POST", "/api/v1/namespaces/default/pods", "[]", 400),
        ("POST", "/api/v1/namespaces/default/pods", r#"{"kind": "Secret"}"#, 400),
        ("POST", "/apply", "a: [", 400),
        ("GET", "/api/v1/pods?watch=1&resourceVersion=999", "", 410),
        ("GET", "/api/v1/pods?watch=1&resourceVersion=x", "", 400),
        ("GET", "/api/v1/namespaces/default/pods/none/log", "", 404),
        ("POST", "/api/v1/namespaces/default/pods/none/exec?command=x", "", 404),
        ("DELETE", "/api/v1/namespaces/default/configmaps/x?propagationPolicy=No", "", 400),
    ] {
        let (status, answer) = server.json(method, path, body).await;
        assert_eq!((status, &answer["code"]), (code, &json!(code)), "{method} {path}: {answer}");
        assert!(!answer["message"].as_str().unwrap().is_empty(), "{method} {path}");
    }
    let (code, _) = server.ask("POST", "/apply", vec![b' '; BODY + 1]).await;
    assert_eq!(code, 413);
}

#[tokio::test]
async fn a_runtime_that_is_away_is_named() {
    let server = Server::start().await;
    let pod =
        json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"containers": [{"name": "c"}]}});
    server.put(Kind::Pod, pod);
    for path in ["/stats", "/api/v1/namespaces/default/pods/web/log"] {
        let (code, answer) = server.json("GET", path, "").await;
        assert_eq!(code, 503, "{answer}");
        assert!(answer["message"].as_str().unwrap().contains("the runtime does not answer"), "{answer}");
    }
    let (code, answer) = server.json("GET", "/api/v1/namespaces/default/pods/web/log?container=d", "").await;
    assert_eq!(code, 400, "{answer}");
}

#[tokio::test]
async fn apply_tells_of_each_object() {
    let server = Server::start().await;
    let text = "apiVersion: v1\nkind: Nonsense\n---\n\
        apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: late}\n---\n\
        apiVersion: v1\nkind: Namespace\nmetadata: {name: late}\n";
    let (code, lines) = server.ask("POST", "/apply", text).await;
    assert_eq!(code, 200);
    let lines: Vec<Value> = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let result = |kind: &str| lines.iter().find(|line| line["kind"] == kind).unwrap();
    assert_eq!(result("Namespace")["result"], "created");
    assert_eq!(result("ConfigMap")["result"], "created", "{}", result("ConfigMap"));
    assert!(result("Nonsense")["error"]["message"].as_str().unwrap().contains("Nonsense"));
    let (_, lines) =
        server.json("POST", "/apply?namespace=default", text.split("---\n").nth(1).unwrap().to_owned()).await;
    assert!(lines["error"]["message"].as_str().unwrap().contains("does not match the namespace"), "{lines}");
}

#[tokio::test]
async fn owned_objects_outlive_their_owner_where_one_asks() {
    let server = Server::start().await;
    let owner = server.put(Kind::ConfigMap, json!({"metadata": {"name": "owner", "namespace": "default"}}));
    let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid()});
    let metadata = json!({"name": "owned", "namespace": "default", "ownerReferences": [reference]});
    let owned = server.put(Kind::ConfigMap, json!({"metadata": metadata}));
    let maps = "/api/v1/namespaces/default/configmaps";
    let other = r#"{"propagationPolicy": "Orphan", "preconditions": {"uid": "another"}}"#;
    let (code, answer) = server.json("DELETE", &format!("{maps}/owner"), other).await;
    assert_eq!(code, 409, "{answer}");
    let is_owned = |object: &Object| object.metadata().owner_references.is_some();
    assert!(server.api.store.read(|objects| objects.get(&owned.key()).is_some_and(is_owned)));
    let mut changes = server.api.store.watch(|_| ()).1;
    server.json("DELETE", &format!("{maps}/owner?propagationPolicy=Orphan"), "").await;
    let changed = [(); 3].map(|()| changes.try_recv().expect("a change"));
    // It adopts nothing before any of them is free.
    let [Change::Modified(marked, _), Change::Modified(freed, _), Change::Deleted(gone)] = &changed else {
        panic!("{changed:?}")
    };
    assert!(marked.is_deleted() && marked.key() == owner.key() && freed.key() == owned.key());
    assert_eq!(gone.key(), owner.key());
    let owned = server.api.store.read(|objects| objects.get(&owned.key()).cloned()).unwrap();
    assert_eq!(owned.metadata().owner_references.as_ref().map_or(0, Vec::len), 0);
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    tokio::time::pause();
    let server = Server::start().await;
    let mut stream = UnixStream::connect(server.socket()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HT").await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer);
    tokio::time::timeout(PATIENCE * 3, read).await.expect("an end").unwrap();
}

#[tokio::test]
async fn clients_beyond_the_limit_are_told_and_nobody_waits() {
    let server = Server::start().await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS {
        silent.push(UnixStream::connect(server.socket()).await.unwrap());
    }
    let (code, body) = server.ask("GET", "/version", "").await;
    let body = String::from_utf8_lossy(&body);
    assert!(code == 503 && body.contains("256 connections to the agent are open"), "{code} {body}");
    silent.clear();
    while server.ask("GET", "/version", "").await.0 != 200 {}
}

#[tokio::test]
async fn what_is_too_long_is_refused_before_it_is_sent() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = Server::start().await;
    let mut stream = UnixStream::connect(server.socket()).await.unwrap();
    stream
        .write_all(b"POST /apply HTTP/1.1\r\nHost: agent\r\nContent-Length: 99999999999\r\n\r\n")
        .await
        .unwrap();
    let mut answer = vec![0; 64];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&answer));
}
