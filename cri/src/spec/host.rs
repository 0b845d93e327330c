//! What the host is, and the files of it that wishes name.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags};

/// Facts about the host, read once a request.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// Bits of the capabilities that may be given.
    pub capabilities: u64,
    /// The lowest oom_score_adj that may be set: -1000 with CAP_SYS_RESOURCE, else this process' own.
    pub lowest_oom_score_adj: i32,
    /// This process' own oom_score_adj.
    pub own_oom_score_adj: i32,
    /// AppArmor is there.
    pub apparmor: bool,
    /// SELinux is there.
    pub selinux: bool,
    /// The host's name, for Pods that have it.
    pub hostname: String,
    /// Where cgroup2 is mounted; empty: nowhere.
    pub cgroup2: PathBuf,
}

impl HostFacts {
    /// Reads them: a handful of small files.
    pub fn read() -> Self {
        let capabilities = rcrun::host::permitted_capabilities();
        let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
        let own = own.trim().parse().unwrap_or(0);
        let may_lower = capabilities & (1 << CAP_SYS_RESOURCE) != 0;
        let modules = rcrun::host::security_modules();
        Self {
            capabilities,
            lowest_oom_score_adj: if may_lower { -1000 } else { own },
            own_oom_score_adj: own,
            apparmor: modules.apparmor,
            selinux: modules.selinux,
            cgroup2: rcrun::cgroups::Hierarchy::find()
                .map_or_else(|_| PathBuf::new(), |found| found.mount_point().into()),
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }
    }
}

/// linux/capability.h.
const CAP_SYS_RESOURCE: u32 = 24;

/// Files of the host, looked at where a wish names them.
pub trait HostFiles: Debug + Sync {
    /// A whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Where a path leads, with no link left in it.
    fn real_path(&self, path: &Path) -> io::Result<PathBuf>;
    /// The device at a path (its name is empty then), or those below a directory with their paths from there.
    fn devices(&self, path: &Path) -> io::Result<Vec<(PathBuf, Node)>>;
    /// The mount that a path is on.
    fn mounted(&self, path: &Path) -> io::Result<Mounted>;
}

/// A device, inode(7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// A block device, not a character device.
    pub block: bool,
    /// Its driver.
    pub major: u32,
    /// Which one of the driver's.
    pub minor: u32,
    /// Permissions.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// A mount, proc_pid_mountinfo(5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub point: PathBuf,
    /// It has peers: what is mounted on it is mounted there, too.
    pub shared: bool,
    /// It hears of what is mounted on another.
    pub slave: bool,
}

/// The host that this process runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisHost;

impl HostFiles for ThisHost {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn devices(&self, path: &Path) -> io::Result<Vec<(PathBuf, Node)>> {
        let mut found = Vec::new();
        // A link at the very beginning is followed, those on the way are not: /dev/fd leads into /proc.
        let stat = rustix::fs::stat(path)?;
        collect(path, &PathBuf::new(), &stat, &mut found)?;
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }

    fn mounted(&self, path: &Path) -> io::Result<Mounted> {
        let statx = rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)?;
        let mountinfo = fs::read("/proc/self/mountinfo")?;
        mount_of(&mountinfo, statx.stx_mnt_id)
            .ok_or_else(|| io::Error::other("its mount is not in /proc/self/mountinfo"))
    }
}

fn collect(
    path: &Path,
    below: &Path,
    stat: &rustix::fs::Stat,
    found: &mut Vec<(PathBuf, Node)>,
) -> io::Result<()> {
    let block = match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice => true,
        FileType::CharacterDevice => false,
        FileType::Directory => {
            for entry in fs::read_dir(path)? {
                let name = entry?.file_name();
                let path = path.join(&name);
                // What goes away meanwhile was not there.
                let Ok(stat) = rustix::fs::lstat(&path) else { continue };
                collect(&path, &below.join(&name), &stat, found)?;
            }
            return Ok(());
        }
        _ => return Ok(()),
    };
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let mode = stat.st_mode & 0o7777;
    found.push((below.to_owned(), Node { block, major, minor, mode, uid: stat.st_uid, gid: stat.st_gid }));
    Ok(())
}

/// The line of a mount, and its optional fields.
fn mount_of(mountinfo: &[u8], id: u64) -> Option<Mounted> {
    let line = mountinfo.split(|byte| *byte == b'\n').find(|line| {
        let first = line.split(|byte| *byte == b' ').next();
        first.and_then(|field| str::from_utf8(field).ok()?.parse::<u64>().ok()) == Some(id)
    })?;
    let point = rcrun::text::mounts_in(line).next()?.point;
    let point = <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(point).into();
    let optional = line.split(|byte| *byte == b' ').skip(6).take_while(|field| *field != b"-");
    let mut mounted = Mounted { point, ..Mounted::default() };
    for field in optional {
        mounted.shared |= field.starts_with(b"shared:");
        mounted.slave |= field.starts_with(b"master:");
    }
    Some(mounted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_this_host_are_read() {
        let facts = HostFacts::read();
        assert_eq!(facts.capabilities, rcrun::host::permitted_capabilities());
        assert!((-1000..=1000).contains(&facts.lowest_oom_score_adj) && !facts.hostname.is_empty());
    }

    #[test]
    fn a_device_is_found_by_itself_and_below_its_directory() {
        let found = ThisHost.devices(Path::new("/dev/null")).unwrap();
        assert_eq!(found.len(), 1);
        let (name, null) = &found[0];
        assert_eq!((name.as_os_str().is_empty(), null.block, null.major, null.minor), (true, false, 1, 3));
        let all = ThisHost.devices(Path::new("/dev")).unwrap();
        assert!(all.iter().any(|(name, node)| name == Path::new("null") && node == null));
        assert!(ThisHost.devices(Path::new("/etc/hostname")).is_ok_and(|found| found.is_empty()));
        assert!(ThisHost.devices(Path::new("/nonesuch")).is_err());
    }

    #[test]
    fn the_mount_of_a_path_is_that_of_its_number() {
        let text =
            b"41 31 0:38 / /mnt/a\\040b rw shared:9 master:4 - tmpfs t rw\n4 1 0:1 / / rw - ext4 d rw\n";
        let both = Mounted { point: "/mnt/a b".into(), shared: true, slave: true };
        assert_eq!(mount_of(text, 41), Some(both));
        assert_eq!(mount_of(text, 4), Some(Mounted { point: "/".into(), ..Mounted::default() }));
        assert_eq!(mount_of(text, 1), None);
        assert_eq!(ThisHost.mounted(Path::new("/proc/version")).unwrap().point, Path::new("/proc"));
    }
}
