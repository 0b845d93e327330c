//! Volumes of type nfs, with the kernel's own server on the node: in the VM, since few kernels have one.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::Cluster;
use crate::node::Node;
use crate::support::{self, Running, wait_for};

/// A machine with an NFS server in its kernel, or a return from the test with a SKIP line.
macro_rules! served {
    () => {{
        let systems = fs::read_to_string("/proc/filesystems").expect("file systems");
        support::require!(match systems.lines().any(|line| line.ends_with("\tnfsd")) {
            true => Ok(()),
            false => Err("this kernel has no NFS server".to_owned()),
        });
        cluster!()
    }};
}

/// The kernel's NFS server on a node, with one export, which is its root: /dev/shm/export. What rpc.mountd would answer is told beforehand.
struct Server<'a>(&'a Node);

/// Insecure ports, no look at parents, a number for an id; for ever, and root stays root.
const START: &str = r#"set -e
mkdir -p /dev/shm/export/sub
echo "of the server" >/dev/shm/export/word
echo "of the part" >/dev/shm/export/sub/word
mount -t nfsd none /proc/fs/nfsd
tell() { echo "$2" >"$1"; }
tell /proc/net/rpc/auth.unix.ip/channel "nfsd 127.0.0.1 2147483647 *"
tell /proc/net/rpc/nfsd.export/channel "* /dev/shm/export 2147483647 9218 65534 65534 0"
tell /proc/net/rpc/nfsd.fh/channel "* 1 \x00000000 2147483647 /dev/shm/export"
tell /proc/fs/nfsd/versions "-2 -3 +4 +4.1 +4.2"
tell /proc/fs/nfsd/nfsv4leasetime 10
tell /proc/fs/nfsd/nfsv4gracetime 10
tell /proc/fs/nfsd/portlist "tcp 2049"
tell /proc/fs/nfsd/threads 2"#;

const END: &str = r#"echo 0 >/proc/fs/nfsd/threads
for cache in nfsd.fh nfsd.export auth.unix.ip; do echo 2147483647 >/proc/net/rpc/$cache/flush; done
umount /proc/fs/nfsd"#;

impl<'a> Server<'a> {
    fn start(node: &'a Node) -> Self {
        node.run(&["bash", "-c", START]).success();
        Self(node)
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.run(&["bash", "-c", END]).success();
        }
    }
}

/// Takes connections on a port of the node and says nothing.
fn silent(node: &Node, port: u16) -> Running {
    let script = format!(
        "import socket, time; s = socket.socket(); s.bind(('127.0.0.1', {port})); s.listen(128); print('ready', flush=True); time.sleep(3600)"
    );
    let mut process = node.command(&["python3", "-c", &script]).limit(3600).spawn();
    process.wait_for_output("ready");
    process
}

fn end(node: &Node, process: Running) {
    let pid = Pid::from_raw(node.child_of(process.pid())).expect("a pid");
    kill_process(pid, Signal::KILL).expect("kill");
    process.wait();
}

/// A Pod that mounts `volume` on /files, and `mounts` beside it, and sleeps.
fn pod(name: &str, volume: &str, mounts: &str) -> String {
    format!(
        r#"
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {{name: c, image: "busybox:1", command: [sleep, "1000"], volumeMounts: [{{name: files, mountPath: /files}}{mounts}]}}
  volumes: [{{name: files, {volume}}}]
"#
    )
}

/// A PersistentVolume of the server, and a claim for it.
fn claim(name: &str, volume: &str, options: &str) -> String {
    format!(
        r#"
---
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {name}}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteMany]
  mountOptions: [{options}]
  nfs: {{server: 127.0.0.1, {volume}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}}}
spec:
  accessModes: [ReadWriteMany]
  volumeName: {name}
  resources: {{requests: {{storage: 1Gi}}}}
"#
    )
}

fn in_pod(cluster: &Cluster, pod: &str, command: &str) -> String {
    cluster.ok(&["exec", pod, "--", "sh", "-c", command])
}

/// Waits for an event FailedMount with these words.
fn told(cluster: &Cluster, words: &str) {
    wait_for(&format!("an event with {words:?}"), 60, || {
        let events = cluster.ok(&["get", "events"]);
        events.lines().any(|line| line.contains("FailedMount") && line.contains(words)).then_some(())
    });
}

/// The lines of the node's mount table that are of servers.
fn mounts(cluster: &Cluster) -> Vec<String> {
    let table = cluster.node.run(&["cat", "/proc/mounts"]).success().stdout;
    table.lines().filter(|line| line.contains(" nfs4 ")).map(str::to_owned).collect()
}

#[test]
fn pods_share_the_files_of_a_server() {
    let cluster = served!();
    let server = Server::start(&cluster.node);
    let of = |path: &str| format!("nfs: {{server: 127.0.0.1, path: {path}}}");
    cluster.apply(
        &(claim("files", "path: /sub, readOnly: true", "nfsvers=4.1, hard")
            + &pod("writer", &of("/"), ", {name: files, mountPath: /part, subPath: sub}")
            + &pod("reader", "persistentVolumeClaim: {claimName: files}", "")
            + &pod("wrong", &of("/none"), "")),
    );
    cluster.ready("writer");
    cluster.ready("reader");
    told(&cluster, "volume files: nfs 127.0.0.1:/none: version 4.2: No such file or directory");
    let all = "cat /files/word /part/word";
    assert_eq!(in_pod(&cluster, "writer", all), "of the server\nof the part\n");
    assert_eq!(in_pod(&cluster, "reader", "cat /files/word"), "of the part\n");
    in_pod(&cluster, "writer", "echo of the writer >/part/new");
    // What a client knows of a directory may be some seconds old.
    wait_for("the writer's file", 60, || {
        let seen = cluster.verb(&["exec", "reader", "--", "cat", "/files/new"]).stdout;
        (seen == "of the writer\n").then_some(())
    });
    let refused = in_pod(&cluster, "reader", "echo x 2>/dev/null >/files/word || echo refused");
    assert_eq!(refused, "refused\n");
    // The part of the writer's volume is one.
    let seen = mounts(&cluster);
    assert_eq!(seen.len(), 3, "{seen:#?}");
    let of_reader = |line: &String| line.starts_with("127.0.0.1:/sub ") && line.contains("vers=4.1");
    assert!(seen.iter().any(of_reader), "{seen:#?}");
    cluster.ok(&["delete", "pods", "reader", "wrong", "--now"]);
    cluster.gone("pod", "reader");
    assert_eq!(mounts(&cluster).len(), 2);
    assert_eq!(in_pod(&cluster, "writer", "cat /part/new"), "of the writer\n");
    // The last mount asks the server for its end, which is not there any more.
    drop(server);
    cluster.ok(&["delete", "pod", "writer", "--now"]);
    cluster.gone("pod", "writer");
    assert_eq!(mounts(&cluster), [""; 0]);
    assert_eq!(cluster.node.run(&["cat", "/dev/shm/export/sub/new"]).stdout, "of the writer\n");
}

/// More Pods than the agent has threads for what blocks.
const MANY: &str = r#"
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: many}
spec:
  replicas: 17
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec:
      containers:
      - {name: c, image: "busybox:1", command: [sleep, "1000"], volumeMounts: [{name: files, mountPath: /files}]}
      volumes: [{name: files, persistentVolumeClaim: {claimName: files}}]
"#;

#[test]
fn a_server_that_does_not_answer_keeps_its_own_pods_alone() {
    let cluster = served!();
    support::require!(support::program("python3"));
    let server = silent(&cluster.node, 2050);
    cluster.apply(&(claim("files", "path: /", "port=2050") + MANY));
    let mounters =
        || cluster.node.run(&["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -o '{.Mou[n]t'"]);
    wait_for("17 mounts under way", 30, || (mounters().stdout.lines().count() >= 17).then_some(()));
    // Nobody is at this server's port.
    cluster.apply(
        &(pod("refused", "nfs: {server: 127.0.0.1, path: /}", "") + &pod("other", "emptyDir: {}", "")),
    );
    cluster.ready("other");
    assert!(mounters().stdout.lines().count() > 0, "the other Pod had to wait for mounts");
    told(
        &cluster,
        "volume files: nfs 127.0.0.1:/: cannot reach the server at 127.0.0.1, port 2049: Connection refused",
    );
    told(
        &cluster,
        "volume files: nfs 127.0.0.1:/: the server takes connections, but did not answer within 30 s",
    );
    // After the tries that are under way.
    let deletion = cluster.program(&["delete", "deployment", "many", "--cascade=foreground", "--now"]);
    deletion.limit(180).wait().success();
    wait_for("the end of its Pods", 60, || {
        cluster.ok(&["get", "pods", "-l", "app=many", "-o", "name"]).is_empty().then_some(())
    });
    wait_for("the end of what mounts", 60, || mounters().stdout.is_empty().then_some(()));
    end(&cluster.node, server);
}
