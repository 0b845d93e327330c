//! Verbs asked of a server, as a command line has them.

use clap::Parser;
use serde_json::json;

use super::watch::{Event, Query, Watch};
use super::*;
use crate::api::server::tests::Server;
use crate::objects::{Key, Kind};

#[derive(Parser, Debug)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// Before all objects: their ages are the same in each run.
fn long_ago() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

async fn run(server: &Server, line: &str) -> Result<String> {
    let words = std::iter::once("rcrun-agent").chain(line.split(' ')).map(Into::into);
    let words = in_claps_spelling(&<Line as clap::CommandFactory>::command(), words);
    let command = Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).command;
    let mut out = Vec::new();
    let mut session = Session { client: Client::new(&server.socket()), out: &mut out, now: long_ago };
    verb(command, &mut session).await?;
    Ok(String::from_utf8(out).unwrap())
}

async fn ok(server: &Server, line: &str) -> String {
    run(server, line).await.unwrap_or_else(|error| panic!("{line}: {error}"))
}

async fn fails(server: &Server, line: &str) -> String {
    run(server, line).await.expect_err(line).to_string()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn pod(name: &str) -> serde_json::Value {
    json!({
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "busybox:1"}]},
        "status": {"phase": "Running", "podIP": "10.1.0.2", "containerStatuses": [
            {"name": "c", "image": "busybox:1", "imageID": "", "ready": true, "restartCount": 0,
             "state": {"running": {"startedAt": "2026-11-26T08:00:00Z"}}}]},
    })
}

#[test]
fn the_command_line_is_sound() {
    use clap::CommandFactory as _;
    Line::command().debug_assert();
}

#[tokio::test]
async fn manifests_are_applied_and_deleted() {
    let server = Server::start().await;
    let manifest = file(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {name: password}\nstringData: {p: sesame}\n",
    );
    let path = manifest.path().display().to_string();
    assert_eq!(
        ok(&server, &format!("apply -f {path}")).await,
        "configmap/settings created\nsecret/password created\n"
    );
    assert_eq!(
        ok(&server, &format!("apply -f {path}")).await,
        "configmap/settings unchanged\nsecret/password unchanged\n"
    );
    assert!(fails(&server, &format!("create -f {path}")).await.is_empty(), "it is on standard error");
    assert_eq!(
        ok(&server, "get secrets").await,
        "NAME       TYPE     DATA   AGE\npassword   Opaque   1      <invalid>\n"
    );
    let described = ok(&server, "describe secret password").await;
    assert!(described.contains("p:  6 bytes"), "{described}");
    assert!(!described.contains("sesame") && !described.contains("c2VzYW1l"), "{described}");
    assert!(ok(&server, "get secret password -o yaml").await.contains("p: c2VzYW1l"));
    assert_eq!(
        ok(&server, &format!("delete -f {path}")).await,
        "secret \"password\" deleted from default namespace\nconfigmap \"settings\" deleted from default namespace\n"
    );
    assert!(fails(&server, &format!("delete -f {path}")).await.is_empty());
    assert_eq!(ok(&server, &format!("delete -f {path} --ignore-not-found")).await, "No resources found\n");
}

#[tokio::test]
async fn objects_are_shown() {
    let server = Server::start().await;
    server.put(Kind::Pod, pod("web"));
    server.put(Kind::Pod, pod("db"));
    assert_eq!(
        ok(&server, "get pods").await,
        "NAME   READY   STATUS    RESTARTS   AGE\ndb     1/1     Running   0          <invalid>\n\
         web    1/1     Running   0          <invalid>\n"
    );
    assert_eq!(
        ok(&server, "get po -l app=web -o wide --no-headers --show-labels").await,
        "web   1/1   Running   0     <invalid>   10.1.0.2   n     <none>   <none>   app=web\n"
    );
    assert_eq!(ok(&server, "get pods -o name").await, "pod/db\npod/web\n");
    assert_eq!(ok(&server, "get pods -o jsonpath={.items[*].metadata.name}").await, "db web");
    assert_eq!(ok(&server, "get pod/web -o jsonpath={.status.podIP}").await, "10.1.0.2");
    assert!(ok(&server, "get all").await.starts_with("NAME   READY"));
    assert!(ok(&server, "get pods -A").await.starts_with("NAMESPACE   NAME"));
    assert!(
        ok(&server, "get pods --all-namespaces=true --watch=false").await.starts_with("NAMESPACE   NAME")
    );
    assert_eq!(ok(&server, "get deployments.v1.apps,pods.v1. -o name").await, "pod/db\npod/web\n");
    assert!(fails(&server, "exec web hostname").await.contains("exec POD -- COMMAND"));
    assert!(fails(&server, "exec web").await.contains("exec POD -- COMMAND"));
    let sorted = ok(&server, "get pods --sort-by={.metadata.resourceVersion} -o name").await;
    assert_eq!(sorted, "pod/web\npod/db\n");
    assert_eq!(ok(&server, "get deployments").await, "");
    assert_eq!(fails(&server, "get pod none").await, "Error from server (NotFound): pods \"none\" not found");
    assert_eq!(ok(&server, "get pod none --ignore-not-found").await, "");
    assert!(fails(&server, "get nodes").await.contains("doesn't have a resource type \"nodes\""));
    let json = ok(&server, "get pods -o json").await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["kind"], &json["items"][0]["kind"]), (&json!("List"), &json!("Pod")));
    let described = ok(&server, "describe pod we").await;
    for line in ["Name:         web", "Status:       Running", "Events:  ", "State:          Running"] {
        assert!(described.contains(line.split_whitespace().next().unwrap()), "{line}: {described}");
    }
}

#[tokio::test]
async fn objects_are_changed() {
    let server = Server::start().await;
    let manifest = file(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  \
         selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    \
         spec: {containers: [{name: c, image: 'busybox:1'}]}\n",
    );
    ok(&server, &format!("apply -f {}", manifest.path().display())).await;
    assert_eq!(ok(&server, "scale deploy/web --replicas=3").await, "deployment.apps/web scaled\n");
    assert_eq!(ok(&server, "get deploy web -o jsonpath={.spec.replicas}").await, "3");
    assert!(
        fails(&server, "scale deploy/web --replicas=2 --current-replicas=1").await.contains("to be 1, was 3")
    );
    assert_eq!(ok(&server, "set image deploy/web c=busybox:2").await, "deployment.apps/web image updated\n");
    let image = "get deploy web -o jsonpath={.spec.template.spec.containers[0].image}";
    assert_eq!(ok(&server, image).await, "busybox:2");
    assert_eq!(ok(&server, "rollout pause deploy/web").await, "deployment.apps/web paused\n");
    assert!(fails(&server, "rollout pause deploy/web").await.contains("already paused"));
    assert!(fails(&server, "rollout restart deploy/web").await.contains("resume first"));
    assert_eq!(ok(&server, "rollout resume deploy web").await, "deployment.apps/web resumed\n");
    assert_eq!(ok(&server, "rollout restart deploy web").await, "deployment.apps/web restarted\n");
    assert_eq!(ok(&server, "label deploy web tier=front").await, "deployment.apps/web labeled\n");
    assert!(fails(&server, "label deploy web tier=back").await.contains("--overwrite is false"));
    assert_eq!(ok(&server, "label deploy web tier-").await, "deployment.apps/web unlabeled\n");
    assert_eq!(ok(&server, "annotate deploy web note=x").await, "deployment.apps/web annotated\n");
    assert_eq!(
        ok(&server, "patch deploy web -p {\"spec\":{\"replicas\":2}}").await,
        "deployment.apps/web patched\n"
    );
    assert!(ok(&server, "describe deploy web").await.contains("2 desired"));
    let patch = |containers: &str| {
        format!(
            "patch deploy web -p {{\"spec\":{{\"template\":{{\"spec\":{{\"containers\":[{containers}]}}}}}}}}"
        )
    };
    let names = "get deploy web -o jsonpath={.spec.template.spec.containers[*].name}";
    let second = patch("{\"name\":\"d\",\"image\":\"busybox:3\"}");
    assert_eq!(ok(&server, &second).await, "deployment.apps/web patched\n");
    assert_eq!(ok(&server, names).await, "d c");
    assert_eq!(ok(&server, &second).await, "deployment.apps/web patched (no change)\n");
    let error = fails(&server, &patch("{\"image\":\"busybox:3\"}")).await;
    assert!(error.contains("spec.template.spec.containers[0].name"), "{error}");
    let third = file("spec:\n  template:\n    spec:\n      containers: [{name: e, image: 'busybox:3'}]\n");
    ok(&server, &format!("patch deploy web --patch-file {}", third.path().display())).await;
    assert_eq!(ok(&server, names).await, "e d c");
    assert!(fails(&server, "patch deploy web --patch-file /none").await.contains("\"/none\" does not exist"));
    ok(&server, &format!("{second} --type merge")).await;
    assert_eq!(ok(&server, names).await, "d");
}

#[tokio::test]
async fn rollouts_are_of_all_objects_of_a_kind() {
    let server = Server::start().await;
    let manifest: String = [("web", "front"), ("db", "back")]
        .map(|(name, tier)| {
            format!(
                "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, labels: {{tier: {tier}}}}}\nspec:\n  \
                 selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
                 spec: {{containers: [{{name: c, image: 'busybox:1'}}]}}\n"
            )
        })
        .concat();
    let manifest = file(&manifest);
    ok(&server, &format!("apply -f {}", manifest.path().display())).await;
    assert_eq!(
        ok(&server, "rollout restart deployment").await,
        "deployment.apps/db restarted\ndeployment.apps/web restarted\n"
    );
    assert_eq!(ok(&server, "rollout pause deploy -l tier=back").await, "deployment.apps/db paused\n");
    let mut out = Vec::new();
    let mut session = Session { client: Client::new(&server.socket()), out: &mut out, now: long_ago };
    let command = Line::try_parse_from(["rcrun-agent", "rollout", "restart", "deploy"]).unwrap().command;
    assert!(verb(command, &mut session).await.is_err(), "one is paused");
    assert_eq!(String::from_utf8(out).unwrap(), "deployment.apps/web restarted\n", "the other is restarted");
    assert!(ok(&server, "rollout history deploy").await.contains("deployment.apps/web"));
    assert_eq!(ok(&server, "rollout restart -n kube-system ds").await, "");
    assert!(fails(&server, "rollout restart deploy/web -l a=b").await.contains("name cannot be provided"));
    assert!(fails(&server, "rollout restart jobs").await.contains("no rollouts"));
}

#[tokio::test]
async fn manifests_stand_for_their_objects() {
    let server = Server::start().await;
    let manifest = file(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n\
         apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec:\n  \
         selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    \
         spec: {containers: [{name: c, image: 'busybox:1'}]}\n",
    );
    let all = manifest.path().display().to_string();
    ok(&server, &format!("apply -f {all}")).await;
    assert_eq!(ok(&server, &format!("get -f {all} -o name")).await, "namespace/shop\ndeployment.apps/web\n");
    assert!(ok(&server, &format!("describe -f {all}")).await.contains("StrategyType"));
    assert_eq!(
        ok(&server, &format!("label -f {all} a=b")).await,
        "namespace/shop labeled\ndeployment.apps/web labeled\n"
    );
    let web = file("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n");
    let web = web.path().display();
    assert_eq!(ok(&server, &format!("scale -f {web} --replicas=3")).await, "deployment.apps/web scaled\n");
    assert_eq!(ok(&server, &format!("rollout restart -f {web}")).await, "deployment.apps/web restarted\n");
    assert_eq!(
        ok(&server, &format!("set image -f {web} c=busybox:2")).await,
        "deployment.apps/web image updated\n"
    );
    assert_eq!(
        ok(&server, &format!("patch -f {web} -p {{\"spec\":{{\"replicas\":3}}}}")).await,
        "deployment.apps/web patched (no change)\n"
    );
    assert!(fails(&server, &format!("get pods -f {web}")).await.contains("no kinds and names"));
}

#[tokio::test]
async fn changes_are_watched() {
    let server = Server::start().await;
    server.put(Kind::Pod, pod("one"));
    let mut out = Vec::new();
    let session = Session { client: Client::new(&server.socket()), out: &mut out, now: long_ago };
    let key = Key::new(Kind::Pod, "default", "two");
    let query = Query { fields: String::new(), labels: "app in (one,two)".into(), ..Query::one(&key) };
    let mut watch = Watch::start(&session, &query).await.unwrap();
    assert!(matches!(watch.next().await.unwrap(), Event::Is(pod) if pod["metadata"]["name"] == "one"));
    assert!(matches!(watch.next().await.unwrap(), Event::Current));
    server.put(Kind::Pod, pod("other"));
    let two = server.put(Kind::Pod, pod("two"));
    assert!(matches!(watch.next().await.unwrap(), Event::Is(pod) if pod["metadata"]["name"] == "two"));
    ok(&server, "label pod two app=other --overwrite").await;
    assert!(matches!(watch.next().await.unwrap(), Event::Gone(_)));
    ok(&server, "label pod two app=two --overwrite").await;
    assert!(matches!(watch.next().await.unwrap(), Event::Is(_)));
    server.api.store.remove(&two.key(), "", crate::store::Durability::Written).unwrap();
    assert!(matches!(watch.next().await.unwrap(), Event::Gone(_)));
}

#[tokio::test]
async fn it_waits_until_objects_are_as_wanted() {
    let server = Server::start().await;
    server.put(Kind::Pod, pod("web"));
    assert_eq!(
        ok(&server, "wait pod/web --for=jsonpath={.status.phase}=Running").await,
        "pod/web condition met\n"
    );
    assert!(fails(&server, "wait pod/none --for=condition=Ready").await.contains("not found"));
    assert_eq!(ok(&server, "wait pod/none --for=delete").await, "pod/none deleted\n");
    assert!(run(&server, "wait pod/web --for=condition=Ready --timeout=20ms").await.is_err());
    let key = Key::new(Kind::Pod, "default", "web");
    let (waited, ()) = tokio::join!(run(&server, "wait pod/web --for=delete"), async {
        tokio::task::yield_now().await;
        server.api.store.remove(&key, "", crate::store::Durability::Written).unwrap();
    });
    assert_eq!(waited.unwrap(), "pod/web deleted\n");
}

#[tokio::test]
async fn events_are_shown_with_what_they_are_about() {
    let server = Server::start().await;
    let uid = server.put(Kind::Pod, pod("web")).uid().to_owned();
    server.put(
        Kind::Event,
        json!({"metadata": {"name": "web.1", "namespace": "default"}, "type": "Warning", "reason": "BackOff",
            "message": "no luck", "count": 3, "firstTimestamp": "2026-11-26T08:00:00Z",
            "lastTimestamp": "2026-11-26T08:01:00Z", "source": {"component": "kubelet"},
            "involvedObject": {"kind": "Pod", "name": "web", "namespace": "default", "uid": uid}}),
    );
    let line = "<invalid>   Warning   BackOff   pod/web   no luck\n";
    assert!(ok(&server, "events --for pod/web").await.ends_with(line));
    assert!(ok(&server, "get events --field-selector type=Warning").await.ends_with(line));
    assert_eq!(ok(&server, "events --for pod/other").await, "");
    let described = ok(&server, "describe pod web").await;
    assert!(described.contains("BackOff") && described.contains("(x3 over"), "{described}");
}

#[tokio::test]
async fn objects_are_described_with_what_belongs_to_them() {
    let server = Server::start().await;
    let spec = json!({"selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "busybox:1"}]}}});
    let set = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec});
    let uid = server.put(Kind::ReplicaSet, set).uid().to_owned();
    for (name, phase) in
        [("web-1", "Running"), ("web-2", "Pending"), ("web-3", "Running"), ("other", "Running")]
    {
        let mut pod = pod(name);
        pod["status"]["phase"] = phase.into();
        if name != "other" {
            pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web",
                "uid": uid, "controller": true}]);
            pod["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]);
        }
        server.put(Kind::Pod, pod);
    }
    let described = ok(&server, "describe rs web").await;
    assert!(described.contains("2 Running / 1 Waiting / 0 Succeeded / 0 Failed"), "{described}");
    server.put(Kind::PersistentVolumeClaim, json!({"metadata": {"name": "data", "namespace": "default"}}));
    let described = ok(&server, "describe pvc data").await;
    let used = described.lines().skip_while(|line| !line.starts_with("Used By:")).take(3);
    let used: Vec<_> = used.filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(used, ["web-1", "web-2", "web-3"], "{described}");
    server.put(
        Kind::LimitRange,
        json!({"metadata": {"name": "bounds", "namespace": "default"}, "spec": {"limits": [
            {"type": "Container", "max": {"cpu": "2"}, "default": {"memory": "64Mi"}}]}}),
    );
    for verb in ["describe limits bounds", "describe ns default"] {
        let described = ok(&server, verb).await;
        let rows = described.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let rows: Vec<_> = rows.filter(|row| row.first() == Some(&"Container")).collect();
        let expected = ["cpu - 2 2 2 -", "memory - - 64Mi 64Mi -"].map(|row| format!("Container {row}"));
        assert_eq!(rows.iter().map(|row| row.join(" ")).collect::<Vec<_>>(), expected, "{described}");
    }
}

#[tokio::test]
async fn ingresses_are_described_with_their_endpoints() {
    let server = Server::start().await;
    let service = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"ports": [
        {"name": "http", "port": 80}, {"name": "admin", "port": 81}]}});
    server.put(Kind::Service, service);
    server.put(
        Kind::Endpoints,
        json!({"metadata": {"name": "web", "namespace": "default"}, "subsets": [{
            "addresses": [{"ip": "10.1.0.2"}, {"ip": "10.1.0.3"}, {"ip": "10.1.0.4"}, {"ip": "10.1.0.5"}],
            "ports": [{"name": "http", "port": 8080}]}]}),
    );
    let path = |path: &str, service: &str, port: serde_json::Value| json!({"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": port}}});
    server.put(
        Kind::Ingress,
        json!({"metadata": {"name": "site", "namespace": "default"}, "spec": {"rules": [{"http": {"paths": [
            path("/", "web", json!({"number": 80})), path("/admin", "web", json!({"name": "admin"})),
            path("/none", "none", json!({"number": 80}))]}}]}}),
    );
    let described = ok(&server, "describe ingress site").await;
    for backend in [
        "web:80 (10.1.0.2:8080,10.1.0.3:8080,10.1.0.4:8080 + 1 more...)\n",
        "web:admin (<none>)\n",
        "none:80 (<error: services \"none\" not found>)\n",
    ] {
        assert!(described.contains(backend), "{backend}: {described}");
    }
}

#[tokio::test]
async fn an_agent_that_is_away_is_named() {
    let mut out = Vec::new();
    let socket = Path::new("/nonexistent/agent.sock");
    let mut session = Session { client: Client::new(socket), out: &mut out, now: long_ago };
    let command = Line::try_parse_from(["rcrun-agent", "get", "pods"]).unwrap().command;
    let error = verb(command, &mut session).await.unwrap_err().to_string();
    assert!(error.contains("/nonexistent/agent.sock") && error.contains("is it running"), "{error}");
}
