use serde_json::Value;

use super::*;
use crate::objects::{Kind, defaults, fields, yaml};

fn object(text: &str) -> Object {
    let (_, value) = yaml::documents(text).unwrap().remove(0);
    let text = |name: &str| value[name].as_str().unwrap().to_owned();
    let kind = Kind::of_manifest(&text("apiVersion"), &text("kind")).unwrap();
    assert!(fields::check(kind, &value).is_empty(), "{:?}", fields::check(kind, &value));
    let mut object = fields::typed(kind, value).unwrap();
    if kind.namespaced() {
        object.metadata_mut().namespace = Some("default".into());
    }
    defaults::complete(&mut object);
    object
}

fn broken(text: &str) -> Vec<String> {
    check(&object(text)).iter().map(ToString::to_string).collect()
}

/// A Pod with these lines in its spec, and a container with these.
fn pod(of_spec: &str, of_container: &str) -> String {
    let indent = |text: &str, by: usize| {
        text.lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect::<String>()
    };
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n{}  containers:\n  - name: main\n    image: app\n{}",
        indent(of_spec, 2),
        indent(of_container, 4)
    )
}

/// Each breaks these rules, and no others.
fn each(cases: &[(String, &[&str])]) {
    for (text, expected) in cases {
        assert_eq!(broken(text), *expected, "{text}");
    }
}

#[test]
fn good_pods_break_no_rule() {
    let full = pod(
        "hostname: h\nsubdomain: s\nhostAliases: [{ip: 10.0.0.1, hostnames: [a.b]}]\ndnsPolicy: None\n\
         dnsConfig: {nameservers: [10.0.0.1], searches: [a.b], options: [{name: ndots, value: '5'}]}\n\
         securityContext: {runAsUser: 1000, fsGroup: 1, sysctls: [{name: net.core.somaxconn, value: '1'}], \
         seccompProfile: {type: RuntimeDefault}}\n\
         tolerations: [{operator: Exists}]\nos: {name: linux}\nserviceAccountName: default\n\
         volumes: [{name: a}, {name: b, hostPath: {path: /b}}, {name: c, configMap: {name: c, items: [{key: k, path: d/k}]}},\
         {name: d, downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}]}}]\n\
         initContainers: [{name: init, image: a}, {name: side, image: a, restartPolicy: Always, startupProbe: {exec: {command: [a]}}}]",
        "ports: [{name: http, containerPort: 80, hostPort: 80}]\n\
         env: [{name: A, value: b}, {name: B, valueFrom: {fieldRef: {fieldPath: \"metadata.annotations['a/b']\"}}}]\n\
         envFrom: [{prefix: X_, secretRef: {name: s}}]\n\
         volumeMounts: [{name: a, mountPath: /a, subPath: x/y}, {name: b, mountPath: /b}]\n\
         resources: {limits: {cpu: 1, memory: 64Mi, ephemeral-storage: 1Gi}, requests: {cpu: 500m}}\n\
         livenessProbe: {httpGet: {port: http, path: /x}}\nlifecycle: {preStop: {sleep: {seconds: 1}}, stopSignal: SIGINT}",
    );
    assert_eq!(broken(&full), [""; 0]);
}

#[test]
fn bad_pods_say_where() {
    each(&[
        (
            pod("", "volumeMounts: [{name: none, mountPath: /a}]"),
            &["spec.containers[0].volumeMounts[0].name: \"none\" is no volume of the Pod"],
        ),
        (pod("volumes: [{name: a}, {name: a}]", ""), &["spec.volumes[1].name: \"a\" is there twice"]),
        (
            pod("volumes: [{name: a, emptyDir: {}, hostPath: {path: /}}]", ""),
            &["spec.volumes[0]: only one of emptyDir, hostPath may be there"],
        ),
        (
            pod("volumes: [{name: a, hostPath: {path: /a/../b}}]", ""),
            &["spec.volumes[0].hostPath.path: \"/a/../b\" must be an absolute path without \"..\""],
        ),
        (
            pod("initContainers: [{name: main, image: a, readinessProbe: {tcpSocket: {port: 1}}}]", ""),
            &[
                "spec.initContainers[0].readinessProbe: an init container has none, unless its restartPolicy is Always",
                "spec.containers[0].name: \"main\" is there twice",
            ],
        ),
        (
            pod("", "livenessProbe: {periodSeconds: 1}"),
            &["spec.containers[0].livenessProbe: one of exec, httpGet, tcpSocket, grpc is needed"],
        ),
        (
            pod("", "livenessProbe: {exec: {command: [a]}, tcpSocket: {port: 1}, successThreshold: 2}"),
            &[
                "spec.containers[0].livenessProbe: only one of exec, tcpSocket may be there",
                "spec.containers[0].livenessProbe.successThreshold: it must be 1",
            ],
        ),
        (
            pod("", "resources: {limits: {cpu: 1}, requests: {cpu: 2, memory: 1x}}"),
            &[
                "spec.containers[0].resources.requests.memory: \"1x\" is no amount, as 500m or 64Mi",
                "spec.containers[0].resources.requests.cpu: it is more than the limit of 1",
            ],
        ),
        (
            pod("", "resources: {limits: {nvidia.com/gpu: 1}}"),
            &[
                "spec.containers[0].resources.limits.nvidia.com/gpu: not supported by this agent: there are cpu, memory and ephemeral-storage",
                "spec.containers[0].resources.requests.nvidia.com/gpu: not supported by this agent: there are cpu, memory and ephemeral-storage",
            ],
        ),
        (
            pod(
                "",
                "ports: [{containerPort: 0}, {containerPort: 80, name: a}, {containerPort: 81, name: a}]",
            ),
            &[
                "spec.containers[0].ports[0].containerPort: 0: it must be from 1 to 65535",
                "spec.containers[0].ports[2].name: \"a\" is there twice",
            ],
        ),
        (
            pod("", "env: [{name: A, value: b, valueFrom: {fieldRef: {fieldPath: spec.x}}}]"),
            &[
                "spec.containers[0].env[0].valueFrom: it cannot be together with a value",
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: \"spec.x\" is none of metadata.name, metadata.namespace, \
             metadata.uid, spec.nodeName, spec.serviceAccountName, status.hostIP, status.hostIPs, status.podIP, status.podIPs, \
             metadata.labels['KEY'], metadata.annotations['KEY']",
            ],
        ),
        (
            pod("hostPID: true\nshareProcessNamespace: true\nhostUsers: false", ""),
            &[
                "spec.shareProcessNamespace: it cannot be together with hostPID",
                "spec.hostUsers: false cannot be together with hostNetwork, hostPID or hostIPC",
            ],
        ),
        (
            pod(
                "securityContext: {sysctls: [{name: vm.swappiness, value: '1'}]}",
                "securityContext: {runAsUser: -1}",
            ),
            &[
                "spec.containers[0].securityContext.runAsUser: -1: it must be from 0 to 2147483647",
                "spec.securityContext.sysctls[0].name: \"vm.swappiness\" is of no namespace: it would be the whole machine's",
            ],
        ),
        (
            pod("serviceAccountName: robot\nos: {name: windows}", ""),
            &[
                "spec.os.name: \"windows\" is none of linux",
                "spec.serviceAccountName: not supported by this agent: there are no service accounts",
                "spec.serviceAccount: not supported by this agent: there are no service accounts",
            ],
        ),
        (
            pod(
                "restartPolicy: Sometimes\ndnsPolicy: None",
                "restartPolicy: Maybe\nrestartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [3, 256]}}]",
            ),
            &[
                "spec.containers[0].restartPolicy: \"Maybe\" is none of Always, OnFailure, Never",
                "spec.containers[0].restartPolicyRules[0].exitCodes.values[1]: 256: it must be from 0 to 255",
                "spec.restartPolicy: \"Sometimes\" is none of Always, OnFailure, Never",
                "spec.dnsConfig.nameservers: dnsPolicy None needs one",
            ],
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: A_b, labels: {a/b/c: x, d: '-'}}\nspec: {}\n".into(),
            &[
                "metadata.name: \"A_b\" must be at most 253 lower case letters, digits, '-' and '.', and begin and end each part \
             with a letter or digit",
                "metadata.labels[a/b/c]: \"a/b/c\" must be a name of at most 63 letters, digits, '-', '_' and '.', or DOMAIN/NAME",
                "metadata.labels[d]: \"-\" must be at most 63 letters, digits, '-', '_' and '.', and begin and end with a letter \
             or digit",
                "spec.containers: at least one is needed",
            ],
        ),
    ]);
}

fn deployment(of_spec: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d}}\nspec:\n  template: {{metadata: {{labels: {{a: b}}}}, \
         spec: {{containers: [{{name: a, image: a}}]}}}}\n  {of_spec}\n"
    )
}

#[test]
fn bad_workloads_say_where() {
    let job = |of_spec: &str, policy: &str| {
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: d}}\nspec:\n  template: {{spec: {{restartPolicy: {policy}, \
             containers: [{{name: a, image: a}}]}}}}\n  {of_spec}\n"
        )
    };
    each(&[
        (deployment("selector: {matchLabels: {a: b}}"), &[]),
        (
            deployment("selector: {matchLabels: {a: c}}"),
            &["spec.selector: it does not match the labels of spec.template.metadata"],
        ),
        (deployment("paused: true"), &["spec.selector: it is empty: it has to select the template's labels"]),
        (
            deployment(
                "selector: {matchLabels: {a: b}}\n  replicas: -1\n  \
                 strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0%}}",
            ),
            &[
                "spec.replicas: -1: it must be from 0 to 10000",
                "spec.strategy.rollingUpdate.maxUnavailable: it cannot be 0 when maxSurge is 0: nothing could change",
            ],
        ),
        (
            deployment(
                "selector: {matchLabels: {a: b}}\n  strategy: {type: Recreate, rollingUpdate: {maxSurge: x}}",
            ),
            &[
                "spec.strategy.rollingUpdate: it is for the type RollingUpdate",
                "spec.strategy.rollingUpdate.maxSurge: \"x\" is neither a number nor a percentage",
            ],
        ),
        (job("completions: 1", "Never"), &[]),
        (
            job("completionMode: Indexed\n  parallelism: 1", "Always"),
            &[
                "spec.template.spec.restartPolicy: \"Always\" is none of OnFailure, Never",
                "spec.completions: the mode Indexed needs it",
            ],
        ),
    ]);
    let cron = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\nspec: {schedule: 'every day', jobTemplate: {spec: \
                {template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}}}";
    assert!(broken(cron)[0].starts_with("spec.schedule: "), "{:?}", broken(cron));
    let set = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: s}\nspec:\n  selector: {matchLabels: {a: b}}\n  \
               template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a, volumeMounts: [{name: data, \
               mountPath: /d}]}]}}\n  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], \
               resources: {requests: {storage: 1Gi}}}}]\n";
    assert_eq!(broken(set), [""; 0]);
}

#[test]
fn a_headless_service_leads_to_any_port() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {clusterIP: None, ports: [{port: 80, targetPort: 8080}]}\n";
    assert_eq!(broken(service), [""; 0]);
}

#[test]
fn other_bad_objects_say_where() {
    let v1 =
        |kind: &str, rest: &str| format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: x}}\n{rest}\n");
    let ingress = |spec: &str| {
        format!("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: i}}\nspec: {spec}\n")
    };
    each(&[
        (
            v1("Service", "spec: {type: LoadBalancer, ports: [{port: 80}]}"),
            &["spec.type: LoadBalancer is not supported by this agent: use NodePort or an Ingress"],
        ),
        (
            v1("Service", "spec: {ports: [{port: 80}, {port: 80, name: a}]}"),
            &[
                "spec.ports[0].name: it is needed where there are several ports",
                "spec.ports[1].port: \"80/TCP\" is there twice",
            ],
        ),
        (v1("Service", "spec: {selector: {a: b}}"), &["spec.ports: at least one is needed"]),
        (v1("Service", "spec: {type: ExternalName}"), &["spec.externalName: it is not set"]),
        (
            v1("Endpoints", "subsets: [{addresses: [{ip: x}], ports: [{port: 0}]}]"),
            &[
                "subsets[0].addresses[0].ip: \"x\" is no address of an endpoint",
                "subsets[0].ports[0].port: 0: it must be from 1 to 65535",
            ],
        ),
        (ingress("{}"), &["spec: rules or a defaultBackend are needed"]),
        (
            ingress(
                "{rules: [{host: 1.2.3.4, http: {paths: [{path: a//b, backend: {service: {name: s, port: {name: a, number: 1}}}}]}}]}",
            ),
            &[
                "spec.rules[0].host: an address is no name of a host",
                "spec.rules[0].http.paths[0].pathType: it is not set",
                "spec.rules[0].http.paths[0].path: it must begin with '/'",
                "spec.rules[0].http.paths[0].path: \"//\" must not be in it",
                "spec.rules[0].http.paths[0].backend.service.port: only one of name, number may be there",
            ],
        ),
        (
            v1("PersistentVolume", "spec: {accessModes: [Any], capacity: {storage: 0}}"),
            &[
                "spec.accessModes[0]: \"Any\" is none of ReadWriteOnce, ReadOnlyMany, ReadWriteMany, ReadWriteOncePod",
                "spec.capacity.storage: \"0\" is no size, as 1Gi",
                "spec: one of hostPath, local, nfs is needed",
            ],
        ),
        (
            v1("PersistentVolumeClaim", "spec: {}"),
            &["spec.accessModes: at least one is needed", "spec.resources.requests.storage: it is not set"],
        ),
        (
            v1("ConfigMap", "data: {a/b: x, ok: x}\nbinaryData: {ok: AAAA}"),
            &[
                "data[a/b]: \"a/b\" must be at most 253 letters, digits, '-', '_' and '.', and not begin with \"..\"",
                "binaryData[ok]: it is in data, too",
            ],
        ),
        (
            v1("Secret", "type: kubernetes.io/tls\nstringData: {tls.key: x}"),
            &["data[tls.crt]: the type kubernetes.io/tls needs it"],
        ),
        (
            v1("ResourceQuota", "spec: {hard: {pods: -1, gpus: 1}}"),
            &[
                "spec.hard.gpus: not supported by this agent: this is not counted",
                "spec.hard.pods: it is no amount",
            ],
        ),
        (
            v1(
                "LimitRange",
                "spec: {limits: [{type: Pod, min: {cpu: 2}, max: {cpu: 1}, default: {cpu: 1}}]}",
            ),
            &[
                "spec.limits[0].default: it is for the type Container",
                "spec.limits[0].min.cpu: it is more than max",
            ],
        ),
        (
            "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: r}\nhandler: \"\"\n".into(),
            &["handler: it is not set"],
        ),
    ]);
}

#[test]
fn some_things_cannot_be_changed() {
    let changed = |before: &str, after: &str| -> Vec<String> {
        check_change(&object(before), &object(after)).iter().map(|broken| broken.path.clone()).collect()
    };
    assert_eq!(changed(&pod("", ""), &pod("", "")), [""; 0]);
    let (other, latest) = (pod("", "").replace("image: app", "image: app:2"), pod("", ""));
    assert_eq!(changed(&other, &latest), [""; 0]);
    assert_eq!(
        changed(&pod("", "command: [a]"), &pod("hostname: h", "command: [b]")),
        ["spec.containers[0].command[0]", "spec.hostname",]
    );
    assert_eq!(
        changed(
            &pod("activeDeadlineSeconds: 9", ""),
            &pod("activeDeadlineSeconds: 5\ntolerations: [{key: a}]", "")
        ),
        [""; 0]
    );
    assert_eq!(
        changed(&pod("activeDeadlineSeconds: 5", ""), &pod("activeDeadlineSeconds: 9", "")),
        ["spec.activeDeadlineSeconds",]
    );
    let selector = |key: &str| deployment(&format!("selector: {{matchLabels: {{{key}: b}}}}"));
    assert_eq!(changed(&selector("a"), &selector("c")), ["spec.selector"]);
    let map = |data: &str, fixed: bool| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata: {{a: {data}}}\nimmutable: {fixed}\n"
        )
    };
    assert_eq!(changed(&map("x", true), &map("y", false)), ["data", "immutable"]);
    assert_eq!(changed(&map("x", false), &map("y", true)), [""; 0]);
    let secret = |kind: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ntype: {kind}\n");
    assert_eq!(changed(&secret("a/b"), &secret("c/d")), ["type"]);
}

#[test]
fn a_secret_that_is_wrong_is_not_told() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: kubernetes.io/dockerconfigjson\n\
                stringData: {.dockerconfigjson: hunter2}\n";
    assert_eq!(broken(text), ["data[.dockerconfigjson]: it is no JSON"]);
}

/// Whatever stands in a manifest, judging it does not panic.
#[test]
fn nothing_panics_on_empty_objects() {
    for kind in Kind::ALL.iter().copied() {
        let mut object = Object::from_value(kind, Value::Object(serde_json::Map::new())).unwrap();
        defaults::complete(&mut object);
        let _ = check(&object);
        let _ = check_change(&object, &object.clone());
    }
}

#[test]
fn numbers_that_would_fill_memory_are_refused() {
    let template =
        "{metadata: {labels: {a: b}}, spec: {restartPolicy: POLICY, containers: [{name: c, image: i}]}}";
    let deployment = |replicas: i64| {
        let template = template.replace("POLICY", "Always");
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d}}\nspec:\n  replicas: {replicas}\n  \
             selector: {{matchLabels: {{a: b}}}}\n  template: {template}\n"
        )
    };
    let job = |parallelism: i64, completions: i64| {
        let template = template.replace("POLICY", "Never");
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: j}}\nspec:\n  parallelism: {parallelism}\n  \
             completions: {completions}\n  completionMode: Indexed\n  template: {template}\n"
        )
    };
    each(&[
        (deployment(10_000), &[]),
        (deployment(2_000_000_000), &["spec.replicas: 2000000000: it must be from 0 to 10000"]),
        (job(10_000, 100_000), &[]),
        (
            job(10_001, 100_001),
            &[
                "spec.parallelism: 10001: it must be from 0 to 10000",
                "spec.completions: 100001: it must be from 0 to 100000",
            ],
        ),
    ]);
}
