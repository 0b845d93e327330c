//! The standard streams of a container's first process: pipes and files of the outside.
//!
//! `descriptors.json` among the images holds three names, one for each stream, as runc writes it. A
//! name that [`inherited`] knows is one that CRIU left out; the stream of the restoring rcrun takes its
//! place.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::CriuError;
use super::mounts::MountTable;
use super::rpc::InheritFd;

/// The file's name in the image directory.
pub const FILE: &str = "descriptors.json";

/// What a process has open as 0, 1 and 2. Files on mounts that are not in `mounts` (its own mount
/// namespace's) get CRIU's name for them.
pub fn of_process(pid: i32, mounts: &MountTable) -> [String; 3] {
    [0, 1, 2].map(|fd| name_of(pid, fd, mounts).unwrap_or_default())
}

fn name_of(pid: i32, fd: u32, mounts: &MountTable) -> Option<String> {
    let path = format!("/proc/{pid}/fd/{fd}");
    let link = std::fs::read_link(&path).ok()?.to_string_lossy().into_owned();
    if !link.starts_with('/') {
        return Some(link);
    }
    let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
    let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()?;
    if mounts.by_id(mount).is_some() {
        return Some(link);
    }
    let data = std::fs::metadata(&path).ok()?;
    Some(match is_terminal(&data) {
        true => format!("tty[{:x}:{:x}]", data.rdev(), data.dev()),
        false => format!("file[{mount:x}:{:x}]", data.ino()),
    })
}

fn is_terminal(data: &Metadata) -> bool {
    let major = rustix::fs::major(data.rdev());
    data.file_type().is_char_device() && (major == 5 || (136..144).contains(&major))
}

/// Those of `names` that CRIU must be told to leave out; terminals only with `--shell-job`. Pipes it finds
/// by itself.
pub fn external(names: &[String], shell_job: bool) -> Vec<String> {
    let outside = |name: &&String| name.starts_with("file[") || (shell_job && name.starts_with("tty["));
    let mut external: Vec<String> = names.iter().filter(outside).cloned().collect();
    external.sort();
    external.dedup();
    external
}

/// Is one of the streams a terminal of the outside?
pub fn on_terminal(names: &[String]) -> bool {
    names.iter().any(|name| name.starts_with("tty["))
}

/// What takes the place of the streams that were left out.
pub fn inherited(names: &[String]) -> Vec<InheritFd> {
    let outside = |name: &String| ["pipe:[", "file[", "tty["].iter().any(|kind| name.starts_with(kind));
    let named = names.iter().take(3).enumerate().filter(|(_, name)| outside(name));
    named.map(|(fd, name)| InheritFd { key: name.clone(), fd: fd as i32 }).collect()
}

/// Writes the names into the image directory.
pub fn write(images: &Path, names: &[String]) -> Result<(), CriuError> {
    let path = images.join(FILE);
    let json = serde_json::to_vec(names).unwrap_or_default();
    std::fs::write(&path, json).map_err(|error| CriuError::Directory { what: "write", path, error })
}

/// Reads them.
pub fn read(images: &Path) -> Result<Vec<String>, CriuError> {
    let path = images.join(FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let reason = "no such file: is --image-path the directory of a whole checkpoint?".into();
            return Err(CriuError::Descriptors { path, reason });
        }
        Err(error) => return Err(CriuError::Read { path, error }),
    };
    serde_json::from_slice(&bytes).map_err(|error| CriuError::Descriptors { path, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_the_outside_are_replaced_and_others_are_not() {
        let numbers = |names: &[String]| inherited(names).iter().map(|i| i.fd).collect::<Vec<_>>();
        let names = ["pipe:[7]", "/dev/pts/0", "file[1a:2b]"].map(str::to_owned);
        assert_eq!(numbers(&names), [0, 2]);
        assert_eq!(inherited(&names)[1].key, "file[1a:2b]");
        assert_eq!(external(&names, true), ["file[1a:2b]"]);
        let names = ["tty[8800:1c]", "tty[8800:1c]", "file[1a:2b]"].map(str::to_owned);
        assert_eq!(numbers(&names), [0, 1, 2]);
        assert_eq!(external(&names, true), ["file[1a:2b]", "tty[8800:1c]"]);
        assert_eq!(external(&names, false), ["file[1a:2b]"], "the dump is refused then");
    }

    #[test]
    fn names_are_read_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let error = read(dir.path()).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("--image-path"), "{error}");
        let names = ["a", "b", ""].map(str::to_owned);
        write(dir.path(), &names).unwrap();
        assert_eq!(read(dir.path()).unwrap(), names);
    }

    #[test]
    fn a_file_on_a_mount_of_ours_is_no_outside_one() {
        let pid = std::process::id() as i32;
        let file = tempfile::tempfile().unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&file) as u32;
        let own = MountTable::of_process(pid).unwrap();
        assert!(name_of(pid, fd, &own).unwrap().starts_with('/'));
        assert!(name_of(pid, fd, &MountTable::default()).unwrap().starts_with("file["));
    }
}
