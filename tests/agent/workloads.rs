//! Deployments and the other objects that make Pods.

use serde_json::Value;

use crate::cluster::Cluster;
use crate::support::{self, wait_for};

/// A web server that says its version, ready when it does.
fn deployment(version: &str, more: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: web}}}}
{more}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: server
        image: busybox:1
        command: [sh, -c, "mkdir -p /tmp/www; echo {version} >/tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www"]
        readinessProbe: {{httpGet: {{port: 8080, path: /}}, periodSeconds: 1, timeoutSeconds: 30}}
        lifecycle: {{preStop: {{exec: {{command: [sleep, "1"]}}}}}}
"#
    )
}

const SERVICE: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
";

/// The Deployment when its rollout is through.
#[track_caller]
fn rolled_out(cluster: &Cluster) -> Value {
    let status = cluster.program(&["rollout", "status", "deployment/web", "--timeout=120s"]);
    let done = status.limit(180).wait().success().stdout;
    assert!(done.ends_with("deployment \"web\" successfully rolled out\n"), "{done}");
    cluster.object("deployment", "web").expect("a deployment")
}

fn list(cluster: &Cluster, kind: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(&cluster.ok(&["get", kind, "-o", "json"])).expect("JSON");
    all["items"].as_array().cloned().unwrap_or_default()
}

fn alive(cluster: &Cluster) -> Vec<Value> {
    let mut pods = list(cluster, "pods");
    pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    pods
}

#[test]
fn a_rolling_update_and_its_undoing_fail_no_request() {
    let cluster = cluster!();
    // A Pod answers until its grace is over: it is long out of the rules by then.
    let deployment = |word: &str| {
        deployment(word, "").replace("terminationGracePeriodSeconds: 2", "terminationGracePeriodSeconds: 20")
    };
    cluster.apply(&[&deployment("one"), SERVICE].join("---\n"));
    rolled_out(&cluster);
    let address = cluster.object("service", "web").expect("a service")["spec"]["clusterIP"].clone();
    let address = address.as_str().expect("an address");
    let ask = || cluster.node.run(&["curl", "-s", "-m", "10", &format!("http://{address}/")]).stdout;
    wait_for("the service's answer", 20, || (ask() == "one\n").then_some(()));
    let stop = cluster.node.file("stop");
    let script = format!(
        "while [ ! -e {} ]; do curl -s -m 30 http://{address}/ || echo failed with $?; done",
        stop.display()
    );
    let mut client = cluster.node.command(&["sh", "-c", &script]).limit(600).spawn();
    cluster.apply(&deployment("two"));
    rolled_out(&cluster);
    wait_for("the new answer", 20, || (ask() == "two\n").then_some(()));
    cluster.ok(&["rollout", "undo", "deployment/web"]);
    let found = rolled_out(&cluster);
    assert_eq!(found["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    wait_for("the old answer", 20, || (ask() == "one\n").then_some(()));
    std::fs::write(&stop, "").expect("write");
    wait_for("the client's end", 20, || client.child.try_wait().expect("wait"));
    let heard = client.stdout();
    let failed: Vec<&str> = heard.lines().filter(|line| *line != "one" && *line != "two").collect();
    assert!(failed.is_empty(), "of {} requests: {failed:?}", heard.lines().count());
    assert!(heard.lines().any(|line| line == "two"));
    std::fs::remove_file(&stop).expect("remove");
    let history = cluster.ok(&["rollout", "history", "deployment/web"]);
    let revisions: Vec<&str> = history.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(revisions.ends_with(&["2", "3"]), "{history}");
}

#[test]
fn a_deployment_is_scaled_paused_and_restarted() {
    let cluster = cluster!();
    cluster.apply(&deployment("one", ""));
    rolled_out(&cluster);
    cluster.ok(&["scale", "deployment/web", "--replicas=1"]);
    wait_for("one Pod", 60, || (list(&cluster, "pods").len() == 1).then_some(()));
    let before = alive(&cluster)[0]["metadata"]["name"].clone();
    cluster.ok(&["rollout", "pause", "deployment/web"]);
    cluster.verb(&["rollout", "restart", "deployment/web"]).refused(&["paused"]);
    assert_eq!(alive(&cluster)[0]["metadata"]["name"], before);
    cluster.ok(&["rollout", "resume", "deployment/web"]);
    cluster.ok(&["rollout", "restart", "deployment/web"]);
    rolled_out(&cluster);
    let after = alive(&cluster);
    assert_eq!(after.len(), 1);
    assert_ne!(after[0]["metadata"]["name"], before);
    assert_eq!(list(&cluster, "replicasets").len(), 2);
}

#[test]
fn a_bad_change_takes_nothing_away_and_the_next_one_mends_it() {
    let cluster = cluster!();
    cluster.apply(&deployment("one", ""));
    rolled_out(&cluster);
    let bad = deployment("two", "  progressDeadlineSeconds: 2").replace("exec httpd", "exit 1; httpd");
    cluster.apply(&bad);
    cluster.wait("deployment", "web", "told of as stuck", |web| {
        let conditions = web["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|is| is["reason"] == "ProgressDeadlineExceeded")
    });
    let status = cluster.verb(&["rollout", "status", "deployment/web"]);
    assert!(
        !status.status.success() && status.stderr.contains("exceeded its progress deadline"),
        "{}",
        status.stderr
    );
    assert_eq!(cluster.object("deployment", "web").expect("it")["status"]["availableReplicas"], 3);
    // Half way through, another one.
    cluster.apply(&deployment("three", ""));
    let found = rolled_out(&cluster);
    assert_eq!(found["status"]["updatedReplicas"], 3);
    let told = cluster.ok(&["describe", "deployment", "web"]);
    assert!(told.contains("ScalingReplicaSet") && told.contains("Scaled down replica set web-"), "{told}");
}

#[test]
fn recreate_has_no_two_versions_at_once() {
    let cluster = cluster!();
    let strategy = "  strategy: {type: Recreate}";
    cluster.apply(&deployment("one", strategy));
    rolled_out(&cluster);
    let before: Vec<Value> = alive(&cluster).iter().map(|pod| pod["metadata"]["uid"].clone()).collect();
    cluster.apply(&deployment("two", strategy));
    wait_for("new Pods, and no old one beside them", 60, || {
        let pods = list(&cluster, "pods");
        let (old, new): (Vec<_>, Vec<_>) =
            pods.iter().partition(|pod| before.contains(&pod["metadata"]["uid"]));
        // What has ended may still be listed.
        let old = old.iter().any(|pod| pod["status"]["phase"] == "Running");
        assert!(!old || new.is_empty(), "both at once");
        (new.len() == 3).then_some(())
    });
    rolled_out(&cluster);
}

#[test]
fn the_agents_death_in_a_rollout_changes_nothing() {
    let cluster = cluster!();
    cluster.apply(&deployment("one", ""));
    rolled_out(&cluster);
    cluster.apply(&deployment("two", ""));
    cluster.end(rustix::process::Signal::KILL);
    cluster.start(&[]);
    rolled_out(&cluster);
    wait_for("three Pods", 60, || (list(&cluster, "pods").len() == 3).then_some(()));
    let names = |cluster: &Cluster| {
        list(cluster, "pods").iter().map(|pod| pod["metadata"]["uid"].clone()).collect::<Vec<_>>()
    };
    let before = names(&cluster);
    cluster.end(rustix::process::Signal::KILL);
    cluster.start(&[]);
    rolled_out(&cluster);
    assert_eq!(before, names(&cluster));
}

#[test]
fn jobs_run_to_their_end() {
    let cluster = cluster!();
    cluster.apply(
        r#"
apiVersion: batch/v1
kind: Job
metadata: {name: sum}
spec:
  completionMode: Indexed
  completions: 3
  parallelism: 2
  template:
    spec:
      restartPolicy: Never
      containers: [{name: sum, image: "busybox:1", command: [sh, -c, "echo part $JOB_COMPLETION_INDEX of $HOSTNAME"]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: bad}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: bad, image: "busybox:1", command: [sh, -c, "exit 3"]}]
"#,
    );
    let has = |kind: &'static str| {
        move |job: &Value| {
            let conditions = job["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|is| is["type"] == kind && is["status"] == "True")
        }
    };
    let sum = cluster.wait("job", "sum", "complete", has("Complete"));
    assert_eq!((&sum["status"]["succeeded"], &sum["status"]["completedIndexes"]), (&3.into(), &"0-2".into()));
    let of_sum: Vec<Value> = list(&cluster, "pods")
        .into_iter()
        .filter(|pod| pod["metadata"]["labels"]["job-name"] == "sum")
        .collect();
    let mut said: Vec<String> = of_sum
        .iter()
        .map(|pod| cluster.ok(&["logs", pod["metadata"]["name"].as_str().expect("a name")]))
        .collect();
    said.sort();
    assert_eq!(said, ["part 0 of sum-0\n", "part 1 of sum-1\n", "part 2 of sum-2\n"]);
    let bad = cluster.wait("job", "bad", "failed", has("Failed"));
    assert_eq!(bad["status"]["failed"], 1);
    assert!(cluster.ok(&["describe", "job", "bad"]).contains("BackoffLimitExceeded"));
    cluster.ok(&["delete", "job", "sum"]);
    wait_for("the end of its Pods", 60, || (list(&cluster, "pods").len() == 1).then_some(()));
}

#[test]
fn a_cron_job_makes_jobs() {
    let cluster = cluster!();
    cluster.apply(
        r#"
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: tick, image: "busybox:1", command: ["true"]}]
"#,
    );
    let tick = support::wait_for("a Job of the next minute", 180, || {
        cluster.object("cronjob", "tick").filter(|tick| !tick["status"]["lastSuccessfulTime"].is_null())
    });
    assert!(tick["status"]["lastScheduleTime"].as_str().expect("a time").ends_with(":00Z"), "{tick}");
    let wrong = cluster.try_apply(
        r#"
apiVersion: batch/v1
kind: CronJob
metadata: {name: wrong}
spec:
  schedule: "61 * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: tick, image: "busybox:1", command: ["true"]}]
"#,
    );
    assert!(!wrong.status.success() && wrong.stderr.contains("spec.schedule"), "{}", wrong.stderr);
}

#[test]
fn a_stateful_set_keeps_its_names() {
    let cluster = cluster!();
    let set = |version: &str| {
        format!(
            r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  replicas: 2
  serviceName: db
  selector: {{matchLabels: {{app: db}}}}
  template:
    metadata: {{labels: {{app: db}}, annotations: {{version: "{version}"}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{{name: db, image: "busybox:1", command: [sleep, "1000"]}}]
"#
        )
    };
    cluster.apply(&set("one"));
    cluster.ready("db-1");
    cluster.apply(&set("two"));
    let is_new =
        |pod: &Value| pod["metadata"]["annotations"]["version"] == "two" && crate::cluster::is_ready(pod);
    cluster.wait("pod", "db-0", "new", is_new);
    cluster.wait("pod", "db-1", "new", is_new);
    let done = cluster.ok(&["rollout", "status", "statefulset/db", "--timeout=60s"]);
    assert!(done.contains("rolling update complete 2 pods"), "{done}");
    assert_eq!(cluster.ok(&["exec", "db-1", "--", "hostname"]), "db-1\n");
}

#[test]
fn a_daemon_set_has_one_pod() {
    let cluster = cluster!();
    cluster.apply(
        r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: log}
spec:
  selector: {matchLabels: {app: log}}
  template:
    metadata: {labels: {app: log}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: log, image: "busybox:1", command: [sleep, "1000"]}]
"#,
    );
    let ready = |set: &Value| set["status"]["numberReady"] == 1;
    cluster.wait("daemonset", "log", "ready", ready);
    let before = alive(&cluster)[0]["metadata"]["uid"].clone();
    cluster.ok(&["rollout", "restart", "daemonset/log"]);
    wait_for("another Pod", 60, || {
        let pods = alive(&cluster);
        (pods.len() == 1 && pods[0]["metadata"]["uid"] != before).then_some(())
    });
    cluster.wait("daemonset", "log", "ready", ready);
}

#[test]
fn a_replica_set_replaces_what_is_deleted() {
    let cluster = cluster!();
    cluster.apply(
        r#"
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: two}
spec:
  replicas: 2
  selector: {matchLabels: {app: two}}
  template:
    metadata: {labels: {app: two}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: two, image: "busybox:1", command: [sleep, "1000"]}]
"#,
    );
    let ready = |set: &Value| set["status"]["readyReplicas"] == 2;
    cluster.wait("replicaset", "two", "ready", ready);
    let name = alive(&cluster)[0]["metadata"]["name"].as_str().expect("a name").to_owned();
    cluster.ok(&["delete", "pod", &name]);
    cluster.gone("pod", &name);
    cluster.wait("replicaset", "two", "ready", ready);
    assert_eq!(alive(&cluster).len(), 2);
    // Deleting it deletes them.
    cluster.ok(&["delete", "replicaset", "two"]);
    wait_for("the end of its Pods", 60, || list(&cluster, "pods").is_empty().then_some(()));
}
