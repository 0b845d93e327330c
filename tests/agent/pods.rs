//! Pods.

#[test]
fn two_containers_share_localhost() {
    let cluster = cluster!();
    let applied = cluster.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: server
    image: busybox:1
    command: [sh, -c, "mkdir /tmp/www; echo hello >/tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www"]
  - name: client
    image: busybox:1
    command: [sh, -c, "while ! busybox wget -q -O- http://localhost:8080/; do sleep 0.1; done; exec sleep 1000"]
"#,
    );
    assert_eq!(applied, "pod/web created\n");
    cluster.ready("web");
    crate::support::wait_for("the client's word", 20, || {
        (cluster.ok(&["logs", "web", "-c", "client"]) == "hello\n").then_some(())
    });
    cluster.ok(&["delete", "pod", "web", "--grace-period=1"]);
    cluster.gone("pod", "web");
}
