//! What earlier Pods left while no agent was there: it goes at the next start, and nothing else does.

use std::fs;

use rustix::process::Signal;

use crate::cluster::Cluster;
use crate::support::{require, wait_for};

/// Left by a Pod that nobody knows: a volume, a tmpfs, a bind of what is not its own, links, a Secret, a log; and a link in place of a
/// Pod's directory.
const PLANT: &str = r#"
set -e
uid=11111111-2222-4333-8444-555555555555 link=66666666-2222-4333-8444-555555555555
pod=/var/lib/rcrun-agent/pods/$uid
mkdir -p /dev/shm/kept/volumes/mounted $pod/volumes/disk/deep $pod/volumes/memory $pod/volumes/host $pod/sub-paths/disk/main/0
echo kept >/dev/shm/kept/file
mount -t tmpfs tmpfs /dev/shm/kept/volumes/mounted
mount -t tmpfs tmpfs $pod/volumes/memory
echo x >$pod/volumes/memory/file
ln -s /dev/shm/kept $pod/volumes/disk/link
mount --bind /dev/shm/kept $pod/volumes/disk/deep
mount --bind /dev/shm/kept $pod/volumes/host
mount --bind /dev/shm/kept $pod/sub-paths/disk/main/0
ln -s /dev/shm/kept /var/lib/rcrun-agent/pods/$link
mkdir -p /var/lib/rcrun-agent/secrets
mount -t tmpfs tmpfs /var/lib/rcrun-agent/secrets
mkdir -p /var/lib/rcrun-agent/secrets/$uid/login
mkdir -p /var/log/pods/default_old_$uid/main /var/log/pods/default_other_77777777-2222-4333-8444-555555555555
mkdir -p /var/lib/rcrun-agent/pods/no-pod
"#;

#[test]
fn what_nobody_knows_any_more_goes_at_the_start_and_nothing_else() {
    let cluster = require!(Cluster::without_agent());
    cluster.node.run(&["sh", "-c", PLANT]).success();
    cluster.start(&[]);
    let names = |directory: &str| -> Vec<String> {
        let entries = fs::read_dir(cluster.node.path(directory)).expect("a directory").flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    };
    wait_for("the end of what is left", 20, || {
        (names("/var/lib/rcrun-agent/pods") == ["no-pod"]
            && !cluster
                .node
                .path("/var/lib/rcrun-agent/secrets/11111111-2222-4333-8444-555555555555")
                .exists())
        .then_some(())
    });
    // Others may have logs there.
    wait_for("the end of its log", 20, || {
        (names("/var/log/pods") == ["default_other_77777777-2222-4333-8444-555555555555"]).then_some(())
    });
    assert_eq!(fs::read_to_string(cluster.node.path("/dev/shm/kept/file")).expect("read"), "kept\n");
    let mounts = cluster.node.run(&["cat", "/proc/self/mountinfo"]).success().stdout;
    assert!(mounts.contains("/dev/shm/kept/volumes/mounted"), "what others mounted is unmounted: {mounts}");
    assert!(!mounts.contains("/rcrun-agent/"), "{mounts}");
    cluster.node.run(&["umount", "/dev/shm/kept/volumes/mounted"]).success();
}

#[test]
fn pods_whose_objects_went_while_no_agent_was_there_are_ended() {
    let cluster = require!(Cluster::without_agent());
    let directory = cluster.node.file("manifests");
    fs::create_dir(&directory).expect("mkdir");
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  \
             volumes: [{{name: data, emptyDir: {{medium: Memory}}}}]\n  \
             containers: [{{name: a, image: \"busybox:1\", command: [sleep, \"1000\"], volumeMounts: [{{name: data, mountPath: /data}}]}}]\n"
        )
    };
    fs::write(directory.join("file.yaml"), pod("of-a-file")).expect("write");
    let start = || cluster.start(&["--manifests", "/run/node/manifests"]);
    start();
    cluster.apply(&pod("lost"));
    cluster.apply(&pod("stays"));
    for name in ["of-a-file", "lost", "stays"] {
        cluster.ready(name);
    }
    cluster.end(Signal::KILL);
    fs::remove_file(directory.join("file.yaml")).expect("remove");
    fs::remove_file(cluster.node.path("/var/lib/rcrun-agent/objects/pods/default/lost.json"))
        .expect("remove");
    start();
    wait_for("the end of what has no object", 60, || (cluster.node.pods().len() == 1).then_some(()));
    cluster.gone("pod", "of-a-file");
    wait_for("the end of their directories", 20, || {
        let left = fs::read_dir(cluster.node.path("/var/lib/rcrun-agent/pods")).expect("a directory");
        (left.count() == 1).then_some(())
    });
    let stays = cluster.ready("stays");
    assert_eq!(stays["status"]["containerStatuses"][0]["restartCount"], 0);
}
