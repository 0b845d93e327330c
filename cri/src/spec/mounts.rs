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

#[cfg(test)]
mod tests {
    use super::super::Mounted;
    use super::super::tests::Wish;
    use super::*;
    use crate::api::{IdMapping, ImageSpec};

    fn mount(host: &str, target: &str) -> Mount {
        Mount { host_path: host.into(), container_path: target.into(), ..Default::default() }
    }

    fn wish(mounts: Vec<Mount>) -> Wish {
        Wish::with(|wish| {
            wish.container.mounts = mounts;
            wish.host_files.links = vec![("/link", "/real")];
            wish.host_files.missing = vec!["/gone", "/gone/below"];
            wish.host_files.mounted.point = "/mnt".into();
        })
    }

    fn targets(wish: &Wish) -> Vec<String> {
        let config = wish.json();
        let mounts = config["mounts"].as_array().unwrap();
        mounts.iter().map(|mount| mount["destination"].as_str().unwrap().to_owned()).collect()
    }

    /// The last mount at a target.
    fn at(wish: &Wish, target: &str) -> Value {
        let config = wish.json();
        let mounts = config["mounts"].as_array().unwrap();
        mounts.iter().rfind(|mount| mount["destination"] == target).cloned().unwrap()
    }

    const DEFAULT: [&str; 7] =
        ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"];

    #[test]
    fn parents_come_before_what_is_below_them() {
        assert_eq!(targets(&Wish::new()), DEFAULT);
        let wish = wish(vec![mount("/a", "/data/deep/er"), mount("/b", "/data"), mount("/c", "/data/deep/")]);
        assert_eq!(targets(&wish)[7..], ["/data", "/data/deep", "/data/deep/er"]);
        let made = wish.json();
        let source = |index: usize| made["mounts"][index]["source"].clone();
        assert_eq!((source(7), source(9)), ("/b".into(), "/a".into()));
    }

    #[test]
    fn files_of_the_pod_are_there_unless_they_are_mounted_over() {
        let mut wish = wish(vec![mount("/own", "/etc//hosts"), mount("/v", "/vol")]);
        wish.files.hostname = Some("/p/hostname".into());
        wish.files.hosts = Some("/p/hosts".into());
        wish.files.shm = Some("/p/shm".into());
        wish.files.volumes = [("/vol".to_owned(), "/p/0".into()), ("/vol2".into(), "/p/1".into())].into();
        assert_eq!(at(&wish, "/etc/hostname")["source"], "/p/hostname");
        assert_eq!(at(&wish, "/etc/hostname")["options"], json!(["rbind", "rprivate"]));
        assert_eq!(at(&wish, "/etc/hosts")["source"], "/own");
        assert_eq!(
            (at(&wish, "/vol")["source"].clone(), at(&wish, "/vol2")["source"].clone()),
            ("/v".into(), "/p/1".into())
        );
        assert_eq!(at(&wish, "/dev/shm")["source"], "/p/shm");
        assert_eq!(targets(&wish).iter().filter(|target| *target == "/dev/shm").count(), 1);
        wish.security().readonly_rootfs = true;
        assert_eq!(at(&wish, "/etc/hostname")["options"], json!(["rbind", "rprivate", "ro"]));
        assert_eq!(at(&wish, "/dev/shm")["options"], json!(["rbind", "rprivate"]));
    }

    #[test]
    fn a_wish_takes_the_place_of_a_default() {
        assert_eq!(targets(&wish(vec![mount("/dev", "/dev")])), ["/proc", "/sys", "/sys/fs/cgroup", "/dev"]);
        let sys = wish(vec![mount("/sys", "/sys/")]);
        assert_eq!(targets(&sys), ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"]);
        let shm = wish(vec![mount("/tmp", "/dev/shm")]);
        assert_eq!(at(&shm, "/dev/shm")["source"], "/tmp");
    }

    #[test]
    fn a_privileged_container_may_write_to_the_kernels_file_systems() {
        assert_eq!(at(&Wish::new(), "/sys")["options"], json!(["nosuid", "noexec", "nodev", "ro"]));
        let cgroup = at(&Wish::new(), "/sys/fs/cgroup");
        assert_eq!((&cgroup["type"], &cgroup["options"][4]), (&json!("cgroup"), &json!("ro")));
        let mut wish = Wish::with(Wish::privileged);
        assert_eq!(at(&wish, "/sys")["options"], json!(["nosuid", "noexec", "nodev"]));
        wish.host.cgroup2 = "/sys/fs/cgroup/unified".into();
        let cgroup = at(&wish, "/sys/fs/cgroup");
        assert_eq!((&cgroup["type"], &cgroup["source"]), (&json!("bind"), &json!("/sys/fs/cgroup/unified")));
    }

    #[test]
    fn options_are_as_asked_for() {
        let readonly = Mount { readonly: true, ..mount("/link", "/x") };
        let whole = Mount { recursive_read_only: true, ..readonly.clone() };
        let options = Mount { mount_options: vec!["noexec".into(), "nosuid".into()], ..mount("/a", "/x") };
        for (mount, source, expected) in [
            (mount("/link", "/x"), "/real", vec!["rbind", "rprivate"]),
            (readonly, "/real", vec!["rbind", "rprivate", "ro"]),
            (whole, "/real", vec!["rbind", "rprivate", "rro"]),
            (options, "/a", vec!["rbind", "rprivate", "noexec", "nosuid"]),
        ] {
            let expected =
                json!({"destination": "/x", "type": "bind", "source": source, "options": expected});
            assert_eq!(at(&wish(vec![mount]), "/x"), expected);
        }
    }

    #[test]
    fn a_source_that_is_not_there_is_to_be_made() {
        let made = wish(vec![mount("/gone", "/x"), mount("/link", "/y")]).made().unwrap();
        assert_eq!(made.make_directories, [Path::new("/gone")]);
    }

    fn propagated(wish: MountPropagation) -> Mount {
        Mount { propagation: wish.into(), ..mount("/gone/below", "/x") }
    }

    #[test]
    fn propagation_needs_a_mount_that_takes_part() {
        use MountPropagation::{PropagationBidirectional as Both, PropagationHostToContainer as To};
        let shared = Mounted { point: "/mnt".into(), shared: true, slave: false };
        let slave = Mounted { point: "/mnt".into(), shared: false, slave: true };
        for (kind, mounted, expected) in
            [(To, &shared, "rslave"), (To, &slave, "rslave"), (Both, &shared, "rshared")]
        {
            let mut wish = wish(vec![propagated(kind)]);
            wish.host_files.mounted = mounted.clone();
            assert_eq!(at(&wish, "/x")["options"], json!(["rbind", expected]));
            assert_eq!(wish.json()["linux"]["rootfsPropagation"], expected);
        }
        assert_eq!(
            wish(vec![propagated(To)]).error(),
            "mounts[0].propagation: \"/gone/below\" is on \"/mnt\", which is not a shared or slave mount: mount \
             --make-rshared /mnt"
        );
        let mut both = wish(vec![propagated(Both)]);
        both.host_files.mounted = slave;
        assert_eq!(
            both.error(),
            "mounts[0].propagation: \"/gone/below\" is on \"/mnt\", which is not a shared mount: mount --make-shared /mnt"
        );
        let strange = Mount { propagation: 7, ..mount("/a", "/x") };
        assert_eq!(
            wish(vec![strange]).error(),
            "mounts[0].propagation: 7 is no propagation: PRIVATE, HOST_TO_CONTAINER or BIDIRECTIONAL"
        );
        // The stronger one decides for the root.
        let mut two = wish(vec![propagated(Both), Mount { container_path: "/y".into(), ..propagated(To) }]);
        two.host_files.mounted = shared;
        assert_eq!(two.json()["linux"]["rootfsPropagation"], "rshared");
    }

    #[test]
    fn mounts_that_are_none_are_named() {
        let all = Mount { readonly: true, recursive_read_only: true, ..mount("/a", "/x") };
        let to = MountPropagation::PropagationHostToContainer.into();
        for (mount, expected) in [
            (mount("", "/x"), "host_path: missing"),
            (mount("a", "/x"), "host_path: \"a\" is not an absolute path"),
            (mount("/a", ""), "container_path: missing"),
            (mount("/a", "x"), "container_path: \"x\" is not an absolute path"),
            (mount("/a", "/x\0"), "container_path: contains a NUL byte"),
            (mount("/a", "/x/.."), "container_path: \"/x/..\" is the root itself"),
            (
                Mount { image: Some(ImageSpec::default()), ..mount("", "/x") },
                "image: image volumes are not supported yet",
            ),
            (
                Mount { uid_mappings: vec![IdMapping::default()], ..mount("/a", "/x") },
                "uidMappings: mapped mounts need a user namespace, which is not supported yet",
            ),
            (Mount { readonly: false, ..all.clone() }, "recursive_read_only: needs readonly"),
            (Mount { propagation: to, ..all.clone() }, "recursive_read_only: needs propagation PRIVATE"),
            (
                Mount { mount_options: vec!["suid".into()], ..mount("/a", "/x") },
                "mount_options: \"suid\" is none of nosuid, nodev, noexec, noatime, nodiratime, relatime, strictatime, \
                 nosymfollow, ro",
            ),
        ] {
            let mut wish = wish(vec![mount]);
            wish.host_files.mounted.shared = true;
            assert_eq!(wish.error(), format!("mounts[0].{expected}"));
        }
    }
}
