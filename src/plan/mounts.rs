//! The mounts of config.json as steps.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;
use rustix::mount::MountPropagationFlags as Propagation;

use super::mount_options::{MOUNT_ATTR_RDONLY, MountOptions};
use super::step::{Attributes, FsOption, IdMap, MountFrom, MountStep, Source, Step, TargetKind, takes_mode};
use super::{Builder, PlanError, c_path, idmap, long_options};
use crate::namespaces::Kind;
use crate::spec::SpecError;

/// Plans every mount, in the order of config.json.
pub(super) fn plan(b: &mut Builder<'_>) -> Result<(), PlanError> {
    for (index, mount) in b.spec.mounts().iter().flatten().enumerate() {
        let options = mount.options().iter().flatten().map(String::as_str);
        let options = MountOptions::parse(options);
        check(index, mount, &options)?;
        let step = match copied_link(b, index, mount, &options)? {
            Some(target) => Step::CopySymlink(target, container_path(mount.destination())),
            None => Step::Mount(Box::new(one(b, index, mount, options)?)),
        };
        b.steps.push(step);
    }
    Ok(())
}

/// Options that do not go together.
fn check(index: usize, mount: &Mount, options: &MountOptions) -> Result<(), PlanError> {
    let refuse = |reason: &str| Err(SpecError::invalid(format!("mounts[{index}].options"), reason).into());
    let fstype = mount.typ().as_deref().unwrap_or_default();
    let bind = options.bind.is_some() || fstype == "bind";
    if options.copy_up && (bind || options.remount || fstype != "tmpfs") {
        return refuse("tmpcopyup is an option of a new tmpfs");
    }
    let links = options.src_nofollow || options.dest_nofollow || options.copy_symlink;
    if links && (!bind || options.remount) {
        return refuse("src-nofollow, dest-nofollow and copy-symlink are options of a bind mount");
    }
    if options.copy_symlink && (options.src_nofollow || options.dest_nofollow) {
        return refuse("copy-symlink excludes src-nofollow and dest-nofollow");
    }
    Ok(())
}

/// Where the link leads that `copy-symlink` makes instead of a mount.
fn copied_link(
    b: &Builder<'_>,
    index: usize,
    mount: &Mount,
    options: &MountOptions,
) -> Result<Option<CString>, PlanError> {
    if !options.copy_symlink {
        return Ok(None);
    }
    Ok(link(b, index, mount)?.map(|target| c_path(&target)))
}

/// Where a bind source leads if it is a symbolic link.
fn link(b: &Builder<'_>, index: usize, mount: &Mount) -> Result<Option<PathBuf>, PlanError> {
    let path = b.bundle.join(mount.source().as_deref().unwrap_or(Path::new("")));
    (b.facts.link_target)(&path).map_err(|error| PlanError::BindSource {
        index,
        source_path: path,
        target: mount.destination().display().to_string(),
        error,
    })
}

fn one(
    b: &mut Builder<'_>,
    index: usize,
    mount: &Mount,
    options: MountOptions,
) -> Result<MountStep, PlanError> {
    let target = container_path(mount.destination());
    let fstype = mount.typ().as_deref().unwrap_or_default();
    let bind = options.bind.or((fstype == "bind").then_some(false));
    let idmap = idmap::of(b, index, mount, &options)?;
    let mut step = MountStep {
        from: MountFrom::Existing,
        target,
        kind: TargetKind::Directory,
        attributes: options.attributes,
        propagation: options.propagation,
        copy_up: options.copy_up,
    };
    if options.remount {
        if !options.data.is_empty() {
            step.from = MountFrom::Reconfigured(options.data);
        }
        return Ok(step);
    }
    if let Some(recursive) = bind {
        // Settings for a file system (mode=755) say nothing to a bind mount, and other runtimes let
        // them pass; a bare word is a mistyped flag.
        if let Some(option) = options.data.iter().find(|option| matches!(option, FsOption::Flag(_))) {
            return Err(PlanError::BindOption { index, option: option.to_string() });
        }
        let itself = options.src_nofollow && link(b, index, mount)?.is_some();
        let follow = if options.src_nofollow { Follow::Not { is_link: itself } } else { Follow::Link };
        if options.dest_nofollow {
            step.kind = TargetKind::Itself;
        }
        let source = mount.source().as_deref().unwrap_or(Path::new(""));
        return bind_mount(b, index, source, (recursive, follow, idmap), step);
    }
    // A new mount carries its attributes from the start.
    let mut attributes = options.attributes.set | options.attributes.set_recursive;
    step.attributes = Attributes::default();
    if fstype == "tmpfs" && attributes & MOUNT_ATTR_RDONLY != 0 {
        // Mount points below it, and /dev's nodes, are made first.
        b.readonly_later.push(step.target.clone());
        attributes &= !MOUNT_ATTR_RDONLY;
    }
    step.from = match (fstype, idmap) {
        ("", _) => return Err(PlanError::MountType { index }),
        (fstype, Some(map)) => {
            mapped(b, index, &step.target, new(fstype, mount, options.data, attributes), map)?
        }
        ("cgroup" | "cgroup2", None) => cgroup(b, attributes, &mut step)?,
        ("sysfs", None) if attributes & MOUNT_ATTR_RDONLY != 0 && !may_mount_sysfs(b) => {
            hosts_sysfs(b, attributes, &mut step)
        }
        (fstype, None) => new(fstype, mount, options.data, attributes),
    };
    Ok(step)
}

/// A new file system whose mount is id-mapped: the parent makes it, in the host's namespaces. One that shows
/// namespaces would show those.
fn mapped(
    b: &mut Builder<'_>,
    index: usize,
    target: &CStr,
    new: MountFrom,
    map: IdMap,
) -> Result<MountFrom, PlanError> {
    let refuse = |reason: String| Err(SpecError::invalid(format!("mounts[{index}]"), reason).into());
    let MountFrom::New { fstype, source, options, attributes, .. } = new else {
        return refuse("with an option of more than 255 bytes it cannot be id-mapped".into());
    };
    if matches!(fstype.to_bytes(), b"proc" | b"sysfs" | b"cgroup" | b"cgroup2" | b"mqueue") {
        let fstype = fstype.to_string_lossy();
        return refuse(format!("a file system of type {fstype} cannot be id-mapped: leave its mappings out"));
    }
    let takes_mode = takes_mode(&fstype, &options);
    let target = target.to_owned();
    let source = b.source(Source::MappedNew { target, fstype, source, options, attributes, map });
    Ok(MountFrom::Mapped { source, takes_mode })
}

fn new(fstype: &str, mount: &Mount, options: Vec<FsOption>, attributes: u64) -> MountFrom {
    let source = mount.source().as_deref().filter(|s| !s.as_os_str().is_empty()).map(c_path);
    if let Some(data) = long_options::needed(&options, source.as_deref()) {
        let options = long_options::in_parts(fstype, options);
        let (fstype, source) = (CString::new(fstype).unwrap_or_default(), source.unwrap_or_default());
        return MountFrom::Long { fstype, source, options, attributes, data };
    }
    let fstype = CString::new(fstype).unwrap_or_default();
    MountFrom::New { fstype, source, options, attributes, root_context: None }
}

/// What a bind source's symbolic link stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Follow {
    /// For where it leads.
    Link,
    /// For itself.
    Not { is_link: bool },
}

fn bind_mount(
    b: &mut Builder<'_>,
    index: usize,
    source: &Path,
    (recursive, follow, idmap): (bool, Follow, Option<IdMap>),
    step: MountStep,
) -> Result<MountStep, PlanError> {
    let path = b.bundle.join(source);
    let directory = match follow {
        Follow::Not { is_link: true } => false,
        _ => (b.facts.is_directory)(&path).map_err(|error| PlanError::BindSource {
            index,
            source_path: path.clone(),
            target: step.target.to_string_lossy().into_owned(),
            error,
        })?,
    };
    let kind = match (step.kind, directory) {
        (TargetKind::Itself, _) => TargetKind::Itself,
        (_, true) => TargetKind::Directory,
        (_, false) => TargetKind::File,
    };
    let from = MountFrom::Tree(match (idmap, follow) {
        (Some(map), follow) => {
            b.source(Source::MappedTree { path, recursive, follow: follow == Follow::Link, map })
        }
        (None, Follow::Link) => b.tree(path, recursive),
        (None, Follow::Not { .. }) => b.unfollowed(path, recursive),
    });
    // The copy would be the host's peer otherwise, and mounts in the container mounts of the host.
    let propagation = step.propagation.or(Some(Propagation::PRIVATE | Propagation::REC));
    Ok(MountStep { from, kind, propagation, ..step })
}

/// The cgroup file system of a container: cgroup v2, whatever the configuration calls it. A user
/// namespace may mount it only with a cgroup namespace of its own; else it gets its own subtree.
fn cgroup(b: &mut Builder<'_>, attributes: u64, step: &mut MountStep) -> Result<MountFrom, PlanError> {
    let joined = b.joins(Kind::User) && b.facts.may_administer();
    if (b.creates(Kind::User) || joined) && !b.creates(Kind::Cgroup) {
        if !b.facts.may_administer() {
            let reason = "missing: a cgroup mount needs one where rcrun is not privileged";
            return Err(PlanError::Namespace { kind: Kind::Cgroup, reason: reason.into() });
        }
        step.attributes.set = attributes;
        step.propagation = step.propagation.or(Some(Propagation::PRIVATE));
        return Ok(MountFrom::Tree(b.source(Source::CgroupTree)));
    }
    let (fstype, source) = (c"cgroup2".into(), Some(c"cgroup".into()));
    Ok(MountFrom::New { fstype, source, options: vec![], attributes, root_context: None })
}

/// A sysfs shows a network namespace, and takes privileges in the user namespace that this belongs to.
fn may_mount_sysfs(b: &Builder<'_>) -> bool {
    if b.creates(Kind::User) {
        return b.creates(Kind::Network);
    }
    // One that is joined says only when it is mounted.
    b.creates(Kind::Network) || b.joins(Kind::Network) || b.joins(Kind::User) || (b.facts.owns_network)()
}

/// The host's sysfs instead, as with crun: read-only like the one that was asked for, and so is all that
/// is mounted below it, a cgroup tree that the user may write included.
fn hosts_sysfs(b: &mut Builder<'_>, attributes: u64, step: &mut MountStep) -> MountFrom {
    step.attributes =
        Attributes { set: attributes, set_recursive: MOUNT_ATTR_RDONLY, ..Attributes::default() };
    step.propagation = step.propagation.or(Some(Propagation::PRIVATE | Propagation::REC));
    MountFrom::Tree(b.tree("/sys".into(), true))
}

/// A path in the container: absolute, whatever the configuration wrote.
pub(super) fn container_path(path: &Path) -> CString {
    match path.is_absolute() {
        true => c_path(path),
        false => c_path(&Path::new("/").join(path)),
    }
}

/// Is /dev the host's own directory, so that no node is made in it?
pub(super) fn dev_is_bound(mounts: &[Mount]) -> bool {
    mounts.iter().any(|mount| {
        let bind = mount.typ().as_deref() == Some("bind")
            || mount.options().iter().flatten().any(|o| o == "bind" || o == "rbind");
        bind && mount
            .destination()
            .as_os_str()
            .as_bytes()
            .strip_suffix(b"/")
            .unwrap_or(mount.destination().as_os_str().as_bytes())
            == b"/dev"
    })
}
