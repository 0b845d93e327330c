use serde_json::json;

use super::*;

fn text(kind: Kind, object: Value, wide: bool) -> String {
    let now = "2026-11-26T08:00:00Z".parse().unwrap();
    let mut object = object;
    object["metadata"] = json!({"name": "web", "creationTimestamp": "2026-11-26T07:56:58Z"});
    table(kind, &[object], wide, now).text(true, &mut Vec::new())
}

#[test]
fn every_kind_has_a_cell_for_each_heading() {
    for kind in Kind::ALL.iter().copied() {
        let columns = columns(kind);
        let cells = (columns.cells)(&json!({}), Timestamp::UNIX_EPOCH);
        assert!(cells.len() >= columns.headings.len(), "{kind}");
    }
}

#[test]
fn wide_columns_are_in_kubectl_s_order() {
    let headings = |kind, wide| table(kind, &[], wide, Timestamp::UNIX_EPOCH).headings.join(",");
    assert_eq!(headings(Kind::Event, false), "LAST SEEN,TYPE,REASON,OBJECT,MESSAGE");
    assert_eq!(
        headings(Kind::Event, true),
        "LAST SEEN,TYPE,REASON,OBJECT,SUBOBJECT,SOURCE,MESSAGE,FIRST SEEN,COUNT,NAME"
    );
    assert_eq!(
        headings(Kind::Pod, true),
        "NAME,READY,STATUS,RESTARTS,AGE,IP,NODE,NOMINATED NODE,READINESS GATES"
    );
}

#[test]
fn deployments() {
    let deployment = json!({
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": [{"name": "c", "image": "busybox:1"}]}}},
        "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2},
    });
    assert_eq!(
        text(Kind::Deployment, deployment.clone(), false),
        "NAME   READY   UP-TO-DATE   AVAILABLE   AGE\nweb    2/3     3            2           3m2s\n"
    );
    assert!(text(Kind::Deployment, deployment, true).ends_with("3m2s   c            busybox:1   app=web\n"));
}

#[test]
fn services() {
    let service = json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.7", "selector": {"app": "web"},
        "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}});
    let text = text(Kind::Service, service, true);
    let line = text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(line, ["web", "NodePort", "10.96.0.7", "<none>", "80:30080/TCP,53/UDP", "3m2s", "app=web"]);
}

#[test]
fn endpoints_are_shortened() {
    let addresses: Vec<Value> = (1..=4).map(|n| json!({"ip": format!("10.1.0.{n}")})).collect();
    let endpoints = json!({"subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]});
    assert_eq!(network::addresses(&endpoints), "10.1.0.1:80,10.1.0.2:80,10.1.0.3:80 + 1 more...");
    assert_eq!(network::addresses(&json!({})), "<none>");
}

#[test]
fn jobs() {
    let job =
        json!({"spec": {"completions": 2}, "status": {"succeeded": 1, "startTime": "2026-11-26T07:59:00Z"}});
    assert!(text(Kind::Job, job, false).contains("web    Running   1/2           60s        3m2s"));
}

#[test]
fn secrets_are_counted_only() {
    let secret = json!({"type": "Opaque", "data": {"password": "c2VzYW1l"}});
    assert_eq!(text(Kind::Secret, secret, true), "NAME   TYPE     DATA   AGE\nweb    Opaque   1      3m2s\n");
}

#[test]
fn selectors_in_words() {
    let of = json!({"matchLabels": {"a": "b"}, "matchExpressions": [
        {"key": "c", "operator": "In", "values": ["d", "e"]}, {"key": "f", "operator": "DoesNotExist"}]});
    assert_eq!(selector(&of), "a=b,c in (d,e),!f");
    assert_eq!(selector(&json!({})), "<none>");
}

#[test]
fn events_of_one_second_are_in_the_order_in_which_they_were_told() {
    let event = |name: &str, time: &str, revision: &str| json!({"metadata": {"name": name, "resourceVersion": revision}, "lastTimestamp": time});
    let mut events = [
        event("pulled", "2026-03-01T10:00:05Z", "101"),
        event("created", "2026-03-01T10:00:05Z", "1000"),
        event("scheduled", "2026-03-01T10:00:05Z", "99"),
        event("late", "2026-03-01T10:00:06Z", "7"),
        event("unknown", "", "5000"),
    ];
    in_order(&mut events);
    let names: Vec<_> = events.iter().map(|event| event.text("/metadata/name")).collect();
    assert_eq!(names, ["unknown", "scheduled", "pulled", "created", "late"]);
}
