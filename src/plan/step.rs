//! What the child does between clone3(2) and execve(2), as data.
//!
//! Every step is finished: flags are bits, strings end in NUL, ids are resolved. Its `Display` is
//! its line in `--dry-run`, its name in `--timings` and the subject of its error.

use std::ffi::{CStr, CString};
use std::fmt;
use std::path::PathBuf;

use rustix::mount::MountPropagationFlags;

/// Index into [`super::Plan::sources`]: something that the parent opens before the clone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceId(pub usize);

/// What the parent opens (and, for mounts, detaches) before the clone, with the host's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A detached copy of a host path's mount: open_tree(2) with OPEN_TREE_CLONE.
    Tree {
        /// The host's path, absolute.
        path: PathBuf,
        /// With everything mounted below it (AT_RECURSIVE).
        recursive: bool,
    },
    /// The same of the path itself, even if that is a symbolic link (`src-nofollow`).
    Unfollowed {
        /// The host's path, absolute.
        path: PathBuf,
        /// With everything mounted below it (AT_RECURSIVE).
        recursive: bool,
    },
    /// The same with other owners of its files, mount_setattr(2) MOUNT_ATTR_IDMAP.
    MappedTree {
        /// The host's path, absolute.
        path: PathBuf,
        /// With everything mounted below it (AT_RECURSIVE).
        recursive: bool,
        /// Not `src-nofollow`.
        follow: bool,
        /// Which owners.
        map: IdMap,
    },
    /// A new file system whose mount is id-mapped. The mapping takes privileges in the user namespace that the
    /// file system is made in, and in that of the mapping: a container's own has none in another.
    MappedNew {
        /// Where it goes, for messages.
        target: CString,
        /// File system type, as in /proc/filesystems.
        fstype: CString,
        /// Its `source` option.
        source: Option<CString>,
        /// Options for the superblock, in order.
        options: Vec<FsOption>,
        /// The mount's attributes, given to fsmount(2).
        attributes: u64,
        /// Which owners.
        map: IdMap,
    },
    /// A namespace file to join, checked with ioctl_ns(2)'s NS_GET_NSTYPE.
    Namespace {
        /// Which kind the file must be of.
        kind: crate::namespaces::Kind,
        /// The host's path of it.
        path: PathBuf,
    },
    /// The root file system where it is a detached mount that was made already.
    Root,
    /// The container's own cgroup directory as a detached mount.
    CgroupTree,
    /// A tree that the child opens with [`Step::OpenTree`]: rcrun may not detach the host's mounts.
    ByChild,
}

/// The mapping of an id-mapped mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// The user namespace that the kernel takes the mapping from.
    pub namespace: UserNamespace,
    /// Of everything mounted below too (`ridmap`).
    pub recursive: bool,
}

/// A user namespace as a mapping: an id of the file system is seen as what it is mapped to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserNamespace {
    /// A new one.
    New {
        /// Its uid_map.
        uids: String,
        /// Its gid_map.
        gids: String,
    },
    /// That of a file.
    Existing(PathBuf),
}

/// Attributes of one mount, for mount_setattr(2): bits of MOUNT_ATTR_* to set and to clear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Bits to set, `MOUNT_ATTR_*` of linux/mount.h.
    pub set: u64,
    /// Bits to clear.
    pub clear: u64,
    /// The same for the whole tree below (AT_RECURSIVE): `rro`, `rnosuid`, ...
    pub set_recursive: u64,
    /// Bits to clear in the whole tree.
    pub clear_recursive: u64,
}

impl Attributes {
    /// Is there anything to change on the mount alone or on its tree?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Is this file system a tmpfs without a mode of its own?
pub fn takes_mode(fstype: &CStr, options: &[FsOption]) -> bool {
    let is_mode = |option: &FsOption| matches!(option, FsOption::Value(key, _) if **key == *c"mode");
    fstype == c"tmpfs" && !options.iter().any(is_mode)
}

/// One option of a new file system, for fsconfig(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FsOption {
    /// FSCONFIG_SET_FLAG.
    Flag(CString),
    /// FSCONFIG_SET_STRING.
    Value(CString, CString),
}

/// What kind of object a mount's target is; a missing target is made so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// mkdir(2) where missing.
    Directory,
    /// An empty regular file where missing.
    File,
    /// What is there under this very name, even a symbolic link; nothing is made (`dest-nofollow`).
    Itself,
}

/// What gets mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountFrom {
    /// A new instance of a file system: fsopen, fsconfig, fsmount.
    New {
        /// File system type, as in /proc/filesystems.
        fstype: CString,
        /// Its `source` option.
        source: Option<CString>,
        /// Options for the superblock, in order.
        options: Vec<FsOption>,
        /// The mount's attributes, given to fsmount(2).
        attributes: u64,
        /// The SELinux context that its root is given, where that is no option (mqueue).
        root_context: Option<CString>,
    },
    /// The same where an option is longer than fsconfig(2) takes it: by mount(2) where the kernel
    /// does not take the parts either.
    Long {
        /// File system type.
        fstype: CString,
        /// Its `source`.
        source: CString,
        /// Options in parts: one `lowerdir+` a layer.
        options: Vec<FsOption>,
        /// The mount's attributes.
        attributes: u64,
        /// The options as mount(2) takes them.
        data: CString,
    },
    /// A detached tree of the parent's.
    Tree(SourceId),
    /// A new file system of the parent's, [`Source::MappedNew`].
    Mapped {
        /// Its mount.
        source: SourceId,
        /// A tmpfs without a mode of its own: it gets that of the directory that it covers.
        takes_mode: bool,
    },
    /// No new mount: change attributes of what is mounted at the target (`remount`).
    Existing,
    /// The same, and options of its file system.
    Reconfigured(Vec<FsOption>),
}

impl MountFrom {
    /// What the parent opens for it.
    pub fn source(&self) -> Option<SourceId> {
        match self {
            Self::Tree(source) | Self::Mapped { source, .. } => Some(*source),
            _ => None,
        }
    }
}

/// One mount below the container's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountStep {
    /// What.
    pub from: MountFrom,
    /// Where: absolute in the container, resolved inside its root.
    pub target: CString,
    /// The kind of target to make where it is missing.
    pub kind: TargetKind,
    /// Attributes to change after attaching (binds and remounts).
    pub attributes: Attributes,
    /// Propagation type to set after attaching, one per mount(2) call.
    pub propagation: Option<MountPropagationFlags>,
    /// Copy the image's files at the target into the new file system first (tmpcopyup).
    pub copy_up: bool,
}

/// A device node or FIFO to make with mknod(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceStep {
    /// Absolute path in the container.
    pub path: CString,
    /// S_IFCHR, S_IFBLK or S_IFIFO, with permission bits.
    pub mode: u32,
    /// makedev(3) of major and minor; 0 for a FIFO.
    pub device: u64,
    /// Owner, as seen in the container.
    pub uid: u32,
    /// Group, as seen in the container.
    pub gid: u32,
    /// The host's node to bind where mknod(2) is not permitted (user namespaces).
    pub bind: Option<SourceId>,
}

/// The ids, groups and capabilities that a process gets, in the order that keeps each possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User id in the container.
    pub uid: u32,
    /// Group id in the container.
    pub gid: u32,
    /// Supplementary groups; None leaves them (setgroups(2) is denied in the user namespace).
    pub groups: Option<Vec<rustix::process::Gid>>,
    /// Capability sets as bit masks.
    pub capabilities: CapabilityMasks,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// File mode creation mask.
    pub umask: u32,
}

/// Capability sets of a thread as bit masks, capabilities(7); bit n is capability number n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CapabilityMasks {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
}

/// One resource limit, setrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceLimit {
    /// RLIMIT_* number.
    pub resource: u32,
    /// Its name for messages.
    pub name: &'static str,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// One hook of the bundle, ready to execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookStep {
    /// Which of the six, for messages: `prestart`, `createRuntime`, ...
    pub stage: &'static str,
    /// Its position in the list of its stage.
    pub index: usize,
    /// The program, absolute.
    pub path: CString,
    /// argv.
    pub args: Vec<CString>,
    /// Environment.
    pub env: Vec<CString>,
    /// Seconds until it is killed.
    pub timeout: Option<u32>,
}

/// A seccomp filter, loaded after everything else but execve(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterStep {
    /// The filter.
    pub filter: crate::seccomp::Filter,
    /// What the capabilities are set to after it: without no_new_privs loading takes CAP_SYS_ADMIN,
    /// which a process that is to have none keeps until then.
    pub drop_to: Option<CapabilityMasks>,
}

/// One thing that the child does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait until the parent has done what only it can: id mappings, oom_score_adj, ...
    AwaitParent,
    /// Wait until the parent has written down who this process is.
    AwaitRecord,
    /// Join a namespace by its file.
    JoinNamespace(crate::namespaces::Kind, SourceId),
    /// Become root of the new user namespace.
    BecomeNamespaceRoot,
    /// unshare(2) what must not be made by clone3: the cgroup namespace.
    Unshare(crate::namespaces::Kind),
    /// Make a time namespace with these offsets (timens_offsets) and enter it.
    TimeOffsets(CString),
    /// Bring up the loopback device of the new network namespace.
    LoopbackUp,
    /// A session of one's own, setsid(2).
    NewSession,
    /// A session keyring of one's own, keyrings(7).
    NewKeyring(CString),
    /// sethostname(2).
    Hostname(CString),
    /// setdomainname(2).
    Domainname(CString),
    /// Open a tree of the host in the child's own mount namespace, where it may: a detached copy.
    OpenTree {
        /// The source that it becomes.
        source: SourceId,
        /// The host's path, absolute; None for the root file system, the working directory here.
        path: Option<CString>,
        /// With everything mounted below it (AT_RECURSIVE).
        recursive: bool,
        /// Not `src-nofollow`.
        follow: bool,
    },
    /// Propagation of every mount that came along, before anything is mounted.
    Propagation(MountPropagationFlags),
    /// Take the host's tree away at once, where nothing of it is needed any more; decision 0008.
    LeaveHost,
    /// Attach the root file system's tree at its own path, or over the nothing that the host has left, and
    /// enter it; the tree's propagation, of all of it.
    AttachRoot(SourceId, MountPropagationFlags),
    /// Enter the root file system by its path in a joined mount namespace.
    EnterRoot(CString),
    /// A mount below the root.
    Mount(Box<MountStep>),
    /// A device node.
    Device(DeviceStep),
    /// A symbolic link (target, path); one that exists is left.
    Symlink(CString, CString),
    /// A symbolic link (target, path) in the place of a mount; there may be no other one
    /// (`copy-symlink`).
    CopySymlink(CString, CString),
    /// Take away what is mounted at a path of a running container.
    Unmount(CString),
    /// Ask the parent to run prestart and createRuntime hooks, and wait.
    RuntimeHooks,
    /// Run a hook in the container's namespaces.
    Hook(HookStep),
    /// Make a pseudo-terminal in the container, hand its master to the parent (rows, columns).
    Terminal {
        /// Initial size, rows and columns.
        size: Option<(u16, u16)>,
        /// Bind the slave over /dev/console.
        console: bool,
    },
    /// pivot_root(2) into the root and drop the host's tree; chroot(2) where that is gone.
    PivotRoot,
    /// Take away a mount of the host's that chroot(2) would leave in reach: a whole procfs or sysfs
    /// lets a container mount another one without what masks this one.
    DropHostMount(CString),
    /// chroot(2) instead (`--no-pivot`, or a mount namespace that is not the container's own).
    Chroot {
        /// Move the root's mount over `/` first.
        move_mount: bool,
    },
    /// Write a sysctl: path below /proc/sys, value.
    Sysctl(CString, CString),
    /// Make a directory in the container where it is missing.
    MakeDirectory(CString),
    /// Make the root read-only.
    ReadonlyRoot,
    /// Set the finished root's propagation: what the container makes of it, not what reaches the host.
    RootPropagation(MountPropagationFlags),
    /// Make a path read-only; a missing one is skipped.
    ReadonlyPath(CString),
    /// Hide a path; a missing one is skipped.
    MaskPath {
        /// The path.
        path: CString,
        /// Options of the tmpfs that covers a directory.
        options: Vec<FsOption>,
    },
    /// chdir(2), and proof that the directory lies below the root.
    WorkingDirectory(CString),
    /// Set one resource limit.
    ResourceLimit(ResourceLimit),
    /// Ask the parent to set the resource limits: a user namespace's root cannot raise them.
    ResourceLimitsByParent,
    /// A label of a security module, for what the process executes or makes next.
    Label(super::Label),
    /// Scheduler, I/O priority, CPUs, memory policy or personality.
    Tune(Box<super::Tuning>),
    /// The capability bounding set: what no program that is executed from here on can get.
    BoundingSet(u64),
    /// Ids, groups, capabilities, no_new_privs.
    Credentials(Box<Credentials>),
    /// Look for the program now, so that `create` and not `start` says that it is missing.
    CheckExecutable,
    /// Enter the namespaces of a running container, setns(2) on its init's pidfd.
    JoinContainer {
        /// CLONE_NEW* flags of the namespaces to enter.
        flags: u64,
        /// Enter its root too: it is not the root of its mount namespace.
        chroot: bool,
    },
    /// Hand over to `rcrun start`: report that the container is created, wait for the word.
    AwaitStart,
    /// Close every descriptor from this one on but those of the launch itself.
    CloseDescriptors(u32),
    /// Load a seccomp filter. Always the last step: the child has said by then that it executes.
    Seccomp(Box<FilterStep>),
}

impl Step {
    /// Does it write about its process to the host's /proc?
    pub fn needs_proc(&self) -> bool {
        matches!(self, Self::TimeOffsets(_) | Self::Label(_))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::display::step(self, f)
    }
}
