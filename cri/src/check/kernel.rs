//! What the kernel offers.

use std::path::Path;

use rustix::mount::{FsOpenFlags, OpenTreeFlags, fsopen, open_tree};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::Fact;

/// Namespaces that every Pod has.
const NAMESPACES: [&str; 6] = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];

pub fn facts() -> Vec<Fact> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let modules = rcrun::host::security_modules();
    let namespaces: Vec<_> =
        NAMESPACES.into_iter().filter(|kind| !Path::new(&format!("/proc/self/ns/{kind}")).exists()).collect();
    vec![
        Fact::ok("kernel", release),
        match namespaces.as_slice() {
            [] => Fact::ok("namespaces", NAMESPACES.join(" ")),
            missing => {
                Fact::fatal("namespaces", format!("the kernel is built without {}", missing.join(", ")))
            }
        },
        Fact::or_fatal(
            "mount API",
            open_tree(rustix::fs::CWD, "/", OpenTreeFlags::OPEN_TREE_CLOEXEC).is_ok(),
            "open_tree(2) does not work: Linux 5.12 or newer is needed",
        ),
        Fact::or_fatal(
            "pidfd",
            pidfd_open(getpid(), PidfdFlags::empty()).is_ok(),
            "pidfd_open(2) does not work: Linux 5.12 or newer is needed",
        ),
        file_system(),
        Fact::or_limited(
            "seccomp",
            Path::new("/proc/sys/kernel/seccomp/actions_avail").exists(),
            "the kernel is built without filters: containers with another profile than Unconfined are refused",
        ),
        Fact::or_limited(
            "AppArmor",
            modules.apparmor,
            "it is not on: profiles other than RuntimeDefault and Unconfined are refused",
        ),
        Fact::or_limited("SELinux", modules.selinux, "it is not on: labels are ignored"),
        shared_root(),
    ]
}

/// Opening it loads its module.
fn file_system() -> Fact {
    match fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(_) => Fact::ok("overlayfs", ""),
        Err(errno) => {
            Fact::fatal("overlayfs", format!("fsopen(\"overlay\"): {errno}: load the module, as root"))
        }
    }
}

/// The root's mount, proc_pid_mountinfo(5): optional fields stand before the dash.
fn shared_root() -> Fact {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let root = table.lines().rfind(|line| line.split(' ').nth(4) == Some("/"));
    Fact::or_limited(
        "shared mounts",
        root.and_then(|line| line.split(" - ").next()).is_some_and(|line| line.contains(" shared:")),
        "/ is a private mount: containers see no mounts that are made later, and volumes with Bidirectional propagation are refused; \
         mount --make-rshared / before the start",
    )
}
