//! What happens in the container's process until it is `true`.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use rcrun::sys::mount::{MountAttr, mount_setattr};
use rcrun::sys::process::{
    StringArray, close_on_exec_from, default_signals, execve, join_session_keyring, set_key_permissions,
    set_resource_limit, unshare,
};
use rustix::fs::{CWD, Dev, FileType, Mode, OFlags, makedev, mkdir, mknodat, open, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change,
    move_mount, open_tree, unmount,
};
use rustix::process::{chdir, fchdir, pivot_root, setsid, umask};
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, UnshareFlags, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

/// clone3's flags; the cgroup namespace comes once the process is in its cgroup.
pub const NAMESPACES: u64 =
    (libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWPID | libc::CLONE_NEWNET)
        as u64;

/// MOUNT_ATTR_RDONLY of linux/mount.h.
const READ_ONLY: MountAttr = MountAttr { set: 1, clear: 0, propagation: 0, userns_fd: 0 };

/// With `true` for directories.
const MASKED_PATHS: [(&CStr, bool); 10] = [
    (c"proc/acpi", true),
    (c"proc/asound", true),
    (c"proc/kcore", false),
    (c"proc/keys", false),
    (c"proc/latency_stats", false),
    (c"proc/timer_list", false),
    (c"proc/timer_stats", false),
    (c"proc/sched_debug", false),
    (c"sys/firmware", true),
    (c"proc/scsi", true),
];
const READ_ONLY_PATHS: [&CStr; 5] =
    [c"proc/bus", c"proc/fs", c"proc/irq", c"proc/sys", c"proc/sysrq-trigger"];
const DEVICES: [(&CStr, u32, u32); 6] = [
    (c"null", 1, 3),
    (c"zero", 1, 5),
    (c"full", 1, 7),
    (c"random", 1, 8),
    (c"urandom", 1, 9),
    (c"tty", 5, 0),
];
const LINKS: [(&CStr, &CStr); 6] = [
    (c"pts/ptmx", c"ptmx"),
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
    (c"/proc/kcore", c"core"),
];
/// CAP_KILL, CAP_NET_BIND_SERVICE, CAP_AUDIT_WRITE.
const CAPABILITIES: u64 = 1 << 5 | 1 << 10 | 1 << 29;
/// CAP_CHECKPOINT_RESTORE.
const LAST_CAPABILITY: u64 = 40;

/// Arguments and environment, laid out before the clone.
pub struct Program {
    argv: StringArray,
    envp: StringArray,
}

impl Program {
    /// `true` with the default environment.
    pub fn new() -> Self {
        let path = c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let array = |strings: &[&CStr]| StringArray::new(strings.iter().map(|&s| CString::from(s)).collect());
        Self { argv: array(&[c"true"]), envp: array(&[path, c"TERM=xterm"]) }
    }
}

/// Becomes `true`.
pub fn run(tree: BorrowedFd<'_>, root: &CStr, id: &CStr, program: &Program) -> Result<Infallible, Errno> {
    default_signals();
    umask(Mode::empty());
    setsid()?;
    set_key_permissions(join_session_keyring(id)?, 0x3f1b_0000)?;
    unshare(UnshareFlags::NEWCGROUP)?;
    rustix::system::sethostname(b"rcrun")?;
    mount_change(c"/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    move_mount(tree, c"", CWD, root, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    fchdir(tree)?;
    mounts()?;
    devices()?;
    pivot_root(c".", c".")?;
    unmount(c".", UnmountFlags::DETACH)?;
    chdir(c"/")?;
    let slash = open(c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    mount_setattr(slash.as_fd(), false, &READ_ONLY)?;
    cover()?;
    close_on_exec_from(3)?;
    set_resource_limit(0, libc::RLIMIT_NOFILE, 1024, 1024)?;
    umask(Mode::from_raw_mode(0o022));
    credentials()?;
    Err(execve(c"/bin/true", &program.argv, &program.envp))
}

type Options<'a> = &'a [(&'a CStr, &'a CStr)];

/// A new file system at `target`, which is there.
fn mount(
    typ: &CStr,
    source: &CStr,
    options: Options<'_>,
    attributes: MountAttrFlags,
    target: &CStr,
) -> Result<(), Errno> {
    let context = fsopen(typ, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), c"source", source)?;
    for (name, value) in options {
        match value.is_empty() {
            true => fsconfig_set_flag(context.as_fd(), *name)?,
            false => fsconfig_set_string(context.as_fd(), *name, *value)?,
        }
    }
    fsconfig_create(context.as_fd())?;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    move_mount(mount.as_fd(), c"", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn mounts() -> Result<(), Errno> {
    let nosuid = MountAttrFlags::MOUNT_ATTR_NOSUID;
    let noexec = MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let strict = nosuid | noexec | MountAttrFlags::MOUNT_ATTR_NODEV;
    let read_only = strict | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let directory = Mode::from_raw_mode(0o755);
    let dev: Options<'_> = &[(c"mode", c"755"), (c"size", c"65536k")];
    let pts: Options<'_> =
        &[(c"newinstance", c""), (c"ptmxmode", c"0666"), (c"mode", c"0620"), (c"gid", c"5")];
    let shm: Options<'_> = &[(c"mode", c"1777"), (c"size", c"65536k")];
    mount(c"proc", c"proc", &[], MountAttrFlags::empty(), c"proc")?;
    mount(c"tmpfs", c"tmpfs", dev, nosuid | MountAttrFlags::MOUNT_ATTR_STRICTATIME, c"dev")?;
    mkdir(c"dev/pts", directory)?;
    mount(c"devpts", c"devpts", pts, nosuid | noexec, c"dev/pts")?;
    mkdir(c"dev/shm", directory)?;
    mount(c"tmpfs", c"shm", shm, strict, c"dev/shm")?;
    mkdir(c"dev/mqueue", directory)?;
    mount(c"mqueue", c"mqueue", &[], strict, c"dev/mqueue")?;
    mount(c"sysfs", c"sysfs", &[], read_only, c"sys")?;
    mount(c"cgroup2", c"cgroup", &[], read_only, c"sys/fs/cgroup")
}

fn devices() -> Result<(), Errno> {
    let dev = openat(CWD, c"dev", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for (name, major, minor) in DEVICES {
        let number: Dev = makedev(major, minor);
        mknodat(&dev, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), number)?;
    }
    LINKS.iter().try_for_each(|(target, name)| symlinkat(*target, &dev, *name))
}

/// Read-only and masked paths; those that this kernel has not are left out.
fn cover() -> Result<(), Errno> {
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let from_it = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    for path in READ_ONLY_PATHS {
        match open_tree(CWD, path, clone | OpenTreeFlags::AT_RECURSIVE) {
            Err(Errno::NOENT) => {}
            tree => {
                let tree = tree?;
                mount_setattr(tree.as_fd(), true, &READ_ONLY)?;
                move_mount(&tree, c"", CWD, path, from_it)?;
            }
        }
    }
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), c"source", c"tmpfs")?;
    fsconfig_create(context.as_fd())?;
    let strict = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let attributes = strict | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let empty = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let null = open(c"dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    for (path, directory) in MASKED_PATHS {
        let over = if directory { &empty } else { &null };
        let copy = open_tree(over, c"", clone | OpenTreeFlags::AT_EMPTY_PATH)?;
        match move_mount(&copy, c"", CWD, path, from_it) {
            Err(Errno::NOENT) => {}
            moved => moved?,
        }
    }
    Ok(())
}

fn credentials() -> Result<(), Errno> {
    let keep = CapabilitySet::from_bits_retain(CAPABILITIES);
    for number in (0..=LAST_CAPABILITY).filter(|number| CAPABILITIES & (1 << number) == 0) {
        remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number))?;
    }
    set_thread_groups(&[])?;
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets)?;
    clear_ambient_capability_set()?;
    set_no_new_privs(true)
}
