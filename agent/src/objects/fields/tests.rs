use serde_json::{Value, json};

use super::*;

fn errors(kind: Kind, manifest: Value) -> Vec<String> {
    check(kind, &manifest).iter().map(ToString::to_string).collect()
}

#[test]
fn unknown_and_unsupported_fields_are_told_apart_by_their_paths() {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"any": "thing"}}, "spce": {},
        "spec": {
            "containers": [
                {"name": "a", "image": "a"},
                {"name": "b", "image": "b", "lifecycle": {"stopSignal": "SIGINT", "preStart": {}}, "volumeDevices": []},
            ],
            "affinity": {"nodeAffinity": {}},
            "volumes": [{"name": "v", "iscsi": {"iqn": "x", "lun": 0, "targetPortal": "x"}}],
        },
    });
    assert_eq!(
        errors(Kind::Pod, pod),
        [
            "spce: unknown field",
            "spec.affinity: not supported by this agent: there is one node",
            "spec.containers[1].lifecycle.preStart: unknown field",
            "spec.containers[1].volumeDevices: not supported by this agent: only filesystems are mounted",
            "spec.volumes[0].iscsi: not supported by this agent",
        ]
    );
    let deployment = json!({"spec": {"template": {"spec": {"containers": [{"imagePullPolicies": ""}]}}}});
    assert_eq!(
        errors(Kind::Deployment, deployment),
        ["spec.template.spec.containers[0].imagePullPolicies: unknown field"]
    );
    let map = json!({"data": {"a.b/c": "x", "status": "x"}, "binaryData": {"b": "AAAA"}});
    assert!(errors(Kind::ConfigMap, map).is_empty());
}

#[test]
fn a_wrong_type_has_its_path_and_no_value() {
    let error = |kind, value| typed(kind, value).unwrap_err().to_string();
    assert_eq!(
        error(Kind::Deployment, json!({"spec": {"template": {"spec": {"containers": [{"name": 7}]}}}})),
        "spec.template.spec.containers[0].name: a string is wanted"
    );
    assert_eq!(
        error(Kind::Secret, json!({"stringData": {"key": 12345}})),
        "stringData.key: a string is wanted"
    );
    assert_eq!(error(Kind::Secret, json!({"data": {"key": "hunter2!"}})), "data.key: not base64");
    assert_eq!(error(Kind::Pod, json!({"spec": "x"})), "spec: a map, the fields of PodSpec, is wanted");
    let replicas = |value: Value| error(Kind::Deployment, json!({"spec": {"replicas": value}}));
    assert_eq!(replicas(json!("three")), "spec.replicas: a whole number of 32 bits is wanted");
    assert_eq!(replicas(json!(99_999_999_999_u64)), "spec.replicas: a whole number of 32 bits is wanted");
    assert_eq!(
        error(Kind::Pod, json!({"spec": {"containers": {"name": "a"}}})),
        "spec.containers: a list is wanted"
    );
}

#[test]
fn nulls_say_nothing() {
    let mut value = json!({"a": null, "b": [{"c": null, "d": 1}], "e": {}});
    without_nulls(&mut value);
    assert_eq!(value, json!({"b": [{"d": 1}], "e": {}}));
}

/// Every name of the table is one that Kubernetes has, at that place.
#[test]
fn the_table_has_only_fields_of_kubernetes() {
    for kind in Kind::ALL.iter().copied().filter(|kind| *kind != Kind::Event) {
        let fields = Table::get().fields(kind.name()).unwrap();
        assert!(!fields.is_empty(), "{kind}");
        each_is_kept(kind, fields, &|value| value, "");
    }
}

fn each_is_kept(kind: Kind, fields: &'static [Field], within: &dyn Fn(Value) -> Value, path: &str) {
    // apiVersion and kind are read by the caller, and the type refuses others.
    for field in fields.iter().filter(|field| !["apiVersion", "kind"].contains(&field.name)) {
        let path = format!("{path}/{}", field.name);
        let samples =
            [json!({}), json!([]), json!("2026-01-01T00:00:00Z"), json!(1), json!(true), json!([{}])];
        let at = |value: Value| within(json!({field.name: value}));
        // A list of objects keeps a list that an object does not.
        let kept = |sample: &Value| {
            let object = Object::from_value(kind, at(sample.clone())).ok()?;
            contains(&at(sample.clone()), &object.to_value()).then_some(())
        };
        let fits: Vec<_> = samples.iter().filter(|sample| kept(sample).is_some()).collect();
        assert!(!fits.is_empty(), "{kind}{path} is not Kubernetes'");
        if let Some(of) = field.of {
            let listed = !fits.contains(&&samples[0]);
            let within = |value: Value| at(if listed { json!([value]) } else { value });
            each_is_kept(kind, of, &within, &path);
        }
    }
}

fn contains(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|whole| contains(value, whole)))
        }
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(part, whole)| contains(part, whole))
        }
        _ => true,
    }
}
