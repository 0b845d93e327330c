//! Mounts of a container that come from outside of it: bind mounts, devices, masks.
//!
//! CRIU knows such a mount by a name: here the path that config.json mounts it at, so that `restore`
//! finds the source in the configuration of its own bundle, which may be another machine's.

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags, statx};

use super::CriuError;
use crate::plan::step::TargetKind;
use crate::rootfs::resolve;
use crate::spec::Spec;
use crate::text::{MountLine, mounts_in};

/// Where the container's NOTIFY_SOCKET is.
const NOTIFY: &str = "/run/notify";

/// Devices that every container has; a bind mount each where they cannot be made.
const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// The mounts of a mount namespace, proc_pid_mountinfo(5).
#[derive(Debug, Default)]
pub struct MountTable(Vec<MountEntry>);

/// One of them.
#[derive(Debug)]
pub struct MountEntry {
    id: u64,
    point: PathBuf,
    fstype: String,
}

impl MountTable {
    /// What a process sees.
    pub fn of_process(pid: i32) -> Result<Self, CriuError> {
        let path = PathBuf::from(format!("/proc/{pid}/mountinfo"));
        let bytes = std::fs::read(&path).map_err(|error| CriuError::Read { path, error })?;
        let entry = |line: MountLine<'_>| MountEntry {
            id: line.id,
            point: OsString::from_vec(line.point).into(),
            fstype: String::from_utf8_lossy(line.fstype).into_owned(),
        };
        Ok(Self(mounts_in(&bytes).map(entry).collect()))
    }

    /// The mount of this number.
    pub fn by_id(&self, id: u64) -> Option<&MountEntry> {
        self.0.iter().find(|entry| entry.id == id)
    }

    /// Mount points strictly below `path`, without it.
    fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Path> {
        self.0.iter().filter_map(move |entry| entry.point.strip_prefix(path).ok()).filter(|p| *p != "")
    }

    fn has_point(&self, path: &Path) -> bool {
        self.0.iter().any(|entry| entry.point == path)
    }
}

/// A bind mount of config.json.
struct Bind {
    /// In the container, absolute.
    destination: PathBuf,
    /// On the host, absolute.
    source: PathBuf,
    recursive: bool,
}

fn binds(spec: &Spec, bundle: &Path) -> Vec<Bind> {
    spec.mounts().iter().flatten().filter_map(|mount| bind(mount, bundle)).collect()
}

fn bind(mount: &Mount, bundle: &Path) -> Option<Bind> {
    let has = |option: &str| mount.options().iter().flatten().any(|o| o == option);
    if has("remount") || !(has("bind") || has("rbind") || mount.typ().as_deref() == Some("bind")) {
        return None;
    }
    let source = bundle.join(mount.source().as_deref()?);
    Some(Bind { destination: destination(mount), source, recursive: has("rbind") })
}

/// Absolute, whatever the configuration wrote.
fn destination(mount: &Mount) -> PathBuf {
    Path::new("/").join(mount.destination())
}

fn external(name: &Path, value: &Path) -> String {
    format!("mnt[{}]:{}", name.display(), value.display())
}

/// Paths of the container that rcrun may have covered with a file of the host's /dev: devices and
/// masked files, each with that file.
fn covered(spec: &Spec) -> Vec<(PathBuf, PathBuf)> {
    let linux = spec.linux().as_ref();
    let devices = linux.and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
    let masked = linux.and_then(|linux| linux.masked_paths().as_deref()).unwrap_or_default();
    let own = |path: &Path| (Path::new("/").join(path), Path::new("/").join(path));
    let mut all: Vec<_> = DEVICES.iter().map(|path| own(Path::new(path))).collect();
    all.extend(devices.iter().map(|device| own(device.path())));
    all.extend(masked.iter().map(|path| (Path::new("/").join(path), PathBuf::from("/dev/null"))));
    all
}

/// Names for CRIU to dump the mounts of a running container by: `mnt[MOUNT POINT]:NAME`.
pub fn dump(spec: &Spec, bundle: &Path, pid: i32, table: &MountTable) -> Result<Vec<String>, CriuError> {
    let host = MountTable::of_process(std::process::id() as i32)?;
    let path = PathBuf::from(format!("/proc/{pid}/root"));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, &path, flags, Mode::empty())
        .map_err(|errno| CriuError::Read { path, error: errno.into() })?;
    let mut names = Vec::new();
    for bind in binds(spec, bundle) {
        let Some(mount) = mounted_at(&root, &bind.destination, table) else { continue };
        names.push(external(&mount.point, &bind.destination));
        if bind.recursive {
            let source = bind.source.canonicalize().unwrap_or(bind.source);
            let brought = table.below(&mount.point).filter(|below| host.has_point(&source.join(below)));
            names.extend(
                brought.map(|below| external(&mount.point.join(below), &bind.destination.join(below))),
            );
        }
    }
    for (path, _) in covered(spec) {
        if let Some(mount) = mounted_at(&root, &path, table).filter(|mount| mount.fstype == "devtmpfs") {
            names.push(external(&mount.point, &path));
        }
    }
    if let Some(mount) = mounted_at(&root, Path::new(NOTIFY), table) {
        names.push(external(&mount.point, Path::new(NOTIFY)));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// The mount whose root is at `path` of the container.
fn mounted_at<'t>(root: &OwnedFd, path: &Path, table: &'t MountTable) -> Option<&'t MountEntry> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let found = resolve::open(root.as_fd(), &path).ok()?;
    let stat = statx(&found, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    let is_root = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    table.by_id(stat.stx_mnt_id).filter(|_| is_root)
}

/// What is mounted for each name at a restore: `mnt[NAME]:SOURCE`. A name that was not dumped is not
/// asked for. `notify` is the directory of the new container's notify socket.
pub fn restore(spec: &Spec, bundle: &Path, notify: &Path) -> Result<Vec<String>, CriuError> {
    let host = MountTable::of_process(std::process::id() as i32)?;
    let mut names = Vec::new();
    for bind in binds(spec, bundle) {
        // CRIU does not follow a link there.
        let source = bind.source.canonicalize().unwrap_or(bind.source);
        names.push(external(&bind.destination, &source));
        if bind.recursive {
            names.extend(
                host.below(&source).map(|below| external(&bind.destination.join(below), &source.join(below))),
            );
        }
    }
    names.extend(covered(spec).into_iter().map(|(path, source)| external(&path, &source)));
    names.push(external(Path::new(NOTIFY), notify));
    names.sort();
    names.dedup();
    Ok(names)
}

/// Makes what is missing of the directories and files that are mounted on, as `create` does: CRIU does
/// not. Below a bind mount they are made in its source; below other mounts CRIU brings them along.
pub fn make_mount_points(
    spec: &Spec,
    bundle: &Path,
    root: &OwnedFd,
    root_path: &Path,
) -> Result<(), CriuError> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    for (index, mount) in mounts.iter().enumerate() {
        let target = destination(mount);
        let bound = bind(mount, bundle);
        let kind = match bound.as_ref().is_some_and(|bind| bind.source.is_file()) {
            true => TargetKind::File,
            false => TargetKind::Directory,
        };
        let above = mounts[..index].iter().rfind(|above| {
            let above = destination(above);
            target.starts_with(&above) && target != above
        });
        let made = match above.map(|above| (destination(above), bind(above, bundle))) {
            None => make(root, &target, kind),
            Some((_, None)) => continue,
            Some((below, Some(bind))) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let Ok(source) = rustix::fs::open(&bind.source, flags, Mode::empty()) else { continue };
                make(&source, target.strip_prefix(below).unwrap_or(&target), kind)
            }
        };
        let failed = |failure| CriuError::MountPoint {
            target: target.display().to_string(),
            root: root_path.into(),
            failure,
        };
        made.map_err(failed)?;
    }
    if spec.root().as_ref().is_some_and(|root| root.readonly() == Some(true)) {
        // CRIU parks the old root there, or in a directory that it could not make. If this fails, it says so.
        let _ = make(root, Path::new("/tmp"), TargetKind::Directory);
    }
    Ok(())
}

fn make(root: &OwnedFd, path: &Path, kind: TargetKind) -> Result<(), crate::sys::Failure> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    resolve::open_or_make(root.as_fd(), &path, kind).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> Spec {
        serde_json::from_str(&format!(r#"{{"ociVersion": "1.0.0", {json}}}"#)).unwrap()
    }

    #[test]
    fn a_restore_takes_sources_from_its_own_bundle() {
        let spec = spec(
            r#""mounts": [
                {"destination": "/data", "type": "bind", "source": "data"},
                {"destination": "etc/x", "source": "/y", "options": ["rbind", "ro"]},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}],
               "linux": {"maskedPaths": ["/proc/keys"]}"#,
        );
        let names = restore(&spec, Path::new("/b"), Path::new("/s/notify")).unwrap();
        for name in [
            "mnt[/data]:/b/data",
            "mnt[/etc/x]:/y",
            "mnt[/proc/keys]:/dev/null",
            "mnt[/run/notify]:/s/notify",
        ] {
            assert!(names.iter().any(|n| n == name), "{name} in {names:?}");
        }
        assert!(!names.iter().any(|name| name.starts_with("mnt[/tmp]")));
    }

    #[test]
    fn mount_points_are_made_in_the_root_and_in_sources_but_not_below_new_file_systems() {
        let dir = tempfile::tempdir().unwrap();
        let root_path = dir.path().join("root");
        std::fs::create_dir_all(&root_path).unwrap();
        std::fs::create_dir_all(dir.path().join("src")).unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let spec = spec(
            r#""mounts": [
                {"destination": "/dev", "type": "tmpfs"},
                {"destination": "/dev/shm", "type": "tmpfs"},
                {"destination": "/data", "type": "bind", "source": "src"},
                {"destination": "/data/in/f", "type": "bind", "source": "file"}]"#,
        );
        let root = std::fs::File::open(&root_path).unwrap().into();
        make_mount_points(&spec, dir.path(), &root, &root_path).unwrap();
        assert!(root_path.join("dev").is_dir() && !root_path.join("dev/shm").exists());
        assert!(root_path.join("data").is_dir() && !root_path.join("data/in").exists());
        assert!(dir.path().join("src/in/f").is_file());
    }
}
