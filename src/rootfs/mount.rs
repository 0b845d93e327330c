//! Mounts: attach a new file system or a detached tree, or change one that is there.
//!
//! A mount gets its attributes and its propagation while it is still detached: nobody ever sees it
//! without them. Attaching it to a descriptor of the target is the last call.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, XattrFlags, chmodat, fsetxattr, fstat, mkdirat, openat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, fspick,
    mount_change, move_mount,
};
use rustix::process::fchdir;

use super::long_options::{self, Long};
use super::path::{is_entry, relative, trimmed};
use super::{Place, copy_up, pins, release, resolve};
use crate::plan::step::{Attributes, FsOption, MountFrom, MountStep, TargetKind, takes_mode};
use crate::sys::mount::{MountAttr, mount_setattr};
use crate::sys::{During, Failure, Note};

/// MOUNT_ATTR__ATIME: a field of its own in the attributes, cleared as a whole or not at all.
const ATIME: u64 = 0x70;
/// MOUNT_ATTR_RDONLY.
pub(super) const READ_ONLY: u64 = 1;

/// Sets the propagation of `/`, or with REC of everything.
pub fn set_propagation(flags: MountPropagationFlags) -> Result<(), Failure> {
    mount_change(c"/", flags).during("mount (propagation of /)")
}

/// Attaches the root file system's detached tree over the working directory and enters it.
///
/// The tree was cloned in the host's mount namespace and is a peer of the host's mount; as a slave
/// of it, or private, it tells the host nothing.
pub fn attach_root(tree: BorrowedFd<'_>, propagation: MountPropagationFlags) -> Result<(), Failure> {
    change(tree, &Attributes::default(), Some(propagation))?;
    move_mount(tree, c"", CWD, c".", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).during("move_mount")?;
    fchdir(tree).during("fchdir")
}

/// Performs a mount step at its target's [`Place`]; `tree` is what its [`MountFrom::source`] stands for.
///
/// Of a new file system that [`super::pins`] know the mount comes back.
/// A mount over `/` itself hides the root: its own root, returned then, takes that one's place.
pub fn perform(
    at: Place<'_>,
    step: &MountStep,
    tree: Option<BorrowedFd<'_>>,
) -> Result<Option<OwnedFd>, Failure> {
    match &step.from {
        MountFrom::New { fstype, source, options, attributes, root_context } => {
            let takes_mode = takes_mode(fstype, options);
            let covered =
                if takes_mode || step.copy_up { Some(new_target(at, step, takes_mode)?) } else { None };
            let (target, mode) = covered.unzip();
            let late = if step.copy_up { attributes & READ_ONLY } else { 0 };
            let mount =
                new_file_system(fstype, source.as_deref(), mode.flatten(), options, attributes & !late)?;
            if let Some(target) = target.as_ref().filter(|_| step.copy_up) {
                copy_contents(target.as_fd(), mount.as_fd())?;
            }
            if let Some(context) = root_context {
                label_root(mount.as_fd(), context)?;
            }
            let attributes = Attributes { set: step.attributes.set | late, ..step.attributes };
            change(mount.as_fd(), &attributes, step.propagation)?;
            match target {
                Some(target) => {
                    attach(mount.as_fd(), target.as_fd())?;
                    release(target);
                }
                None => attach_at(mount.as_fd(), at, step.kind)?,
            }
            if covers_root(&step.target) || pins::are_for(step) {
                return Ok(Some(mount));
            }
            release(mount);
        }
        MountFrom::Tree(_) => {
            let tree = tree.ok_or(Errno::BADF).during("move_mount (no tree was opened)")?;
            let target = bind_target(at, step)?;
            // Without a wish, as attach_root: a peer of the host's mount would report back to it.
            let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
            let wish = step.propagation.unwrap_or(slave);
            if !wish.intersects(MountPropagationFlags::REC | MountPropagationFlags::SHARED) {
                // What is mounted below was not asked for: it tells the host nothing either.
                become_slave(tree)?;
            }
            change(tree, &step.attributes, Some(wish))?;
            attach(tree, target.as_fd())?;
            release(target);
            if covers_root(&step.target) {
                return fcntl_dupfd_cloexec(tree, 0).during("fcntl").map(Some);
            }
        }
        MountFrom::Mapped { takes_mode, .. } => {
            let mount = tree.ok_or(Errno::BADF).during("move_mount (no file system was made)")?;
            let (target, mode) = new_target(at, step, *takes_mode)?;
            if let Some(mode) = mode {
                chmodat(mount, c".", Mode::from_raw_mode(mode), AtFlags::empty())
                    .during("fchmodat (its uid or gid is not in its mapping: give it a mode)")?;
            }
            if step.copy_up {
                copy_contents(target.as_fd(), mount)?;
            }
            change(mount, &step.attributes, step.propagation)?;
            attach(mount, target.as_fd())?;
            release(target);
            if covers_root(&step.target) {
                return fcntl_dupfd_cloexec(mount, 0).during("fcntl").map(Some);
            }
        }
        MountFrom::Long { fstype, source, options, attributes, data } => {
            let long = Long { fstype, source, options, attributes: *attributes, data };
            long_options::perform(at, step, &long)?;
        }
        MountFrom::Reconfigured(options) => {
            let target = resolve::open(at.0, at.1)?;
            reconfigure(target.as_fd(), options)?;
            change(target.as_fd(), &step.attributes, step.propagation)?;
            release(target);
        }
        MountFrom::Existing => {
            let target = resolve::open(at.0, at.1)?;
            change(target.as_fd(), &step.attributes, step.propagation)?;
            release(target);
        }
    }
    Ok(None)
}

fn bind_target(at: Place<'_>, step: &MountStep) -> Result<OwnedFd, Failure> {
    match step.kind {
        TargetKind::Itself => resolve::open_itself(at.0, at.1),
        kind => resolve::open_or_make(at.0, at.1, kind),
    }
}

/// Gives the file system that is mounted at `target` other options.
fn reconfigure(target: BorrowedFd<'_>, options: &[FsOption]) -> Result<(), Failure> {
    let flags = FsPickFlags::FSPICK_EMPTY_PATH | FsPickFlags::FSPICK_CLOEXEC;
    let context = fspick(target, c"", flags).during("fspick")?;
    configure(&context, options)?;
    fsconfig_reconfigure(&context).map_err(|errno| said(&context, errno))?;
    release(context);
    Ok(())
}

/// Attaches a detached mount to what `target` is a descriptor of.
pub(super) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Failure> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags).during("move_mount")
}

/// Attaches a detached mount to what is to be mounted on, made where it is missing.
///
/// Most are directories with a single name there. That is taken as it is, never followed if it is a link,
/// and is neither opened nor looked up twice; what does not go so is resolved.
fn attach_at(mount: BorrowedFd<'_>, at: Place<'_>, kind: TargetKind) -> Result<(), Failure> {
    let single = |name: &&CStr| !name.to_bytes().contains(&b'/') && is_entry(name.to_bytes());
    if kind == TargetKind::Directory
        && let Some(name) = relative(at.1).filter(single)
        && attach_to_name(mount, (at.0, name)).is_ok()
    {
        return Ok(());
    }
    let target = resolve::open_or_make(at.0, at.1, kind)?;
    attach(mount, target.as_fd())?;
    release(target);
    Ok(())
}

fn attach_to_name(mount: BorrowedFd<'_>, (directory, name): Place<'_>) -> Result<(), Errno> {
    let attach = || move_mount(mount, c"", directory, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH);
    match attach() {
        Err(Errno::NOENT) => {
            mkdirat(directory, name, Mode::from_raw_mode(0o755))?;
            attach()
        }
        attached => attached,
    }
}

/// Makes a tree read-only, whatever else it is.
pub(super) fn make_read_only(tree: BorrowedFd<'_>, recursive: bool) -> Result<(), Failure> {
    let attr = MountAttr { set: READ_ONLY, ..MountAttr::default() };
    mount_setattr(tree, recursive, &attr).during("mount_setattr")
}

/// Makes a tree hear of the host's mounts at most, never the other way round.
pub(super) fn become_slave(tree: BorrowedFd<'_>) -> Result<(), Failure> {
    change(tree, &Attributes::default(), Some(MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC))
}

/// The target of a new file system. One that [`takes_mode`] looks like the directory that it covers, where
/// there was one: that one's mode comes along.
fn new_target(at: Place<'_>, step: &MountStep, takes_mode: bool) -> Result<(OwnedFd, Option<u32>), Failure> {
    if takes_mode {
        match resolve::open_directory(at.0, at.1) {
            Err(Failure { errno: Errno::NOENT, .. }) => {}
            found => {
                let found = found?;
                let mode = fstat(&found).during("fstat")?.st_mode & 0o7777;
                return Ok((found, Some(mode)));
            }
        }
    }
    Ok((resolve::open_or_make(at.0, at.1, step.kind)?, None))
}

/// A detached mount of a new file system; `mode` is an option of tmpfs.
pub fn new_file_system(
    fstype: &CStr,
    source: Option<&CStr>,
    mode: Option<u32>,
    options: &[FsOption],
    attributes: u64,
) -> Result<OwnedFd, Failure> {
    let attributes = u32::try_from(attributes).map_err(|_| Errno::INVAL).during("fsmount")?;
    let context = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC).during("fsopen")?;
    if let Some(source) = source {
        fsconfig_set_string(&context, c"source", source).map_err(|errno| said(&context, errno))?;
    }
    if let Some(mode) = mode {
        fsconfig_set_string(&context, c"mode", octal(&mut [0; 5], mode))
            .map_err(|errno| said(&context, errno))?;
    }
    configure(&context, options)?;
    fsconfig_create(&context).map_err(|errno| said(&context, errno))?;
    let attributes = MountAttrFlags::from_bits_retain(attributes);
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|errno| Failure { operation: "fsmount", ..said(&context, errno) })?;
    release(context);
    Ok(mount)
}

fn configure(context: &OwnedFd, options: &[FsOption]) -> Result<(), Failure> {
    for option in options {
        match option {
            FsOption::Flag(key) => fsconfig_set_flag(context, key.as_c_str()),
            FsOption::Value(key, value) => fsconfig_set_string(context, key.as_c_str(), value.as_c_str()),
        }
        .map_err(|errno| said(context, errno))?;
    }
    Ok(())
}

/// A failed fsconfig(2) with what the file system has put into its log: `e tmpfs: Bad value for 'size'`.
fn said(context: &OwnedFd, errno: Errno) -> Failure {
    let mut message = [0; 128];
    let length = rustix::io::read(context, &mut message).unwrap_or(0);
    let line = message.get(..length).unwrap_or_default();
    let line = line.strip_prefix(b"e ").or_else(|| line.strip_prefix(b"w ")).unwrap_or(line);
    Failure { operation: "fsconfig", errno, note: Note::from(line) }
}

/// Permission bits in octal, as the option `mode` has them.
fn octal(digits: &mut [u8; 5], mode: u32) -> &CStr {
    for (digit, place) in digits.iter_mut().zip([9, 6, 3, 0]) {
        *digit = b'0' + (mode >> place & 7) as u8;
    }
    CStr::from_bytes_until_nul(digits).unwrap_or(c"0755")
}

/// Gives the root of a file system another SELinux context. It keeps the one that it has under a policy that
/// gives its files none of their own, and where it belongs to nobody in this user namespace: an mqueue whose
/// IPC namespace was born together with that belongs to rcrun's user.
#[inline(never)]
fn label_root(mount: BorrowedFd<'_>, context: &CStr) -> Result<(), Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(mount, c".", flags, Mode::empty()).during("openat")?;
    let set = fsetxattr(&root, c"security.selinux", context.to_bytes(), XattrFlags::empty());
    release(root);
    match set {
        Err(Errno::OPNOTSUPP | Errno::PERM) => Ok(()),
        set => set.during("fsetxattr security.selinux (linux.mountLabel)"),
    }
}

/// tmpcopyup: the covered directory's owner and contents.
#[inline(never)]
fn copy_contents(target: BorrowedFd<'_>, mount: BorrowedFd<'_>) -> Result<(), Failure> {
    let (uid, gid) = copy_up::owner(&fstat(target).during("fstat")?);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from = openat(target, c".", flags, Mode::empty()).during("openat")?;
    let to = openat(mount, c".", flags, Mode::empty()).during("openat")?;
    rustix::fs::fchown(&to, uid, gid).during("fchown")?;
    copy_up::contents(from.as_fd(), to.as_fd())
}

/// Changes attributes and propagation: of the whole tree first, then of its top alone.
pub(super) fn change(
    mount: BorrowedFd<'_>,
    attributes: &Attributes,
    propagation: Option<MountPropagationFlags>,
) -> Result<(), Failure> {
    let flags = propagation.unwrap_or(MountPropagationFlags::empty());
    let of_tree = flags.contains(MountPropagationFlags::REC);
    let kind = u64::from((flags - MountPropagationFlags::REC).bits());
    let (tree_kind, own_kind) = if of_tree { (kind, 0) } else { (0, kind) };
    set(mount, true, attributes.set_recursive, attributes.clear_recursive, tree_kind)?;
    set(mount, false, attributes.set, attributes.clear, own_kind)
}

fn set(
    mount: BorrowedFd<'_>,
    recursive: bool,
    set: u64,
    clear: u64,
    propagation: u64,
) -> Result<(), Failure> {
    if set | clear | propagation == 0 {
        return Ok(());
    }
    let clear = if (set | clear) & ATIME == 0 { clear } else { clear | ATIME };
    let attr = MountAttr { set, clear, propagation, userns_fd: 0 };
    mount_setattr(mount, recursive, &attr).during("mount_setattr")
}

/// Is the target the root itself? As written: a link that leads to the root covers nothing that
/// the container will see, since it enters the root and not what lies over it.
pub fn covers_root(target: &CStr) -> bool {
    !trimmed(target).split(|&byte| byte == b'/').any(is_entry)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use rustix::fs::{StatVfsMountFlags, statvfs};
    use rustix::mount::{UnmountFlags, unmount};
    use rustix::thread::UnshareFlags;

    use super::super::playground::*;
    use super::*;
    use crate::plan::step::SourceId;

    fn tmpfs(target: &str, options: &[(&str, &str)], attributes: u64) -> MountStep {
        let options = options.iter().map(|(key, value)| FsOption::Value(c(key), c(value))).collect();
        let (fstype, source) = (c("tmpfs"), Some(c("shm")));
        let from = MountFrom::New { fstype, source, options, attributes, root_context: None };
        step(from, target, TargetKind::Directory)
    }

    fn is_read_only(path: &str) -> bool {
        statvfs(path).unwrap().f_flag.contains(StatVfsMountFlags::RDONLY)
    }

    #[test]
    fn a_new_file_system_has_its_options_and_attributes() {
        play(|root| {
            perform_at(root, &tmpfs("/dev/shm", &[("size", "1m"), ("mode", "1777")], 0xe), None).unwrap();
            let line = mountinfo("/tmp/root/dev/shm").unwrap();
            assert!(line.contains(" rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=1024k"), "{line}");
            assert_eq!(fs::metadata("/tmp/root/dev/shm").unwrap().mode(), 0o41777);
        });
    }

    #[test]
    fn a_tmpfs_has_the_mode_of_what_it_covers() {
        play(|root| {
            fs::create_dir("/tmp/root/run").unwrap();
            fs::set_permissions("/tmp/root/run", fs::Permissions::from_mode(0o2750)).unwrap();
            for (target, mode) in [("/run", 0o42750), ("/missing", 0o41777)] {
                perform_at(root, &tmpfs(target, &[], READ_ONLY), None).unwrap();
                assert_eq!(fs::metadata(format!("{ROOT}{target}")).unwrap().mode(), mode, "{target}");
                assert!(is_read_only(&format!("{ROOT}{target}")));
            }
        });
    }

    /// That the parent has mapped it, the child does not see.
    #[test]
    fn a_file_system_of_the_parents_has_the_mode_of_what_it_covers() {
        play(|root| {
            fs::create_dir(format!("{ROOT}/run")).unwrap();
            fs::set_permissions(format!("{ROOT}/run"), fs::Permissions::from_mode(0o2750)).unwrap();
            fs::write(format!("{ROOT}/run/file"), "text").unwrap();
            for (target, takes_mode, copy_up, mode) in [
                ("/run", false, false, 0o41777),
                ("/run", true, true, 0o42750),
                ("/missing", true, false, 0o41777),
            ] {
                let made = new_file_system(c"tmpfs", None, None, &[], 0).unwrap();
                let from = MountFrom::Mapped { source: SourceId(0), takes_mode };
                let mut wish = step(from, target, TargetKind::Directory);
                wish.copy_up = copy_up;
                assert_eq!(perform_at(root, &wish, None).unwrap_err().errno, Errno::BADF);
                assert!(perform_at(root, &wish, Some(made.as_fd())).unwrap().is_none());
                let point = format!("{ROOT}{target}");
                assert_eq!(fs::metadata(&point).unwrap().mode(), mode, "{target}");
                assert!(mountinfo(&point).is_some());
                assert_eq!(fs::exists(format!("{point}/file")).unwrap(), copy_up);
                unmount(point, UnmountFlags::DETACH).unwrap();
            }
            let made = new_file_system(c"tmpfs", None, None, &[], 0).unwrap();
            let from = MountFrom::Mapped { source: SourceId(0), takes_mode: true };
            let over = perform_at(root, &step(from, "/", TargetKind::Directory), Some(made.as_fd())).unwrap();
            perform_at(over.expect("a new root").as_fd(), &tmpfs("/below", &[], 0), None).unwrap();
            assert!(mountinfo("/tmp/root/below").is_some());
        });
    }

    #[test]
    fn a_bad_option_is_named_by_the_kernel() {
        play(|root| {
            let failure = perform_at(root, &tmpfs("/x", &[("size", "much")], 0), None).unwrap_err();
            assert_eq!((failure.operation, failure.errno), ("fsconfig", Errno::INVAL));
            assert_eq!(failure.note.as_str(), "tmpfs: Bad value for 'size'");
            let failure = perform_at(root, &new(c"nonesuchfs", "/x"), None).unwrap_err();
            assert_eq!((failure.operation, failure.errno), ("fsopen", Errno::NODEV));
        });
    }

    #[test]
    fn a_link_out_of_the_root_gets_no_mount() {
        play(|root| {
            symlink("../outside", "/tmp/root/out").unwrap();
            let failure = perform_at(root, &tmpfs("/out", &[], 0), None).unwrap_err();
            assert_eq!(failure.operation, resolve::LEAVES_ROOT);
            assert_eq!(mountinfo("/tmp/outside"), None);
        });
    }

    #[test]
    fn the_later_of_two_mounts_is_seen() {
        play(|root| {
            perform_at(root, &tmpfs("/twice", &[], 0), None).unwrap();
            fs::write("/tmp/root/twice/first", "").unwrap();
            perform_at(root, &tmpfs("/twice", &[], 0), None).unwrap();
            assert_eq!(fs::read_dir("/tmp/root/twice").unwrap().count(), 0);
        });
    }

    #[test]
    fn a_mount_over_the_root_takes_its_place() {
        play(|root| {
            let over = perform_at(root, &tmpfs("/", &[], 0), None).unwrap().expect("a new root");
            perform_at(over.as_fd(), &tmpfs("/below", &[], 0), None).unwrap();
            assert!(mountinfo("/tmp/root/below").is_some());
            let tree = tree("/tmp/outside");
            let again =
                perform_at(over.as_fd(), &bind("/."), Some(tree.as_fd())).unwrap().expect("a new root");
            perform_at(again.as_fd(), &tmpfs("/in_bind", &[], 0), None).unwrap();
            assert!(fs::exists("/tmp/outside/in_bind").unwrap());
        });
    }

    #[test]
    fn targets_on_a_read_only_file_system_must_exist() {
        play(|root| {
            tmpfs_on(root);
            let root = path_fd(ROOT);
            fs::create_dir("/tmp/root/there").unwrap();
            make_read_only(root.as_fd(), false).unwrap();
            perform_at(root.as_fd(), &tmpfs("/there", &[], 0), None).unwrap();
            let failure = perform_at(root.as_fd(), &tmpfs("/new", &[], 0), None).unwrap_err();
            assert_eq!((failure.operation, failure.errno), ("mkdirat", Errno::ROFS));
        });
    }

    #[test]
    fn a_bind_gets_its_attributes_on_its_top_or_on_all_of_it() {
        play(|root| {
            fs::create_dir("/tmp/outside/sub").unwrap();
            tmpfs_on(path_fd("/tmp/outside/sub").as_fd());
            let (top, all) = (tree("/tmp/outside"), tree("/tmp/outside"));
            let mut wish = bind("/top");
            wish.attributes.set = READ_ONLY;
            perform_at(root, &wish, Some(top.as_fd())).unwrap();
            wish = bind("/all");
            wish.attributes.set_recursive = READ_ONLY;
            wish.attributes.clear = 0x10;
            perform_at(root, &wish, Some(all.as_fd())).unwrap();
            assert!(is_read_only("/tmp/root/top") && !is_read_only("/tmp/root/top/sub"));
            assert!(is_read_only("/tmp/root/all") && is_read_only("/tmp/root/all/sub"));
            assert!(!is_read_only("/tmp/outside"));

            let mut back = step(MountFrom::Existing, "/top", TargetKind::Directory);
            back.attributes = Attributes { set: 0x10, clear: READ_ONLY, ..Attributes::default() };
            perform_at(root, &back, None).unwrap();
            let line = mountinfo("/tmp/root/top").unwrap();
            assert!(line.contains(" rw,noatime "), "{line}");
        });
    }

    #[test]
    fn a_file_is_bound_over_a_file() {
        play(|root| {
            fs::write("/tmp/outside/hosts", "bound").unwrap();
            let tree = tree("/tmp/outside/hosts");
            let wish = step(MountFrom::Tree(SourceId(0)), "/etc/hosts", TargetKind::File);
            perform_at(root, &wish, Some(tree.as_fd())).unwrap();
            assert_eq!(fs::read_to_string("/tmp/root/etc/hosts").unwrap(), "bound");
            assert_eq!(perform_at(root, &wish, None).unwrap_err().errno, Errno::BADF);
        });
    }

    /// The host's mounts are shared, as systemd has them; the container binds one of them.
    #[test]
    fn a_bind_tells_the_host_only_what_it_is_asked_to() {
        play(|root| {
            tmpfs_on(path_fd("/tmp/outside").as_fd());
            mount_change(c"/tmp/outside", MountPropagationFlags::SHARED).unwrap();
            for name in ["slave", "shared", "host"] {
                fs::create_dir(format!("/tmp/outside/{name}")).unwrap();
            }
            let (silent, talking, host) = (tree("/tmp/outside"), tree("/tmp/outside"), tree("/tmp"));
            run(UnshareFlags::NEWNS, || {
                set_propagation(MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).unwrap();
                let root = path_fd(ROOT);
                perform_at(root.as_fd(), &bind("/silent"), Some(silent.as_fd())).unwrap();
                let mut wish = bind("/talking");
                wish.propagation = Some(MountPropagationFlags::SHARED | MountPropagationFlags::REC);
                perform_at(root.as_fd(), &wish, Some(talking.as_fd())).unwrap();
                assert!(mountinfo("/tmp/root/silent").unwrap().contains(" master:"));
                assert!(mountinfo("/tmp/root/talking").unwrap().contains(" shared:"));
                tmpfs_on(path_fd("/tmp/root/silent/slave").as_fd());
                tmpfs_on(path_fd("/tmp/root/talking/shared").as_fd());

                std::env::set_current_dir(ROOT).unwrap();
                let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
                attach_root(host.as_fd(), slave).unwrap();
                assert!(mountinfo("/tmp/root/outside").unwrap().contains(" master:"));
                assert!(fs::exists("outside").unwrap());
            });
            assert_eq!(mountinfo("/tmp/outside/slave"), None);
            assert!(mountinfo("/tmp/outside/shared").is_some());
            assert_eq!(mountinfo("/tmp/root/silent"), None);
            let _ = root;
        });
    }

    #[test]
    fn what_a_tmpfs_covers_is_copied_up() {
        play(|root| {
            let base = "/tmp/root/var";
            fs::create_dir_all(format!("{base}/deep/er")).unwrap();
            fs::write(format!("{base}/deep/er/file"), vec![7; 100_000]).unwrap();
            fs::set_permissions(format!("{base}/deep/er/file"), fs::Permissions::from_mode(0o4711)).unwrap();
            std::os::unix::fs::lchown(format!("{base}/deep"), Some(12), Some(34)).unwrap();
            std::os::unix::fs::lchown(base, Some(5), Some(6)).unwrap();
            fs::set_permissions(base, fs::Permissions::from_mode(0o711)).unwrap();
            symlink("/etc/shadow", format!("{base}/link")).unwrap();
            rustix::fs::mkfifoat(CWD, format!("{base}/fifo"), Mode::from_raw_mode(0o620)).unwrap();
            for number in 0..300 {
                fs::write(format!("{base}/a_name_that_is_long_enough_to_fill_the_buffer_{number}"), "")
                    .unwrap();
            }
            let before = fs::metadata(format!("{base}/deep/er/file")).unwrap();
            let mut wish = tmpfs("/var", &[], READ_ONLY);
            wish.copy_up = true;
            perform_at(root, &wish, None).unwrap();

            assert!(mountinfo(base).is_some() && is_read_only(base));
            let top = fs::metadata(base).unwrap();
            assert_eq!((top.mode(), top.uid(), top.gid()), (0o40711, 5, 6));
            let after = fs::metadata(format!("{base}/deep/er/file")).unwrap();
            assert_eq!(fs::read(format!("{base}/deep/er/file")).unwrap(), vec![7; 100_000]);
            assert_eq!((after.mode(), after.mtime_nsec()), (before.mode(), before.mtime_nsec()));
            assert_ne!(after.dev(), before.dev());
            let deep = fs::metadata(format!("{base}/deep")).unwrap();
            assert_eq!((deep.uid(), deep.gid()), (12, 34));
            assert_eq!(fs::read_link(format!("{base}/link")).unwrap().to_str(), Some("/etc/shadow"));
            assert_eq!(fs::metadata(format!("{base}/fifo")).unwrap().mode(), 0o10620);
            assert_eq!(fs::read_dir(base).unwrap().count(), 303);
        });
    }

    #[test]
    fn a_user_namespace_mounts_too() {
        let outside = tree("/usr");
        play_unprivileged(|root| {
            perform_at(root, &tmpfs("/dev/shm", &[("size", "1m")], 0xe), None).unwrap();
            perform_at(root, &bind("/usr"), Some(outside.as_fd())).unwrap();
            let mut wish = step(MountFrom::Existing, "/usr", TargetKind::Directory);
            wish.attributes.set = READ_ONLY;
            perform_at(root, &wish, None).unwrap();
            assert!(is_read_only("/tmp/root/usr") && fs::exists("/tmp/root/usr/bin").unwrap());
        });
    }
}
