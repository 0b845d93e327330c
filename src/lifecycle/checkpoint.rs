//! `checkpoint`: a running container into files.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use super::Error;
use super::container::Container;
use super::delete::{kill_init, remove};
use crate::cgroups::Hierarchy;
use crate::checkpoint::rpc::{self, Features, Options, Request};
use crate::checkpoint::{
    Criu, CriuError, CriuOptions, Directories, Notification, PRIVATE, SEARCHABLE, descriptors, label, mounts,
    namespaces,
};
use crate::id::ContainerId;
use crate::namespaces::Kind;
use crate::plan;
use crate::spec::{Spec, has_namespace};
use crate::state::{Status, Store};

/// Writes a running container into `options.image_path`. Unless it is to run on it is deleted then.
/// `status` gets a zero byte, and its end, once memory can be fetched.
pub fn checkpoint(
    store: &Store,
    id: &ContainerId,
    options: &CriuOptions,
    mut status: Option<File>,
) -> Result<(), Error> {
    let mut container = Container::open(store, id)?;
    let _lock = container.directory.lock()?;
    container.reload()?;
    container.expect(
        &[Status::Running, Status::Paused],
        "only a container whose program runs can be checkpointed",
    )?;
    if container.record.as_ref().is_some_and(|record| record.root_mount.is_some()) {
        return Err(CriuError::HostMounts.into());
    }
    let spec = container.spec()?;
    check_features(options)?;
    let criu = Criu::start()?;
    let mode = match has_namespace(spec.linux().as_ref(), Kind::User) {
        true => SEARCHABLE,
        false => PRIVATE,
    };
    let directories = Directories::open(options, "dump.log", Some(mode))?;
    let request = request(&container, &spec, options, &directories)?;
    let mut ready = || {
        if let Some(Err(error)) = status.take().map(|mut status| status.write_all(&[0])) {
            store.warn(&format!("--status-fd: nobody hears that memory can be fetched: {error}"));
        }
    };
    dump(criu, &request, options, &directories, &mut ready)?;
    if options.pre_dump || options.leave_running {
        return Ok(());
    }
    // CRIU has killed all of it, which takes a while; who waits for the first process has its status.
    if let Some(init) = container.init().and_then(|init| init.open()) {
        kill_init(id, init.as_fd())?;
    }
    remove(store, &container.directory, container.record.as_ref(), &plan::hooks(&spec), None)
}

fn request(
    container: &Container,
    spec: &Spec,
    options: &CriuOptions,
    directories: &Directories,
) -> Result<Request, Error> {
    let missing = || Error::Status {
        id: container.id().clone(),
        status: Status::Creating,
        cure: "only a container whose program runs can be checkpointed",
    };
    let record = container.record.as_ref().ok_or_else(missing)?;
    let pid = record.init.ok_or_else(missing)?.pid;
    let parent = options.parent_path.as_ref().map(|path| path.display().to_string());
    let mut criu = Options {
        pid: Some(pid),
        root: Some(record.rootfs.display().to_string()),
        leave_running: Some(options.leave_running),
        tcp_skip_in_flight: Some(options.tcp_skip_in_flight),
        link_remap: Some(options.link_remap),
        track_mem: (options.pre_dump || parent.is_some()).then_some(true),
        parent_img: parent,
        freeze_cgroup: freezer(container)?,
        // A CRIU without SELinux refuses this at once, and would leave the context out otherwise.
        lsm_profile: label::of(spec).map(label::to_criu),
        ..options.to_criu(directories, spec)
    };
    namespaces::dump(spec, pid, &mut criu)?;
    if !options.pre_dump {
        let table = mounts::MountTable::of_process(pid)?;
        let streams = descriptors::of_process(pid, &table);
        criu.external.extend(mounts::dump(spec, &record.bundle, pid, &table)?);
        criu.external.extend(descriptors::external(&streams, options.shell_job));
        descriptors::write(&options.image_path, &streams)?;
    }
    let kind = if options.pre_dump { rpc::Kind::PreDump } else { rpc::Kind::Dump };
    Ok(Request { kind: kind.into(), options: Some(criu), ..Request::default() })
}

/// The directory of the container's cgroup, whose freezer holds all processes still at once.
fn freezer(container: &Container) -> Result<Option<String>, Error> {
    let Some(cgroup) = container.cgroup()? else { return Ok(None) };
    let path = Hierarchy::find()?.mount_point().join(cgroup.path().as_str().trim_start_matches('/'));
    Ok(Some(path.display().to_string()))
}

fn dump(
    mut criu: Criu,
    request: &Request,
    options: &CriuOptions,
    directories: &Directories,
    ready: &mut dyn FnMut(),
) -> Result<(), Error> {
    let operation = if options.pre_dump { "pre-dump" } else { "dump" };
    let mut notified = |notification: Notification| -> Result<(), Error> {
        if notification.name == "status-ready" {
            ready();
        }
        Ok(())
    };
    criu.request(operation, request, &directories.log, None, &mut notified)?;
    criu.finish();
    Ok(())
}

/// What this kernel or CRIU lacks is found before anything is written.
fn check_features(options: &CriuOptions) -> Result<(), CriuError> {
    if !options.pre_dump && !options.lazy_pages {
        return Ok(());
    }
    let there = Criu::features(Features { mem_track: Some(true), lazy_pages: Some(true) })?;
    if options.pre_dump && there.mem_track != Some(true) {
        return Err(CriuError::Feature { feature: "memory tracking", option: "--pre-dump" });
    }
    if options.lazy_pages && there.lazy_pages != Some(true) {
        return Err(CriuError::Feature { feature: "userfaultfd(2)", option: "--lazy-pages" });
    }
    Ok(())
}
