//! The mounts of config.json as steps.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci_spec::runtime::Mount;
use rustix::mount::MountPropagationFlags as Propagation;

use super::mount_options::{MOUNT_ATTR_RDONLY, MountOptions};
use super::step::{Attributes, FsOption, IdMap, MountFrom, MountStep, Source, Step, TargetKind};
use super::{Builder, PlanError, c_path, idmap};
use crate::namespaces::Kind;

/// Plans every mount, in the order of config.json.
pub(super) fn plan(b: &mut Builder<'_>) -> Result<(), PlanError> {
    for (index, mount) in b.spec.mounts().iter().flatten().enumerate() {
        let options = mount.options().iter().flatten().map(String::as_str);
        let step = one(b, index, mount, MountOptions::parse(options))?;
        b.steps.push(Step::Mount(Box::new(step)));
    }
    Ok(())
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
    let idmap = idmap::of(b, index, mount, options.idmap.as_ref(), bind.is_some() && !options.remount)?;
    let mut step = MountStep {
        from: MountFrom::Existing,
        target,
        kind: TargetKind::Directory,
        attributes: options.attributes,
        propagation: options.propagation,
        copy_up: options.copy_up,
    };
    if options.remount {
        return Ok(step);
    }
    if let Some(recursive) = bind {
        if let Some(option) = options.data.first() {
            return Err(PlanError::BindOption { index, option: option.to_string() });
        }
        let source = mount.source().as_deref().unwrap_or(Path::new(""));
        return bind_mount(b, index, source, (recursive, idmap), step);
    }
    // A new mount carries its attributes from the start.
    let attributes = options.attributes.set | options.attributes.set_recursive;
    step.attributes = Attributes::default();
    step.from = match fstype {
        "" => return Err(PlanError::MountType { index }),
        "cgroup" | "cgroup2" => cgroup(b, attributes, &mut step)?,
        "tmpfs" if attributes & MOUNT_ATTR_RDONLY != 0 => {
            // Mount points below it, and /dev's nodes, are made first.
            b.readonly_later.push(step.target.clone());
            new("tmpfs", mount, options.data, attributes & !MOUNT_ATTR_RDONLY)
        }
        fstype => new(fstype, mount, options.data, attributes),
    };
    Ok(step)
}

fn new(fstype: &str, mount: &Mount, options: Vec<FsOption>, attributes: u64) -> MountFrom {
    let source = mount.source().as_deref().filter(|s| !s.as_os_str().is_empty()).map(c_path);
    MountFrom::New { fstype: CString::new(fstype).unwrap_or_default(), source, options, attributes }
}

fn bind_mount(
    b: &mut Builder<'_>,
    index: usize,
    source: &Path,
    (recursive, idmap): (bool, Option<IdMap>),
    step: MountStep,
) -> Result<MountStep, PlanError> {
    let path = b.bundle.join(source);
    let directory = (b.facts.is_directory)(&path).map_err(|error| PlanError::BindSource {
        index,
        source_path: path.clone(),
        target: step.target.to_string_lossy().into_owned(),
        error,
    })?;
    let kind = if directory { TargetKind::Directory } else { TargetKind::File };
    let from = MountFrom::Tree(match idmap {
        Some(map) => b.source(Source::MappedTree { path, recursive, map }),
        None => b.tree(path, recursive),
    });
    // The copy would be the host's peer otherwise, and mounts in the container mounts of the host.
    let propagation = step.propagation.or(Some(Propagation::PRIVATE | Propagation::REC));
    Ok(MountStep { from, kind, propagation, ..step })
}

/// The cgroup file system of a container: cgroup v2, whatever the configuration calls it. A user
/// namespace may mount it only with a cgroup namespace of its own; else it gets its own subtree.
fn cgroup(b: &mut Builder<'_>, attributes: u64, step: &mut MountStep) -> Result<MountFrom, PlanError> {
    if b.creates(Kind::User) && !b.creates(Kind::Cgroup) {
        if !b.facts.may_administer() {
            let reason = "missing: a cgroup mount needs one where rcrun is not privileged";
            return Err(PlanError::Namespace { kind: Kind::Cgroup, reason: reason.into() });
        }
        step.attributes.set = attributes;
        step.propagation = step.propagation.or(Some(Propagation::PRIVATE));
        return Ok(MountFrom::Tree(b.source(Source::CgroupTree)));
    }
    let (fstype, source) = (c"cgroup2".into(), Some(c"cgroup".into()));
    Ok(MountFrom::New { fstype, source, options: vec![], attributes })
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
