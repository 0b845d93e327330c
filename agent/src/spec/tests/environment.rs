use serde_json::json;

use super::*;

fn all() -> Objects {
    objects(&[
        (
            Kind::ConfigMap,
            json!({"metadata": {"namespace": "web", "name": "map"}, "data": {"A": "map-a", "B": "map-b", "not=one": "x", "": "y"}}),
        ),
        (Kind::ConfigMap, json!({"metadata": {"namespace": "other", "name": "theirs"}, "data": {"A": "x"}})),
        (
            Kind::Secret,
            json!({"metadata": {"namespace": "web", "name": "secret"}, "data": {"S": "c2VjcmV0", "BYTES": "/w==", "NUL": "AHg="}}),
        ),
        (
            Kind::Service,
            json!({"metadata": {"namespace": "web", "name": "back-end"}, "spec": {"clusterIP": "10.96.1.1", "ports": [
                {"port": 80, "name": "http"}, {"port": 53, "protocol": "UDP", "name": "dns-udp"}]}}),
        ),
        (
            Kind::Service,
            json!({"metadata": {"namespace": "web", "name": "six"}, "spec": {"clusterIP": "fd00::1", "ports": [{"port": 1}]}}),
        ),
        (
            Kind::Service,
            json!({"metadata": {"namespace": "web", "name": "headless"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}}),
        ),
        (
            Kind::Service,
            json!({"metadata": {"namespace": "other", "name": "theirs"}, "spec": {"clusterIP": "10.96.1.2", "ports": [{"port": 1}]}}),
        ),
    ])
}

fn of_spec(spec: Value) -> Result<Vec<(String, String)>, SpecError> {
    let config = container_of_image(spec, &image(), &all())?;
    let text =
        |variable: api::KeyValue| (variable.key, String::from_utf8_lossy(&variable.value).into_owned());
    Ok(config.envs.into_iter().map(text).collect())
}

fn of(container: Value) -> Result<Vec<(String, String)>, SpecError> {
    of_spec(json!({"enableServiceLinks": false, "containers": [container]}))
}

fn one(variable: Value) -> Result<String, SpecError> {
    let mut variable = variable;
    variable["name"] = json!("V");
    Ok(of(json!({"env": [variable]}))?.into_iter().map(|(_, value)| value).collect::<String>())
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

#[test]
fn services_are_told_unless_they_are_not_wanted() {
    let variables = of_spec(json!({})).expect("variables");
    for (name, value) in [
        ("BACK_END_SERVICE_HOST", "10.96.1.1"),
        ("BACK_END_SERVICE_PORT", "80"),
        ("BACK_END_SERVICE_PORT_HTTP", "80"),
        ("BACK_END_SERVICE_PORT_DNS_UDP", "53"),
        ("BACK_END_PORT", "tcp://10.96.1.1:80"),
        ("BACK_END_PORT_80_TCP", "tcp://10.96.1.1:80"),
        ("BACK_END_PORT_80_TCP_PROTO", "tcp"),
        ("BACK_END_PORT_53_UDP_PORT", "53"),
        ("BACK_END_PORT_53_UDP_ADDR", "10.96.1.1"),
        ("SIX_PORT", "tcp://[fd00::1]:1"),
    ] {
        assert!(variables.contains(&(name.into(), value.into())), "{name}: {variables:?}");
    }
    assert!(!variables.iter().any(|(name, _)| name.starts_with("HEADLESS") || name.starts_with("THEIRS")));
    assert_eq!(of(json!({})).expect("variables"), []);
}

#[test]
fn what_comes_later_wins() {
    let container = json!({
        "envFrom": [{"configMapRef": {"name": "map"}}, {"prefix": "P_", "configMapRef": {"name": "map"}}],
        "env": [{"name": "B", "value": "env-b"}, {"name": "C", "value": "$(A) $(B) $(C) $(P_A)"}, {"name": "C", "value": "[$(C)]"}, {"name": "E"}],
    });
    let wanted = pairs(&[
        ("A", "map-a"),
        ("B", "env-b"),
        ("P_", "y"),
        ("P_A", "map-a"),
        ("P_B", "map-b"),
        ("C", "[map-a env-b $(C) map-a]"),
        ("E", ""),
    ]);
    assert_eq!(of(container).expect("variables"), wanted);
}

#[test]
fn services_can_be_named_in_values() {
    let spec = json!({"containers": [{"env": [{"name": "V", "value": "$(SIX_SERVICE_HOST)"}, {"name": "SIX_SERVICE_PORT", "value": "own"}]}]});
    let variables = of_spec(spec).expect("variables");
    assert!(variables.contains(&("V".into(), "fd00::1".into())));
    assert_eq!(
        variables.iter().filter(|(name, value)| name == "SIX_SERVICE_PORT" && value == "own").count(),
        1
    );
}

#[test]
fn values_from_elsewhere() {
    for (from, wanted) in [
        (json!({"configMapKeyRef": {"name": "map", "key": "A"}}), "map-a"),
        (json!({"secretKeyRef": {"name": "secret", "key": "S"}}), "secret"),
        (json!({"secretKeyRef": {"name": "secret", "key": "none", "optional": true}}), ""),
        (json!({"configMapKeyRef": {"name": "none", "key": "A", "optional": true}}), ""),
        (json!({"fieldRef": {"fieldPath": "metadata.name"}}), "front"),
        (json!({"fieldRef": {"fieldPath": "metadata.namespace"}}), "web"),
        (json!({"fieldRef": {"fieldPath": "metadata.uid"}}), "u-1"),
        (json!({"fieldRef": {"fieldPath": "metadata.labels"}}), "app=\"front\""),
        (json!({"fieldRef": {"fieldPath": "metadata.labels['app']"}}), "front"),
        (json!({"fieldRef": {"fieldPath": "metadata.annotations"}}), "a=\"b\\\"\\n\""),
        (json!({"fieldRef": {"fieldPath": "metadata.annotations['none']"}}), ""),
        (json!({"fieldRef": {"fieldPath": "spec.nodeName"}}), "node-1"),
        (json!({"fieldRef": {"fieldPath": "spec.serviceAccountName"}}), "default"),
        (json!({"fieldRef": {"fieldPath": "status.podIP"}}), "10.88.0.5"),
        (json!({"fieldRef": {"fieldPath": "status.podIPs"}}), "10.88.0.5,fd00::5"),
        (json!({"fieldRef": {"fieldPath": "status.hostIP"}}), "192.0.2.1"),
        (json!({"fieldRef": {"fieldPath": "status.hostIPs"}}), "192.0.2.1,2001:db8::1"),
    ] {
        assert_eq!(one(json!({"valueFrom": from})).as_deref(), Ok(wanted), "{from}");
    }
}

#[test]
fn resources_in_units() {
    for (resource, divisor, wanted) in [
        ("limits.cpu", "0", "2"),
        ("limits.cpu", "1m", "1500"),
        ("limits.cpu", "1", "2"),
        ("limits.memory", "1Mi", "64"),
        ("limits.memory", "1", "67108864"),
        ("limits.memory", "60Mi", "2"),
        ("requests.cpu", "1m", "250"),
        ("requests.memory", "1", "0"),
        ("requests.ephemeral-storage", "1Gi", "1"),
    ] {
        let resources = json!({"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m", "ephemeral-storage": "1Mi"}});
        let from = json!({"resourceFieldRef": {"resource": resource, "divisor": divisor}});
        let variables = of(json!({"resources": resources, "env": [{"name": "V", "valueFrom": from}]}))
            .expect("variables");
        assert_eq!(variables, pairs(&[("V", wanted)]), "{resource} {divisor}");
    }
    let machine =
        one(json!({"valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}})).expect("a value");
    assert!(machine.parse::<i64>().expect("a number") > 1 << 20);
}

#[test]
fn what_is_missing_is_named_and_never_shown() {
    for (container, wanted) in [
        (
            json!({"envFrom": [{"configMapRef": {"name": "none"}}]}),
            "container main: envFrom[0]: configmap web/none not found",
        ),
        (
            json!({"envFrom": [{"secretRef": {"name": "theirs"}}]}),
            "container main: envFrom[0]: secret web/theirs not found",
        ),
        (
            json!({"env": [{"name": "V", "valueFrom": {"configMapKeyRef": {"name": "theirs", "key": "A"}}}]}),
            "container main: env V: configmap web/theirs not found",
        ),
        (
            json!({"env": [{"name": "V", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "K"}}}]}),
            "container main: env V: secret web/secret has no key \"K\"",
        ),
        (
            json!({"env": [{"name": "V", "valueFrom": {"fieldRef": {"fieldPath": "spec.replicas"}}}]}),
            "container main: env V: fieldRef.fieldPath: \"spec.replicas\" is no field that a container can be told",
        ),
        (
            json!({"env": [{"name": "V", "valueFrom": {"resourceFieldRef": {"containerName": "x", "resource": "limits.cpu"}}}]}),
            "container main: env V: resourceFieldRef.containerName: the Pod has no container \"x\"",
        ),
        (
            json!({"env": [{"name": "V", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "NUL"}}}]}),
            "container main: the value of variable V has a NUL byte, which no variable can have: use a volume",
        ),
        (
            json!({"args": ["$(BYTES)"], "env": [{"name": "BYTES", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "BYTES"}}}]}),
            "container main: args: \"$(BYTES)\": a variable's value is not UTF-8, which the runtime takes alone",
        ),
    ] {
        let error = of(container).expect_err(wanted);
        assert_eq!((error.reason, error.message.as_str()), ("CreateContainerConfigError", wanted));
    }
    assert_eq!(
        of(json!({"envFrom": [{"secretRef": {"name": "none", "optional": true}}]})).expect("optional"),
        []
    );
}
