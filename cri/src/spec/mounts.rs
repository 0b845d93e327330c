//! What is mounted where, mount_namespaces(7).

use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

use super::{Invalid, Request, defaults};
use crate::api::{Mount, MountPropagation};

/// The mounts of a container.
#[derive(Debug)]
pub(super) struct Mounts {
    /// In the order in which they are made: parents before what is below them.
    pub list: Vec<Value>,
    /// linux.rootfsPropagation.
    pub root_propagation: Option<&'static str>,
    /// Sources that are not there.
    pub make_directories: Vec<PathBuf>,
}

/// Options that take something away from a mount. Those that give more than the host's own mount has are not for a Pod to ask.
const OPTIONS: [&str; 9] =
    ["nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "strictatime", "nosymfollow", "ro"];

pub(super) fn mounts(request: &Request<'_>) -> Result<Mounts, Invalid> {
    let mut mounts = Mounts { list: Vec::new(), root_propagation: None, make_directories: Vec::new() };
    let mut binds: Vec<(PathBuf, Value)> = Vec::new();
    for (index, mount) in request.container.mounts.iter().enumerate() {
        binds.push(wish(request, &format!("mounts[{index}]"), mount, &mut mounts)?);
    }
    let wished: Vec<PathBuf> = binds.iter().map(|(target, _)| target.clone()).collect();
    binds.extend(pods(request).into_iter().filter(|(target, _)| !wished.contains(target)));
    // A stable sort: of two at the same place the later one is seen.
    binds.sort_by_key(|(target, _)| target.components().count());
    let covered = |default: &Value| {
        let target = Path::new(default["destination"].as_str().unwrap_or_default());
        let is_pods = target == Path::new(SHM) && request.files.shm.is_some();
        is_pods || wished.iter().any(|wished| target.starts_with(wished))
    };
    let hosts_cgroups = request.security().privileged.then_some(request.host.cgroup2.as_path());
    mounts.list = defaults::mounts(hosts_cgroups);
    mounts.list.retain(|default| !covered(default));
    mounts.list.extend(binds.into_iter().map(|(_, mount)| mount));
    Ok(mounts)
}

const SHM: &str = "/dev/shm";

/// Files of the Pod and volumes of the image. Files of a read-only root are read-only.
fn pods(request: &Request<'_>) -> Vec<(PathBuf, Value)> {
    let files = &request.files;
    let access = request.security().readonly_rootfs.then_some("ro");
    let etc = [
        ("/etc/hostname", &files.hostname),
        ("/etc/resolv.conf", &files.resolv_conf),
        ("/etc/hosts", &files.hosts),
    ];
    let etc = etc.into_iter().filter_map(|(target, source)| Some((target, source.as_ref()?, access)));
    let shm = files.shm.iter().map(|source| (SHM, source, None));
    let volumes = files.volumes.iter().map(|(target, source)| (target.as_str(), source, None));
    let bind = |(target, source, access): (&str, &PathBuf, Option<&'static str>)| {
        let target = clean(Path::new(target));
        let options: Vec<&str> = ["rbind", "rprivate"].into_iter().chain(access).collect();
        let mount = bind(source, &target, &options);
        (target, mount)
    };
    etc.chain(shm).chain(volumes).map(bind).collect()
}

fn bind(source: &Path, target: &Path, options: &[&str]) -> Value {
    json!({"destination": target, "type": "bind", "source": source, "options": options})
}

fn wish(
    request: &Request<'_>,
    field: &str,
    mount: &Mount,
    mounts: &mut Mounts,
) -> Result<(PathBuf, Value), Invalid> {
    let refuse = |name: &str, reason: String| Err(Invalid::new(format!("{field}.{name}"), reason));
    if mount.image.is_some() {
        return refuse("image", "image volumes are not supported yet".into());
    }
    if !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        return refuse(
            "uidMappings",
            "mapped mounts need a user namespace, which is not supported yet".into(),
        );
    }
    let target = clean(absolute(field, "container_path", &mount.container_path)?);
    if target == Path::new("/") {
        return refuse("container_path", format!("{:?} is the root itself", mount.container_path));
    }
    let source = source(request, field, mount, mounts)?;
    let propagation = propagation(request, field, mount, &source, mounts)?;
    let mut options = vec!["rbind", propagation];
    options.extend(access(field, mount)?);
    for option in &mount.mount_options {
        match OPTIONS.iter().find(|known| *known == option) {
            Some(known) => options.push(known),
            None => {
                let reason = format!("{option:?} is none of {}", OPTIONS.join(", "));
                return refuse("mount_options", reason);
            }
        }
    }
    let mount = bind(&source, &target, &options);
    Ok((target, mount))
}

fn absolute<'a>(field: &str, name: &str, path: &'a str) -> Result<&'a Path, Invalid> {
    let refuse = |reason: String| Err(Invalid::new(format!("{field}.{name}"), reason));
    match path {
        "" => refuse("missing".into()),
        path if path.contains('\0') => refuse("contains a NUL byte".into()),
        path if !path.starts_with('/') => refuse(format!("{path:?} is not an absolute path")),
        path => Ok(Path::new(path)),
    }
}

/// A path without `.`, `..` and double slashes, as text: what is in the container is resolved there.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

/// Where a link leads is what is mounted, whatever becomes of the link.
fn source(
    request: &Request<'_>,
    field: &str,
    mount: &Mount,
    mounts: &mut Mounts,
) -> Result<PathBuf, Invalid> {
    let path = absolute(field, "host_path", &mount.host_path)?;
    match request.host_files.real_path(path) {
        Ok(real) => Ok(real),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            mounts.make_directories.push(path.to_owned());
            Ok(path.to_owned())
        }
        Err(error) => Err(Invalid::new(format!("{field}.host_path"), format!("{path:?}: {error}"))),
    }
}

/// A mount that need not be read-only is as the host's: `rw` would make a read-only one writable.
fn access(field: &str, mount: &Mount) -> Result<Option<&'static str>, Invalid> {
    let private = mount.propagation == MountPropagation::PropagationPrivate as i32;
    match (mount.readonly, mount.recursive_read_only) {
        (true, true) if private => Ok(Some("rro")),
        (readonly, false) => Ok(readonly.then_some("ro")),
        (readonly, true) => {
            let needs = if readonly { "propagation PRIVATE" } else { "readonly" };
            Err(Invalid::new(format!("{field}.recursive_read_only"), format!("needs {needs}")))
        }
    }
}

/// The option of a mount. Events pass only where the host's mount takes part, and through a root that does.
fn propagation(
    request: &Request<'_>,
    field: &str,
    mount: &Mount,
    source: &Path,
    mounts: &mut Mounts,
) -> Result<&'static str, Invalid> {
    let refuse = |reason: String| Err(Invalid::new(format!("{field}.propagation"), reason));
    let wish = match MountPropagation::try_from(mount.propagation) {
        Ok(MountPropagation::PropagationPrivate) => return Ok("rprivate"),
        Ok(wish) => wish,
        Err(_) => {
            let reason = format!(
                "{} is no propagation: PRIVATE, HOST_TO_CONTAINER or BIDIRECTIONAL",
                mount.propagation
            );
            return refuse(reason);
        }
    };
    // A directory that is yet to be made is on the mount of the first parent that is there.
    let there = source.ancestors().find_map(|path| match request.host_files.mounted(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        answer => Some(answer),
    });
    let on = match there {
        Some(Ok(mounted)) => mounted,
        Some(Err(error)) => return refuse(format!("{source:?}: {error}")),
        None => return refuse(format!("{source:?}: not found")),
    };
    let both = wish == MountPropagation::PropagationBidirectional;
    if !on.shared && (both || !on.slave) {
        let (kind, command) =
            if both { ("shared", "make-shared") } else { ("shared or slave", "make-rshared") };
        return refuse(format!(
            "{source:?} is on {:?}, which is not a {kind} mount: mount --{command} {}",
            on.point,
            on.point.display()
        ));
    }
    if both {
        mounts.root_propagation = Some("rshared");
        return Ok("rshared");
    }
    mounts.root_propagation = mounts.root_propagation.or(Some("rslave"));
    Ok("rslave")
}
