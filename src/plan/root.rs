//! The root file system: into the container's mount namespace, what is mounted and made in it, and the way
//! from there to a root that is finished.

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};

use rustix::mount::MountPropagationFlags;

use super::hooks::Hooks;
use super::step::{Attributes, MountFrom, MountStep, Source, Step, TargetKind};
use super::{Builder, PlanError, Request, c_path, c_text, devices, mount_options, mounts, propagation};
use crate::namespaces::Kind;
use crate::spec::{SpecError, has_namespace, sysctl_path};

/// The container's tree: root, mounts, devices.
pub(super) fn file_systems(
    b: &mut Builder<'_>,
    request: &Request<'_>,
    hooks: &Hooks,
) -> Result<(), PlanError> {
    if b.joins(Kind::Mount) && b.spec.root().as_ref().is_some_and(|r| r.readonly() == Some(true)) {
        let reason =
            "in a joined mount namespace the root is no mount of the container's own: set it to false";
        return Err(SpecError::invalid("root.readonly", reason).into());
    }
    let before_root = b.steps.len();
    let may_mount = has_namespace(b.linux(), Kind::Mount) || b.mounts_on_host();
    check_mounts_on_host(b)?;
    attach(b, request);
    mounts::plan(b)?;
    if let Some(directory) = request.notify.as_deref().filter(|_| may_mount) {
        notify_mount(b, directory);
    }
    if may_mount {
        devices::plan(b)?;
    }
    // All of them before the first is attached: each shows the host as it was.
    let open_trees = std::mem::take(&mut b.open_trees);
    if open_trees.is_empty()
        && may_leave_host(b, request, hooks)
        && let Some(attach) = b.steps.iter().position(|step| matches!(step, Step::AttachRoot(..)))
    {
        b.steps.insert(attach, Step::LeaveHost);
    }
    b.steps.splice(before_root..before_root, open_trees);
    Ok(())
}

/// Does the child need nothing of the host's file systems for its mounts, and do hooks not either, which find
/// the root at its own path on the host until pivot_root(2)?
fn may_leave_host(b: &Builder<'_>, request: &Request<'_>, hooks: &Hooks) -> bool {
    // What names no file of the host: an overlay has its layers by path, ext4 its device.
    const SELF_CONTAINED: [&CStr; 9] =
        [c"proc", c"sysfs", c"tmpfs", c"devpts", c"mqueue", c"cgroup2", c"ramfs", c"hugetlbfs", c"bpf"];
    let self_contained = |step: &Step| match step {
        Step::Mount(mount) => match &mount.from {
            MountFrom::New { fstype, .. } => SELF_CONTAINED.contains(&fstype.as_c_str()),
            MountFrom::Long { .. } => false,
            _ => true,
        },
        _ => true,
    };
    b.creates(Kind::Mount)
        && !request.no_pivot
        && b.facts.may_administer()
        && b.facts.permits(caps::Capability::CAP_SYS_CHROOT)
        && !b.user_namespace()
        && !b.facts.in_user_namespace
        && hooks.runtime.is_empty()
        && hooks.create_container.is_empty()
        && b.steps.iter().all(self_contained)
}

/// Mounts in rcrun's own mount namespace take its privileges there, and a root to be taken away with.
fn check_mounts_on_host(b: &Builder<'_>) -> Result<(), PlanError> {
    if !b.mounts_on_host() {
        return Ok(());
    }
    let refuse = |reason: &str| Err(PlanError::Namespace { kind: Kind::Mount, reason: reason.into() });
    if b.user_namespace() || !b.facts.may_administer() {
        return refuse("missing: a user namespace has no privileges to mount in the host's: add one");
    }
    let is_entry = |part| matches!(part, std::path::Component::Normal(_));
    if b.spec.mounts().iter().flatten().any(|mount| !mount.destination().components().any(is_entry)) {
        return refuse("missing: a mount over / needs one that goes away with the container: add one");
    }
    Ok(())
}

/// Brings the root file system into the container's mount namespace.
fn attach(b: &mut Builder<'_>, request: &Request<'_>) {
    if !b.owns_root() {
        b.steps.push(Step::EnterRoot(c_path(request.root)));
        return;
    }
    let propagation = match b.creates(Kind::Mount) {
        true => propagation::while_built(b),
        // A slave of the mount that it covers would hear of being attached.
        false => MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    };
    if b.creates(Kind::Mount) {
        b.steps.push(Step::Propagation(propagation));
    }
    let source = match request.root_is_mount {
        true => b.source(Source::Root),
        false => b.root_tree(request.root),
    };
    b.steps.push(Step::AttachRoot(source, propagation));
    if !b.creates(Kind::Mount) {
        // What is attached to a shared mount is shared then, and all of the container's mounts would be.
        b.steps.push(Step::Mount(Box::new(MountStep {
            from: MountFrom::Existing,
            target: c"/".into(),
            kind: TargetKind::Directory,
            attributes: Attributes::default(),
            propagation: Some(propagation),
            copy_up: false,
        })));
    }
}

fn notify_mount(b: &mut Builder<'_>, directory: &Path) {
    let source = b.tree(directory.into(), false);
    b.steps.push(Step::Mount(Box::new(MountStep {
        from: MountFrom::Tree(source),
        target: c"/run/notify".into(),
        kind: TargetKind::Directory,
        attributes: Attributes::default(),
        propagation: Some(MountPropagationFlags::PRIVATE),
        copy_up: false,
    })));
}

/// From the assembled tree to a finished root: enter it, then forbid.
pub(super) fn enter(b: &mut Builder<'_>, request: &Request<'_>, cwd: &Path) {
    let own_mounts = b.creates(Kind::Mount);
    if own_mounts && request.no_pivot {
        let below_root = |path: &PathBuf| path.starts_with(request.root);
        let reachable = (b.facts.pseudo_mounts)().into_iter().filter(|path| !below_root(path));
        b.steps.extend(reachable.map(|path| Step::DropHostMount(c_path(&path))));
    }
    b.steps.push(match own_mounts && !request.no_pivot {
        true => Step::PivotRoot,
        false => Step::Chroot { move_mount: own_mounts },
    });
    let linux = b.linux();
    let mut sysctls: Vec<_> = linux.and_then(|l| l.sysctl().as_ref()).into_iter().flatten().collect();
    sysctls.sort();
    b.steps.extend(
        sysctls.into_iter().map(|(key, value)| Step::Sysctl(c_text(&sysctl_path(key)), c_text(value))),
    );
    if cwd != Path::new("/") {
        b.steps.push(Step::MakeDirectory(c_path(cwd)));
    }
    let later = std::mem::take(&mut b.readonly_later);
    b.steps.extend(later.into_iter().map(|target| {
        let attributes = Attributes { set: mount_options::MOUNT_ATTR_RDONLY, ..Attributes::default() };
        let from = MountFrom::Existing;
        Step::Mount(Box::new(MountStep {
            from,
            target,
            kind: TargetKind::Directory,
            attributes,
            propagation: None,
            copy_up: false,
        }))
    }));
    if b.spec.root().as_ref().is_some_and(|r| r.readonly() == Some(true)) {
        b.steps.push(Step::ReadonlyRoot);
    }
    let paths = |list: Option<&Vec<String>>, step: fn(CString) -> Step| -> Vec<Step> {
        list.into_iter().flatten().map(|p| step(mounts::container_path(Path::new(p)))).collect()
    };
    b.steps.extend(paths(linux.and_then(|l| l.readonly_paths().as_ref()), Step::ReadonlyPath));
    let mask = |path| Step::MaskPath { path, options: vec![] };
    b.steps.extend(paths(linux.and_then(|l| l.masked_paths().as_ref()), mask));
    b.steps.extend(propagation::when_built(b).map(Step::RootPropagation));
}
