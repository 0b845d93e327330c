use serde_json::{Value, json};

use super::*;
use crate::objects::Kind;

fn completed(kind: Kind, manifest: Value) -> Value {
    let mut object = Object::from_value(kind, manifest).unwrap();
    complete(&mut object);
    let once = object.to_value();
    complete(&mut object);
    assert_eq!(object.to_value(), once, "completed twice");
    once
}

#[test]
fn a_pod_is_completed() {
    let pod = completed(
        Kind::Pod,
        json!({"spec": {
            "hostNetwork": true,
            "containers": [{
                "name": "a", "image": "app", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1"}},
                "livenessProbe": {"httpGet": {"port": 80}},
            }],
            "volumes": [{"name": "v"}, {"name": "s", "secret": {"secretName": "s"}}],
        }}),
    );
    let spec = &pod["spec"];
    assert_eq!(spec["restartPolicy"], "Always");
    assert_eq!(spec["dnsPolicy"], "ClusterFirst");
    assert_eq!(spec["terminationGracePeriodSeconds"], 30);
    let container = &spec["containers"][0];
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(container["ports"][0], json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"}));
    assert_eq!(container["resources"]["requests"]["cpu"], "1");
    assert_eq!(container["livenessProbe"]["failureThreshold"], 3);
    assert_eq!(container["livenessProbe"]["httpGet"], json!({"path": "/", "port": 80, "scheme": "HTTP"}));
    assert_eq!(spec["volumes"][0], json!({"name": "v", "emptyDir": {}}));
    assert_eq!(spec["volumes"][1]["secret"]["defaultMode"], 420);
}

#[test]
fn a_deployment_is_completed_and_its_template_requests_nothing() {
    let spec = completed(
        Kind::Deployment,
        json!({"spec": {"template": {"spec": {"containers": [{"image": "a:1", "resources": {"limits": {"cpu": 1}}}]}}}}),
    )["spec"]
        .clone();
    assert_eq!(spec["replicas"], 1);
    let strategy =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
    assert_eq!(spec["strategy"], strategy);
    let container = &spec["template"]["spec"]["containers"][0];
    assert_eq!(container["imagePullPolicy"], "IfNotPresent");
    assert_eq!(container["resources"], json!({"limits": {"cpu": "1"}}));
    let recreate = completed(Kind::Deployment, json!({"spec": {"strategy": {"type": "Recreate"}}}));
    assert_eq!(recreate["spec"]["strategy"], json!({"type": "Recreate"}));
}

#[test]
fn other_kinds_are_completed() {
    let service = completed(
        Kind::Service,
        json!({"spec": {"sessionAffinity": "ClientIP", "ports": [{"port": 80}, {"port": 81, "targetPort": "x"}]}}),
    );
    assert_eq!(service["spec"]["type"], "ClusterIP");
    assert_eq!(service["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10_800);
    assert_eq!(service["spec"]["ports"][0], json!({"port": 80, "protocol": "TCP", "targetPort": 80}));
    assert_eq!(service["spec"]["ports"][1]["targetPort"], "x");
    let secret =
        completed(Kind::Secret, json!({"stringData": {"a": "b"}, "data": {"a": "AAAA", "c": "AAAA"}}));
    assert_eq!(
        secret,
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {}, "type": "Opaque",
        "data": {"a": "Yg==", "c": "AAAA"}})
    );
    let job = completed(Kind::Job, json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}));
    assert_eq!((&job["spec"]["completions"], &job["spec"]["backoffLimit"]), (&json!(1), &json!(6)));
    assert_eq!(job["metadata"]["labels"]["a"], "b");
    let range = completed(
        Kind::LimitRange,
        json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}]}}),
    );
    assert_eq!(range["spec"]["limits"][0]["defaultRequest"], json!({"cpu": "2", "memory": "1Mi"}));
}
