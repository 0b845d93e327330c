//! Facts about the host and about rcrun's own process, each read once and only where needed.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use crate::plan::SecurityModules;
use crate::text::mounts_in;

/// rcrun's own permitted capabilities as a bit mask, capget(2).
pub fn permitted_capabilities() -> u64 {
    rustix::thread::capabilities(None).map_or(0, |sets| sets.permitted.bits())
}

/// Is rcrun in a user namespace below the initial one? That one's inode number is fixed
/// (PROC_USER_INIT_INO of linux/proc_ns.h).
pub fn in_user_namespace() -> bool {
    const INITIAL: u64 = 0xEFFF_FFFD;
    rustix::fs::stat("/proc/self/ns/user").is_ok_and(|stat| stat.st_ino != INITIAL)
}

/// Does the network namespace that rcrun is in belong to its user namespace, or to one below it?
pub fn owns_network() -> bool {
    let file = std::fs::File::open("/proc/self/ns/net");
    file.is_ok_and(|file| crate::sys::process::owner_of_namespace(file.as_fd()).is_ok())
}

/// The first file of that name in the directories of $PATH that can be executed.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let directories = std::env::var_os("PATH")?;
    std::env::split_paths(&directories)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|path| {
            std::fs::metadata(path).is_ok_and(|found| found.is_file())
                && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
        })
}

/// The path of this program's file: it may run from a mount of its own, where it has none (`src/sealed.rs`). None where neither the name
/// that it was called by nor `$PATH` leads to it.
pub fn own_program() -> Option<PathBuf> {
    let identity =
        |path: &std::path::Path| rustix::fs::stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino));
    let own = identity("/proc/self/exe".as_ref())?;
    let called = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let by_path = called.components().count() > 1;
    let called = match by_path {
        true => std::path::absolute(&called).ok(),
        false => called.to_str().and_then(find_program),
    };
    let link = std::fs::read_link("/proc/self/exe").ok();
    [link, called].into_iter().flatten().find(|path| identity(path) == Some(own))
}

/// What tells rcrun's own file from every other and from what it was before: device, inode, size, and the
/// time of its last change, which nobody can set. None for a copy in memory (`src/sealed.rs`), which is
/// another file each time.
pub fn program_identity() -> Option<[u64; 6]> {
    let wanted = StatxFlags::BASIC_STATS;
    let stat = rustix::fs::statx(CWD, "/proc/self/exe", AtFlags::empty(), wanted).ok()?;
    let (seconds, nanoseconds) = (stat.stx_ctime.tv_sec as u64, stat.stx_ctime.tv_nsec);
    let (major, minor) = (stat.stx_dev_major, stat.stx_dev_minor);
    (stat.stx_nlink > 0)
        .then(|| [major.into(), minor.into(), stat.stx_ino, stat.stx_size, seconds, nanoseconds.into()])
}

/// A file of procfs, whose size nobody knows before, in as few calls as it takes.
pub fn read_proc(path: &str) -> Result<Vec<u8>, Errno> {
    read_all(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The whole of an open file of the kernel's, from its start.
pub fn read_all(file: impl AsFd) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; 4096];
    let mut filled = 0;
    loop {
        if filled == bytes.len() {
            bytes.resize(2 * filled, 0);
        }
        match rustix::io::pread(&file, &mut bytes[filled..], filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Does `path` lead to a directory?
pub fn is_directory(path: &Path) -> Result<bool, Errno> {
    let mode = rustix::fs::stat(path)?.st_mode;
    Ok(rustix::fs::FileType::from_raw_mode(mode) == rustix::fs::FileType::Directory)
}

/// The number of descriptors passed by socket activation: LISTEN_FDS, sd_listen_fds(3).
pub fn listen_fds() -> u32 {
    std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Rows and columns of the terminal on standard input, if that is one.
pub fn window_size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdin()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Where the symbolic link at `path` leads; None for anything else.
pub fn link_target(path: &Path) -> Result<Option<PathBuf>, Errno> {
    match rustix::fs::readlink(path, Vec::new()) {
        Ok(target) => Ok(Some(std::ffi::OsString::from_vec(target.into_bytes()).into())),
        Err(Errno::INVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The mount points of procfs and sysfs file systems that are mounted whole, proc_pid_mountinfo(5), the
/// later ones first.
pub fn pseudo_mounts() -> Vec<PathBuf> {
    let mountinfo = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let whole = mounts_in(&mountinfo)
        .filter(|mount| mount.root == b"/" && matches!(mount.fstype, b"proc" | b"sysfs"));
    let mut found: Vec<PathBuf> =
        whole.map(|mount| std::ffi::OsString::from_vec(mount.point).into()).collect();
    found.reverse();
    found
}

/// The security modules that are on. SELinux's file system is known to a kernel that has booted with it.
pub fn security_modules() -> SecurityModules {
    let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled");
    let file_systems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    SecurityModules {
        apparmor: enabled.is_ok_and(|text| text.starts_with(b"Y")),
        selinux: file_systems.lines().any(|line| line.ends_with("\tselinuxfs")),
    }
}
