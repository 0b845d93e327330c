//! What a Pod's spec says, as its containers see it.

use crate::cluster::Cluster;
use crate::support;

/// Waits for a container's log to end with a line "end", and gives it.
#[track_caller]
fn told(cluster: &Cluster, pod: &str, container: &str) -> String {
    support::wait_for(&format!("the words of {pod}/{container}"), 60, || {
        let outcome = cluster.verb(&["logs", pod, "-c", container]);
        outcome.stdout.ends_with("end\n").then_some(outcome.stdout)
    })
}

/// The value of `NAME=value` in such a log.
fn value<'a>(told: &'a str, name: &str) -> &'a str {
    let line = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {name} in {told}"))
}

/// A Pod whose one container runs a script; `rest` are fields of the container, `spec` of the Pod, in YAML's flow style.
fn pod(name: &str, script: &str, rest: &str, spec: &str) -> String {
    let script = serde_json::to_string(&format!("{script}\necho end; exec sleep 1000")).expect("JSON");
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec: {{terminationGracePeriodSeconds: 0, {spec} \
         containers: [{{name: main, image: 'busybox:1', {rest} command: [sh, -c, {script}]}}]}}\n"
    )
}

const OBJECTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: map}
data: {A: map-a, B: map-b}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {word: open-sesame}
---
apiVersion: v1
kind: Service
metadata: {name: back-end}
spec: {selector: {app: back}, ports: [{port: 80}]}
"#;

fn variables(cluster: &Cluster) {
    cluster.apply(OBJECTS);
    cluster.apply(&pod(
        "env",
        "env | sort; echo \"args=$0 $*\"",
        r#"resources: {limits: {memory: 64Mi, cpu: 1500m}},
           envFrom: [{prefix: P_, configMapRef: {name: map}}, {configMapRef: {name: none, optional: true}}],
           env: [{name: X, value: "$(P_A) $(NONE) $$(P_A)"}, {name: WORD, valueFrom: {secretKeyRef: {name: login, key: word}}},
                 {name: B, valueFrom: {configMapKeyRef: {name: map, key: B}}},
                 {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}},
                 {name: APP, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}},
                 {name: CPUS, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}, {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}],
           args: ["$(X)", "$(WORD)"],"#,
        "",
    ));
    let said = told(cluster, "env", "main");
    // The status follows what runs.
    let status = cluster.ready("env")["status"].clone();
    let address = status["podIP"].as_str().expect("an address");
    for (name, wanted) in [
        ("P_A", "map-a"),
        ("P_B", "map-b"),
        ("B", "map-b"),
        ("X", "map-a $(NONE) $(P_A)"),
        ("WORD", "open-sesame"),
        ("POD", "env"),
        ("APP", "env"),
        ("ADDRESS", address),
        ("CPUS", "2"),
        ("MEMORY", "64"),
        ("BACK_END_SERVICE_PORT", "80"),
        ("args", "map-a $(NONE) $(P_A) open-sesame"),
    ] {
        assert_eq!(value(&said, name), wanted, "{name}");
    }
    assert_eq!(status["qosClass"], "Guaranteed");
    assert!(!cluster.ok(&["describe", "pod", "env"]).contains("open-sesame"));
}

#[test]
fn containers_get_their_variables() {
    variables(&cluster!());
}

#[test]
fn containers_get_their_variables_of_containerd_too() {
    variables(&support::require!(Cluster::on_containerd()));
}

#[test]
fn what_is_missing_is_named_and_waited_for() {
    let cluster = cluster!();
    cluster.apply(&pod(
        "late",
        "echo V=$V",
        "env: [{name: V, valueFrom: {configMapKeyRef: {name: map, key: A}}}],",
        "",
    ));
    let waiting = cluster.wait("pod", "late", "waiting", |pod| {
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    });
    let message = waiting["status"]["containerStatuses"][0]["state"]["waiting"]["message"].to_string();
    assert!(message.contains("container main: env V: configmap default/map not found"), "{message}");
    cluster.apply(OBJECTS);
    assert_eq!(value(&told(&cluster, "late", "main"), "V"), "map-a");
}

#[test]
fn pods_have_names_and_resolvers() {
    let cluster = cluster!();
    let script =
        "echo NAME=$(hostname); echo FULL=$(hostname -f 2>/dev/null); cat /etc/hosts; cat /etc/resolv.conf";
    cluster.apply(&pod(
        "plain",
        script,
        "",
        "hostAliases: [{ip: 192.0.2.7, hostnames: [db, db.example.org]}],",
    ));
    cluster.apply(&pod("named", script, "", "hostname: h, subdomain: s, setHostnameAsFQDN: true, dnsPolicy: None, dnsConfig: {nameservers: [192.0.2.53], searches: [x.example], options: [{name: ndots, value: '3'}]},"));
    let plain = told(&cluster, "plain", "main");
    let status = cluster.ready("plain")["status"].clone();
    let address = status["podIP"].as_str().expect("an address");
    assert_eq!(value(&plain, "NAME"), "plain");
    for line in [
        format!("{address}\tplain"),
        "192.0.2.7\tdb\tdb.example.org".into(),
        "nameserver 10.96.0.10".into(),
        "search default.svc.cluster.local svc.cluster.local cluster.local".into(),
        "options ndots:5".into(),
    ] {
        assert!(plain.lines().any(|other| other.starts_with(&line)), "{line}: {plain}");
    }
    let named = told(&cluster, "named", "main");
    assert_eq!(value(&named, "NAME"), "h.s.default.svc.cluster.local");
    for line in ["nameserver 192.0.2.53", "search x.example", "options ndots:3"] {
        assert!(named.lines().any(|other| other == line), "{line}: {named}");
    }
    assert!(!named.contains("10.96.0.10"), "{named}");
}

const NAMESPACES: &str = "for n in net ipc uts pid user; do echo $n=$(readlink /proc/self/ns/$n); done";

#[test]
fn namespaces_are_shared_as_asked() {
    let cluster = cluster!();
    let host = cluster.node.run(&["sh", "-c", NAMESPACES]).success().stdout;
    cluster.apply(&pod("own", NAMESPACES, "", ""));
    cluster.apply(&pod("host", NAMESPACES, "", "hostNetwork: true, hostPID: true, hostIPC: true,"));
    let sibling = r#"{name: other, image: 'busybox:1', command: [sh, -c, "exec sleep 4321"]},"#;
    let processes = "until grep -aqs '432[1]' /proc/[0-9]*/cmdline; do sleep 0.1; done; echo SEEN=yes";
    let shared = pod("shared", processes, "", "shareProcessNamespace: true,")
        .replace("containers: [", &format!("containers: [{sibling}"));
    cluster.apply(&shared);
    let (own, theirs) = (told(&cluster, "own", "main"), told(&cluster, "host", "main"));
    for name in ["net", "ipc", "pid"] {
        assert_ne!(value(&own, name), value(&host, name), "{name}");
        assert_eq!(value(&theirs, name), value(&host, name), "{name}");
    }
    assert_eq!(value(&told(&cluster, "shared", "main"), "SEEN"), "yes");
    let status = cluster.ready("host")["status"].clone();
    assert_eq!(status["podIP"], status["hostIP"]);
}

#[test]
fn user_namespaces_where_the_runtime_has_them() {
    let cluster = cluster!();
    let script = "echo MAP=$(cat /proc/self/uid_map); id; touch /data/x && ls -n /data; cat /etc/hosts >/dev/null && echo said >/dev/termination-log && echo HOSTS=read";
    let both = ["one", "two"].map(|name| {
        pod(
            name,
            script,
            "volumeMounts: [{name: d, mountPath: /data}],",
            "hostUsers: false, volumes: [{name: d, emptyDir: {}}],",
        )
    });
    cluster.knows_its_runtime();
    let applied = cluster.try_apply(&both.concat());
    if !applied.status.success() {
        assert!(applied.stderr.contains("spec.hostUsers"), "{}", applied.stderr);
        eprintln!("SKIP user_namespaces_where_the_runtime_has_them: the runtime has none");
        return;
    }
    let maps = ["one", "two"].map(|name| {
        let said = told(&cluster, name, "main");
        assert_eq!(value(&said, "HOSTS"), "read");
        value(&said, "MAP")
            .split_whitespace()
            .map(|number| number.parse::<u64>().expect("a number"))
            .collect::<Vec<_>>()
    });
    for map in &maps {
        assert!(map[0] == 0 && map[1] >= 0x7000_0000 && map[2] == 65_536, "{map:?}");
    }
    assert_ne!(maps[0][1], maps[1][1]);
}

fn security(cluster: &Cluster) {
    cluster.apply(&pod(
        "safe",
        "id; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status | sed 's/:[[:space:]]*/=/'; touch /x 2>/dev/null || echo ROOTFS=readonly; cat /proc/sys/net/ipv4/ip_unprivileged_port_start | sed s/^/SYSCTL=/",
        "securityContext: {runAsUser: 1234, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}},",
        "securityContext: {runAsUser: 1, runAsGroup: 4321, fsGroup: 55, supplementalGroups: [66], runAsNonRoot: true, sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: '80'}]},",
    ));
    cluster.apply(&pod("root", "true", "", "securityContext: {runAsNonRoot: true},"));
    let said = told(cluster, "safe", "main");
    let ids = said.lines().find(|line| line.starts_with("uid=")).unwrap_or_default();
    for part in ["uid=1234", "gid=4321", "55", "66"] {
        assert!(ids.contains(part), "{part}: {said}");
    }
    for (name, wanted) in [
        ("CapEff", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("ROOTFS", "readonly"),
        ("SYSCTL", "80"),
    ] {
        assert_eq!(value(&said, name), wanted, "{name}");
    }
    let root = cluster.wait("pod", "root", "refused", |pod| {
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    });
    let message = root["status"]["containerStatuses"][0]["state"]["waiting"]["message"].to_string();
    assert!(message.contains("securityContext.runAsNonRoot: the image runs as root"), "{message}");
}

#[test]
fn security_contexts_hold() {
    security(&cluster!());
}

#[test]
fn security_contexts_hold_with_containerd_too() {
    security(&support::require!(Cluster::on_containerd()));
}

#[test]
fn privileged_containers_are() {
    let cluster = cluster!();
    cluster.apply(&pod("strong", "grep CapEff /proc/self/status | sed 's/:[[:space:]]*/=/'; test -w /proc/sys/kernel/domainname && echo PROC=writable", "securityContext: {privileged: true},", ""));
    let said = told(&cluster, "strong", "main");
    assert_ne!(value(&said, "CapEff"), "0000000000000000");
    assert_eq!(value(&said, "PROC"), "writable");
}

#[test]
fn a_runtime_class_that_is_not_there_is_named() {
    let cluster = cluster!();
    cluster.apply(&pod("classy", "true", "", "runtimeClassName: strong,"));
    support::wait_for("an event", 30, || {
        cluster.ok(&["describe", "pod", "classy"]).contains("runtimeclass strong not found").then_some(())
    });
}

#[test]
fn last_words_are_told() {
    let cluster = cluster!();
    let one = |name: &str, script: &str, policy: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{restartPolicy: Never, containers: [{{name: main, image: 'busybox:1', \
             terminationMessagePolicy: {policy}, command: [sh, -c, {script}]}}]}}\n"
        )
    };
    let all = [
        one("file", "'echo -n said >/dev/termination-log; exit 3'", "File"),
        one("log", "'echo first; echo last; exit 4'", "FallbackToLogsOnError"),
        one("link", "'rm -f /dev/termination-log; ln -s /etc/passwd /dev/termination-log; exit 5'", "File"),
    ];
    cluster.apply(&all.concat());
    for (name, code, message) in [("file", 3, "said"), ("log", 4, "first\nlast\n")] {
        let pod = cluster.wait("pod", name, "failed", |pod| pod["status"]["phase"] == "Failed");
        let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(
            (ended["exitCode"].as_i64(), ended["message"].as_str()),
            (Some(code), Some(message)),
            "{name}"
        );
    }
    let pod = cluster.wait("pod", "link", "failed", |pod| pod["status"]["phase"] == "Failed");
    assert!(!pod.to_string().contains("root:"), "{pod}");
}

#[test]
fn hooks_are_called_before_and_after() {
    let cluster = cluster!();
    let hooks = r#"lifecycle: {postStart: {exec: {command: [sh, -c, "echo started >/data/start"]}}, preStop: {exec: {command: [sh, -c, "echo stopped >/data/stop"]}}},
        volumeMounts: [{name: d, mountPath: /data}],"#;
    let volume = "volumes: [{name: d, hostPath: {path: /run/hooks, type: DirectoryOrCreate}}],";
    let hooked = pod("hooked", "until test -s /data/start; do sleep 0.1; done", hooks, volume)
        .replace("terminationGracePeriodSeconds: 0,", "terminationGracePeriodSeconds: 10,");
    cluster.apply(&hooked);
    told(&cluster, "hooked", "main");
    cluster.ok(&["delete", "pod", "hooked"]);
    cluster.gone("pod", "hooked");
    cluster.node.run(&["cat", "/run/hooks/stop"]).prints("stopped");
    cluster.node.run(&["rm", "-r", "/run/hooks"]).success();
    let failing = r#"lifecycle: {postStart: {exec: {command: [sh, -c, "echo no >&2; exit 7"]}}},"#;
    cluster.apply(&pod("failing", "true", failing, ""));
    support::wait_for("an event", 60, || {
        let said = cluster.ok(&["describe", "pod", "failing"]);
        said.contains("FailedPostStartHook").then_some(())
    });
}

#[test]
fn probes_of_every_kind_are_asked() {
    let cluster = cluster!();
    let serve = "mkdir /tmp/w; echo ok >/tmp/w/ok; httpd -p 8080 -h /tmp/w";
    let probes = [
        ("http", "httpGet: {path: /ok, port: web}"),
        ("bad-http", "httpGet: {path: /none, port: 8080}"),
        ("tcp", "tcpSocket: {port: 8080}"),
        ("bad-tcp", "tcpSocket: {port: 9}"),
        ("exec", "exec: {command: [test, -f, /tmp/w/ok]}"),
        ("bad-exec", "exec: {command: [sh, -c, 'echo not there; exit 9']}"),
        ("slow-exec", "exec: {command: [sleep, '30']}"),
    ];
    let all = probes.map(|(name, probe)| {
        // The others may take their time.
        let limit = if name == "slow-exec" { 1 } else { 30 };
        let fields = format!(
            "ports: [{{name: web, containerPort: 8080}}], \
             readinessProbe: {{periodSeconds: 1, timeoutSeconds: {limit}, {probe}}},"
        );
        pod(name, serve, &fields, "")
    });
    cluster.apply(&all.concat());
    for name in ["http", "tcp", "exec"] {
        cluster.ready(name);
    }
    for (name, why) in [
        ("bad-http", "Readiness probe failed: HTTP probe failed with statuscode: 404"),
        ("bad-tcp", "connection refused"),
        ("bad-exec", "Readiness probe failed: the command exited with 9: not there"),
        ("slow-exec", "Readiness probe failed: the command did not end within 1 s"),
    ] {
        support::wait_for(why, 60, || cluster.ok(&["describe", "pod", name]).contains(why).then_some(()));
        let pod = cluster.object("pod", name).expect("a Pod");
        assert!(!crate::cluster::is_ready(&pod), "{name}");
    }
}
