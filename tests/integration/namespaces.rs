//! Namespaces: new ones, the host's, and those joined by path.

use std::fs;

use serde_json::json;

use crate::support::{Bundle, NamespaceHolder, busybox, cgroup_of, kernel_version, require, skip, wait_for};

const TYPES: [(&str, &str); 6] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
];

fn own(kind: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{kind}")).expect("link").display().to_string()
}

/// A container that prints the link of its namespace of this kind.
fn printing(bundle: Bundle, kind: &str) -> Bundle {
    bundle.args(["readlink", &format!("/proc/self/ns/{kind}")])
}

#[test]
fn the_default_configuration_makes_six_namespaces() {
    for (_, kind) in TYPES {
        let outcome = printing(busybox!(), kind).run().success();
        assert_ne!(outcome.stdout.trim(), own(kind), "{kind}");
    }
    printing(busybox!(), "user").run().prints(&own("user"));
}

#[test]
fn a_namespace_that_is_not_listed_is_the_hosts() {
    for (typ, kind) in TYPES {
        if typ == "mount" {
            continue;
        }
        let bundle = printing(busybox!(), kind).without_namespace(typ);
        let bundle = match typ {
            // Without the namespace the name would be the host's.
            "uts" => bundle.edit(|config| drop(config.as_object_mut().expect("object").remove("hostname"))),
            _ => bundle,
        };
        bundle.run().prints(&own(kind));
    }
}

#[test]
fn a_network_namespace_is_joined_by_path() {
    let holder = require!(NamespaceHolder::new(&["--net"], "net"));
    let bundle = printing(busybox!(), "net").namespace("network", Some(&holder.path("net")));
    bundle.run().prints(&holder.link("net"));
}

#[test]
fn an_ipc_namespace_is_joined_by_path() {
    let holder = require!(NamespaceHolder::new(&["--ipc"], "ipc"));
    let bundle = printing(busybox!(), "ipc").namespace("ipc", Some(&holder.path("ipc")));
    bundle.run().prints(&holder.link("ipc"));
}

#[test]
fn a_uts_namespace_is_joined_by_path() {
    let holder = require!(NamespaceHolder::new(&["--uts"], "uts"));
    let bundle = printing(busybox!(), "uts").namespace("uts", Some(&holder.path("uts")));
    bundle.run().prints(&holder.link("uts"));
}

#[test]
fn a_cgroup_namespace_is_joined_by_path() {
    let holder = require!(NamespaceHolder::new(&["--cgroup"], "cgroup"));
    let bundle = printing(busybox!(), "cgroup").namespace("cgroup", Some(&holder.path("cgroup")));
    bundle.run().prints(&holder.link("cgroup"));
}

#[test]
fn a_pid_namespace_is_joined_by_path() {
    let flags = ["--pid", "--fork", "--kill-child"];
    let holder = require!(NamespaceHolder::new(&flags, "pid_for_children"));
    let path = holder.path("pid_for_children");
    let bundle = busybox!().script("readlink /proc/self/ns/pid; echo $$");
    let outcome = bundle.namespace("pid", Some(&path)).run().success();
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], holder.link("pid_for_children"), "{outcome}");
    assert_ne!(lines[1], "1", "the namespace has an init: {outcome}");
}

#[test]
fn a_mount_namespace_is_joined_by_path() {
    let bundle = busybox!();
    let holder = require!(NamespaceHolder::new(&["--mount"], "mnt"));
    let path = holder.path("mnt");
    // Mounts, masks and the read-only root would be made in that namespace for all who are in it.
    let bundle = printing(bundle, "mnt").namespace("mount", Some(&path)).writable();
    let bundle = bundle.edit(|config| {
        config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
    });
    bundle.run().prints(&holder.link("mnt"));
}

/// Without `gid=5`, which a namespace that maps one id has not.
fn without_tty_group(bundle: Bundle) -> Bundle {
    bundle.edit(|config| {
        for mount in config["mounts"].as_array_mut().expect("mounts") {
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|option| option != "gid=5");
            }
        }
    })
}

#[test]
fn a_user_namespace_of_another_container_is_joined_by_path() {
    let first = busybox!().user_namespace().script("sleep 100");
    let pid = first.run_detached();
    let second = busybox!().user_namespace().namespace("user", Some(&format!("/proc/{pid}/ns/user")));
    let second = second.script("readlink /proc/self/ns/user; id -u; cat /proc/self/uid_map").edit(|config| {
        let linux = config["linux"].as_object_mut().expect("linux");
        linux.remove("uidMappings");
        linux.remove("gidMappings");
    });
    let link = fs::read_link(format!("/proc/{pid}/ns/user")).expect("link").display().to_string();
    let outcome = second.run().success();
    let words: Vec<&str> = outcome.stdout.split_whitespace().collect();
    assert_eq!(words, [link.as_str(), "0", "0", "100000", "65536"], "{outcome}");
    first.delete_forced().success();
}

#[test]
fn a_user_namespace_that_denies_setgroups_is_joined_by_path() {
    let bundle = without_tty_group(busybox!());
    let holder = require!(NamespaceHolder::new(&["--user", "--map-root-user"], "user"));
    let bundle =
        bundle.script("readlink /proc/self/ns/user; id -u").namespace("user", Some(&holder.path("user")));
    bundle.run().prints(&format!("{}\n0", holder.link("user")));
}

#[test]
fn user_and_network_namespaces_are_joined_together() {
    let bundle = without_tty_group(busybox!());
    let holder = require!(NamespaceHolder::new(&["--user", "--map-root-user", "--net"], "net"));
    let bundle = bundle
        .script("readlink /proc/self/ns/user; readlink /proc/self/ns/net")
        .namespace("user", Some(&holder.path("user")))
        .namespace("network", Some(&holder.path("net")));
    bundle.run().prints(&format!("{}\n{}", holder.link("user"), holder.link("net")));
}

#[test]
fn a_readonly_root_in_a_joined_mount_namespace_is_refused() {
    let holder = require!(NamespaceHolder::new(&["--mount"], "mnt"));
    let bundle = busybox!().namespace("mount", Some(&holder.path("mnt")));
    bundle.run().refused(&["root.readonly", "joined mount namespace"]);
}

#[test]
fn user_and_mount_namespaces_are_joined_together() {
    let holder = require!(NamespaceHolder::new(&["--user", "--map-root-user", "--mount"], "mnt"));
    let bundle = busybox!()
        .writable()
        .script("readlink /proc/self/ns/user; readlink /proc/self/ns/mnt")
        .namespace("user", Some(&holder.path("user")))
        .namespace("mount", Some(&holder.path("mnt")))
        .without_namespace("pid")
        .edit(|config| {
            let proc = serde_json::json!({"destination": "/proc", "source": "/proc", "options": ["rbind"]});
            config["mounts"] = serde_json::json!([proc]);
            for list in ["maskedPaths", "readonlyPaths"] {
                config["linux"][list] = serde_json::json!([]);
            }
        });
    bundle.run().prints(&format!("{}\n{}", holder.link("user"), holder.link("mnt")));
}

#[test]
fn the_hosts_network_namespace_is_joined_by_a_container_in_a_new_user_namespace() {
    let holder = require!(NamespaceHolder::new(&["--net"], "net"));
    let bundle = printing(busybox!().user_namespace(), "net").namespace("network", Some(&holder.path("net")));
    // sysfs needs a network namespace that belongs to the user namespace.
    let bundle = bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["destination"] != "/sys" && mount["destination"] != "/sys/fs/cgroup");
    });
    bundle.run().prints(&holder.link("net"));
}

#[test]
fn two_containers_share_namespaces() {
    let first = busybox!().script("sleep 100");
    let pid = first.run_detached();
    let second = busybox!().script("readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; hostname");
    let path = |kind: &str| format!("/proc/{pid}/ns/{kind}");
    let second = second
        .namespace("network", Some(&path("net")))
        .namespace("ipc", Some(&path("ipc")))
        .namespace("uts", Some(&path("uts")))
        .set("/hostname", json!("shared"));
    let link = |kind: &str| fs::read_link(path(kind)).expect("link").display().to_string();
    second.run().prints(&format!("{}\n{}\nshared", link("net"), link("ipc")));
    first.delete_forced().success();
}

#[test]
fn a_new_network_namespace_has_its_loopback_device_alone() {
    let outcome = busybox!().args(["cat", "/proc/net/dev"]).run().success();
    let names: Vec<&str> =
        outcome.stdout.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    assert_eq!(names, ["lo"]);
}

#[test]
fn a_new_pid_namespace_shows_its_own_processes() {
    let outcome = busybox!().script("ls /proc | grep '^[0-9]' | head -n 1; sleep 0").run().success();
    assert!(outcome.stdout.starts_with("1\n"), "{outcome}");
}

#[test]
fn the_cgroup_namespace_is_rooted_at_the_containers_cgroup() {
    let bundle =
        busybox!().script("grep ^0:: /proc/self/cgroup; ls /sys/fs/cgroup | grep -c cgroup.procs; sleep 100");
    let mut running = bundle.run_invocation(&[]).spawn();
    running.wait_for_output("1\n");
    assert_eq!(running.stdout(), "0::/\n1\n");
    let cgroup = cgroup_of(bundle.pid());
    assert!(cgroup.to_string_lossy().contains(bundle.id()), "{}", cgroup.display());
    bundle.kill("KILL").success();
    running.wait().exits_with(137);
}

#[test]
fn a_namespace_that_ended_is_named() {
    let holder = require!(NamespaceHolder::new(&["--net"], "net"));
    let path = holder.path("net");
    drop(holder);
    wait_for("its end", 5, || (!std::path::Path::new(&path).exists()).then_some(()));
    let bundle = busybox!().namespace("network", Some(&path));
    bundle.run().refused(&["network", &path, "no such file"]);
    bundle.leaves_nothing();
}

#[test]
fn a_namespace_file_of_another_kind_is_named() {
    let bundle = busybox!().namespace("network", Some("/proc/self/ns/uts"));
    bundle.run().refused(&["network", "/proc/self/ns/uts"]);
    let bundle = busybox!().namespace("network", Some("/etc/passwd"));
    bundle.run().refused(&["network", "/etc/passwd"]);
}

/// Without a mount namespace its mounts are the host's, below its root, for as long as it exists.
fn on_the_hosts_mounts(bundle: Bundle) -> Bundle {
    let lists = ["/linux/maskedPaths", "/linux/readonlyPaths"];
    let bundle = bundle.writable().without_namespace("mount").set(
        "/mounts",
        json!([
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"},
        ]),
    );
    lists.into_iter().fold(bundle, |bundle, list| bundle.set(list, json!([])))
}

/// Mount points of this process's mount namespace below a bundle's root.
fn mounted(bundle: &Bundle) -> Vec<String> {
    let root = bundle.rootfs().display().to_string();
    let table = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter_map(|point| point.strip_prefix(&root)).map(str::to_owned).collect()
}

#[test]
fn mounts_without_a_mount_namespace_are_there_as_long_as_the_container() {
    let bundle = on_the_hosts_mounts(busybox!());
    let show =
        "readlink /proc/self/ns/mnt; grep -c ' /mnt ' /proc/self/mountinfo; echo x >/dev/null && echo null";
    bundle.script(show).run().prints(&format!("{}\n1\nnull", own("mnt")));
    let bundle = on_the_hosts_mounts(busybox!()).script("sleep 100");
    bundle.run_detached();
    assert_eq!(mounted(&bundle), ["", "/proc", "/mnt"]);
    bundle.exec(&["grep", "-c", " /mnt ", "/proc/self/mountinfo"]).prints("1");
    bundle.delete_forced().success();
    assert_eq!(mounted(&bundle), [""; 0]);
    bundle.leaves_nothing();
}

#[test]
fn mounts_without_a_mount_namespace_go_away_when_the_container_cannot_be_made() {
    let bundle = on_the_hosts_mounts(busybox!()).args(["/none"]);
    bundle.run().refused(&["/none"]);
    bundle.leaves_nothing();
    let bundle = bundle.mount("/tmp", "nonesuchfs", "none", &[]);
    bundle.run().refused(&["nonesuchfs"]);
    bundle.leaves_nothing();
}

/// A mount that is taken away at the end.
struct Unmounted(std::path::PathBuf);

impl Drop for Unmounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn mounts_over_the_root_itself_go_away_without_a_mount_namespace_too() {
    let bundle = on_the_hosts_mounts(busybox!()).script("sleep 100");
    std::os::unix::fs::symlink("/", bundle.rootfs().join("link")).expect("symlink");
    let over = |bundle: Bundle| bundle.mount("/link", "tmpfs", "tmpfs", &[]);
    let bundle = over(over(bundle));
    bundle.run_detached();
    assert_eq!(mounted(&bundle).iter().filter(|point| point.is_empty()).count(), 3);
    bundle.delete_forced().success();
    assert_eq!(mounted(&bundle), [""; 0]);
    bundle.leaves_nothing();
    let bundle = bundle.args(["/none"]);
    bundle.run().refused(&["/none"]);
    assert_eq!(mounted(&bundle), [""; 0]);
}

#[test]
fn mounts_without_a_mount_namespace_are_not_checkpointed_nor_restored() {
    let bundle = on_the_hosts_mounts(busybox!()).script("sleep 100");
    let images = bundle.file("images");
    let images = images.to_str().expect("UTF-8");
    let refused = ["linux.namespaces: mount: missing", "criu"];
    bundle.run_detached();
    bundle.rcrun(&["checkpoint", "--image-path", images, bundle.id()]).refused(&refused);
    assert_eq!(bundle.status(), "running");
    bundle.delete_forced().success();
    bundle.rcrun(&bundle.bundle_command("restore", &["--image-path", images])).refused(&refused);
    bundle.leaves_nothing();
}

#[test]
fn mounts_that_cannot_be_reached_keep_their_container() {
    if kernel_version() < (6, 8) {
        return skip("mounts have no unique ids before Linux 6.8");
    }
    let bundle = on_the_hosts_mounts(busybox!()).script("sleep 100");
    bundle.run_detached();
    let directory = bundle.rootfs().parent().expect("a parent").to_owned();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &directory, "tmpfs", flags, None).expect("mount");
    let over = Unmounted(directory);
    let outcome = bundle.delete_forced();
    drop(over);
    outcome.refused(&["unmount the root file system", "covers it"]);
    bundle.delete_forced().success();
    bundle.leaves_nothing();
}

#[test]
fn mounts_of_a_root_that_was_renamed_go_away_without_a_mount_namespace_too() {
    if kernel_version() < (6, 8) {
        return skip("mounts have no unique ids before Linux 6.8");
    }
    let bundle = on_the_hosts_mounts(busybox!()).script("sleep 100");
    bundle.run_detached();
    // The mount point itself cannot be renamed, what it is in can.
    let directory = bundle.rootfs().parent().expect("a parent").to_owned();
    let away = directory.with_extension("away");
    let there = || {
        fs::read_to_string("/proc/self/mountinfo").expect("mountinfo").contains(away.to_str().expect("UTF-8"))
    };
    fs::rename(&directory, &away).expect("rename");
    let before = there();
    let deleted = bundle.delete_forced();
    let after = there();
    fs::rename(&away, &directory).expect("rename");
    deleted.success();
    assert!(before && !after);
    bundle.leaves_nothing();
}

#[test]
fn what_else_is_mounted_at_the_root_stays_and_hears_nothing() {
    let bundle = on_the_hosts_mounts(busybox!()).script("sleep 100");
    let root = bundle.rootfs();
    rustix::mount::mount_bind(&root, &root).expect("mount");
    let below = Unmounted(root.clone());
    let shared = rustix::mount::MountPropagationFlags::SHARED;
    rustix::mount::mount_change(&root, shared).expect("mount");
    bundle.run_detached();
    assert_eq!(mounted(&bundle), ["", "", "/proc", "/mnt"]);
    let table = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let own = table.lines().find(|line| line.contains(&format!("{}/proc ", root.display())));
    assert!(!own.expect("a line").contains("shared:"), "{table}");
    rustix::mount::unmount(&root, rustix::mount::UnmountFlags::DETACH).expect("umount2");
    bundle.delete_forced().success();
    assert_eq!(mounted(&bundle), [""]);
    drop(below);
    bundle.leaves_nothing();
}

#[test]
fn masked_paths_without_a_mount_namespace_are_refused() {
    let bundle = on_the_hosts_mounts(busybox!()).set("/linux/maskedPaths", json!(["/proc/keys"]));
    bundle.run().refused(&["linux.namespaces", "masked", "add a mount namespace"]);
}
