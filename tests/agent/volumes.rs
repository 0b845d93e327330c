//! Volumes as a container sees them. What the kernel has to do with it is tested beside the code (agent/src/volumes/tests).

use rustix::process::Signal;

use crate::cluster::Cluster;
use crate::support;

/// What a command in a container of the Pod prints.
#[track_caller]
fn in_pod(cluster: &Cluster, pod: &str, command: &str) -> String {
    cluster.ok(&["exec", pod, "--", "sh", "-c", command])
}

/// Waits until a command in the Pod prints this.
#[track_caller]
fn prints(cluster: &Cluster, pod: &str, command: &str, text: &str) {
    support::wait_for(&format!("{command} to print {text:?}"), 30, || {
        (cluster.verb(&["exec", pod, "--", "sh", "-c", command]).stdout == text).then_some(())
    });
}

/// Whether an Event about a Pod says so.
fn told(cluster: &Cluster, text: &str) {
    support::wait_for(&format!("an event with {text:?}"), 30, || {
        cluster.ok(&["get", "events", "-o", "json"]).contains(text).then_some(())
    });
}

const FILES: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: red, size: "1"}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {password: hunter2}
---
apiVersion: v1
kind: Pod
metadata: {name: reader, labels: {app: reader}}
spec:
  securityContext: {fsGroup: 2000}
  containers:
  - name: c
    image: busybox:1
    command: [sleep, "1000"]
    volumeMounts:
    - {name: settings, mountPath: /settings}
    - {name: settings, mountPath: /color, subPath: color}
    - {name: login, mountPath: /login}
    - {name: all, mountPath: /all}
  volumes:
  - name: settings
    configMap: {name: settings}
  - name: login
    secret: {secretName: login, defaultMode: 0400}
  - name: all
    projected:
      sources:
      - configMap: {name: settings, items: [{key: size, path: deep/size}]}
      - secret: {name: login}
      - downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
"#;

#[test]
fn files_follow_their_objects_while_the_container_runs() {
    let cluster = cluster!();
    cluster.apply(FILES);
    cluster.ready("reader");
    let all = "cat /settings/color /color /login/password /all/deep/size /all/password /all/labels";
    assert_eq!(in_pod(&cluster, "reader", all), "redredhunter21hunter2app=\"reader\"");
    assert_eq!(in_pod(&cluster, "reader", "stat -L -c '%a %g' /login/password"), "440 2000\n");
    assert_eq!(in_pod(&cluster, "reader", "echo x >/settings/color || echo refused"), "refused\n");
    assert_eq!(in_pod(&cluster, "reader", "stat -f -c %T /login /all"), "tmpfs\ntmpfs\n");
    cluster.apply(&FILES.replace("red", "blue").replace("hunter2", "sesame"));
    prints(&cluster, "reader", "cat /settings/color /login/password /all/password", "bluesesamesesame");
    // A part that is mounted by itself stays as it was.
    assert_eq!(in_pod(&cluster, "reader", "cat /color"), "red");
    // Also with an agent that did not make it.
    cluster.end(Signal::KILL);
    cluster.start(&[]);
    cluster.apply(&FILES.replace("red", "green"));
    prints(&cluster, "reader", "cat /settings/color", "green");
    assert_eq!(
        cluster.object("pod", "reader").expect("a Pod")["status"]["containerStatuses"][0]["restartCount"],
        0
    );
    assert!(!cluster.log().contains("hunter2"), "a secret in the log");
}

#[test]
fn what_is_missing_is_waited_for() {
    let cluster = cluster!();
    let (objects, pod) = FILES.split_at(FILES.rfind("---").expect("three documents"));
    cluster.apply(pod);
    told(&cluster, "volume settings: configmap \\\"settings\\\" not found");
    cluster.apply(objects);
    cluster.ready("reader");
}

#[test]
fn containers_share_directories_on_disk_and_in_memory() {
    let cluster = cluster!();
    cluster.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: shared}
spec:
  initContainers:
  - name: first
    image: busybox:1
    command: [sh, -c, "echo hello >/disk/word; mkdir -p /disk/part; echo part >/disk/part/word"]
    volumeMounts: [{name: disk, mountPath: /disk}]
  containers:
  - name: c
    image: busybox:1
    env: [{name: PART, value: part}]
    command: [sleep, "1000"]
    volumeMounts:
    - {name: disk, mountPath: /data, readOnly: true}
    - {name: disk, mountPath: /part, subPathExpr: $(PART)}
    - {name: memory, mountPath: /memory}
    - {name: host, mountPath: /host}
  volumes:
  - name: disk
    emptyDir: {}
  - name: memory
    emptyDir: {medium: Memory, sizeLimit: 1Mi}
  - name: host
    hostPath: {path: /dev/shm/of-the-host, type: DirectoryOrCreate}
"#,
    );
    cluster.ready("shared");
    assert_eq!(in_pod(&cluster, "shared", "cat /data/word /part/word"), "hello\npart\n");
    assert_eq!(in_pod(&cluster, "shared", "echo x 2>/dev/null >/data/x || echo refused"), "refused\n");
    let big = "dd if=/dev/zero of=/memory/big bs=1M count=2 2>&1 | grep -o 'No space left'";
    assert_eq!(in_pod(&cluster, "shared", big), "No space left\n");
    in_pod(&cluster, "shared", "echo kept >/host/file");
    cluster.ok(&["delete", "pod", "shared", "--now"]);
    cluster.gone("pod", "shared");
    let kept = cluster.node.command(&["cat", "/dev/shm/of-the-host/file"]).wait().success();
    assert_eq!(kept.stdout, "kept\n");
    let left = cluster.node.command(&["grep", "-c", "pods/.*/volumes", "/proc/self/mountinfo"]).wait();
    assert_eq!(left.stdout, "0\n", "a mount is left");
}

#[test]
fn a_part_of_a_volume_never_leads_out_of_it() {
    let cluster = cluster!();
    cluster.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: hostile}
spec:
  initContainers:
  - name: plant
    image: busybox:1
    command: [ln, -s, /etc, /data/link]
    volumeMounts: [{name: data, mountPath: /data}]
  containers:
  - name: c
    image: busybox:1
    command: [sleep, "1000"]
    volumeMounts: [{name: data, mountPath: /stolen, subPath: link}]
  volumes:
  - name: data
    emptyDir: {}
"#,
    );
    let pod = cluster.wait("pod", "hostile", "refused", |pod| {
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        waiting["reason"] == "CreateContainerConfigError"
    });
    let message = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"];
    assert!(message.as_str().is_some_and(|text| text.contains("leads out of the volume")), "{message}");
}

#[test]
fn a_pod_waits_for_its_claim_and_the_claim_for_a_volume() {
    let cluster = cluster!();
    cluster.apply(
        r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
---
apiVersion: v1
kind: Pod
metadata: {name: user}
spec:
  containers:
  - name: c
    image: busybox:1
    command: [sh, -c, "date >>/data/starts; exec sleep 1000"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes:
  - name: data
    persistentVolumeClaim: {claimName: data}
"#,
    );
    told(&cluster, "is not bound: it waits for a PersistentVolume");
    cluster.node.command(&["mkdir", "-p", "/dev/shm/disk"]).wait().success();
    cluster.apply(
        r#"
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec:
  capacity: {storage: 2Gi}
  accessModes: [ReadWriteOnce]
  local: {path: /dev/shm/disk}
"#,
    );
    cluster.ready("user");
    let phase = |kind: &str, name: &str| cluster.object(kind, name).expect("it")["status"]["phase"].clone();
    assert_eq!((phase("pvc", "data"), phase("pv", "disk")), ("Bound".into(), "Bound".into()));
    prints(&cluster, "user", "wc -l </data/starts", "1\n");
    // It stays for the Pod that uses it.
    cluster.ok(&["delete", "pvc", "data", "--wait=false"]);
    assert!(cluster.object("pvc", "data").expect("it")["metadata"]["deletionTimestamp"].is_string());
    cluster.ok(&["delete", "pod", "user", "--now"]);
    cluster.gone("pod", "user");
    cluster.gone("pvc", "data");
    cluster.wait("pv", "disk", "released", |volume| volume["status"]["phase"] == "Released");
    let kept = cluster.node.command(&["wc", "-l", "/dev/shm/disk/starts"]).wait().success();
    assert!(kept.stdout.starts_with("1 "), "{}", kept.stdout);
}

#[test]
fn a_namespace_takes_all_with_it() {
    let cluster = cluster!();
    cluster.apply("{apiVersion: v1, kind: Namespace, metadata: {name: web}}");
    let pod = FILES.replace("metadata: {name: ", "metadata: {namespace: web, name: ");
    cluster.apply(&pod);
    support::wait_for("the Pod", 30, || {
        let pods = cluster.ok(&["get", "pods", "-n", "web", "-o", "json"]);
        pods.contains("\"Running\"").then_some(())
    });
    cluster.ok(&["delete", "namespace", "web", "--wait=false"]);
    let refused =
        cluster.try_apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: late, namespace: web}}");
    assert!(!refused.status.success());
    cluster.gone("namespace", "web");
    for kind in ["pods", "configmaps", "secrets"] {
        assert!(!cluster.ok(&["get", kind, "-A", "-o", "name"]).contains("reader"), "{kind}");
    }
}
