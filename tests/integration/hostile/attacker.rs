//! The attacker's program inside of containers: this test binary, bound read-only into the root file
//! system and told by an environment variable which attack to run.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, renameat_with};
use serde_json::json;

use crate::support::Bundle;

const ATTACK: &str = "RCRUN_ATTACK";
/// Where the attacker tells what it has done: a directory of the test's.
const REPORT: &str = "/report";

impl Bundle {
    /// With the attacker's program as its process, and `/report` shared with the host.
    pub(super) fn attacker(self, attack: &str) -> Self {
        self.attacker_from(&std::env::current_exe().expect("the test binary"), attack)
    }

    /// The same with a copy of the program that the container's user can reach.
    pub(super) fn attacker_from(self, program: &Path, attack: &str) -> Self {
        let report = self.file("report");
        fs::create_dir_all(&report).expect("mkdir");
        let test = "hostile::attacker::inside_a_container";
        self.bind(program, "/bin/attacker", &["bind", "ro"])
            .bind(report, REPORT, &["bind"])
            .args(["/bin/attacker", "--exact", "--ignored", "--nocapture", test])
            .edit(|config| {
                let env = config["process"]["env"].as_array_mut().expect("env");
                env.push(json!(format!("{ATTACK}={attack}")));
            })
    }

    /// A number from the attacker's report, 0 as long as there is none.
    pub(super) fn reported(&self, name: &str) -> u64 {
        let text = fs::read_to_string(self.file("report").join(name)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }
}

/// Not a test: what the bundles above execute.
#[test]
#[ignore = "is the attackers' program, started inside of containers"]
fn inside_a_container() {
    let Ok(attack) = std::env::var(ATTACK) else { return };
    match attack.split_once('=') {
        Some(("overwrite", inode)) => overwrite(inode.parse().expect("an inode number")),
        Some(("swap", paths)) => {
            let (one, two) = paths.split_once(',').expect("two paths");
            swap(one, two);
        }
        Some(("cover", paths)) => {
            let (with, path) = paths.split_once(',').expect("two paths");
            cover(with, path);
        }
        _ => panic!("no such attack: {attack}"),
    }
}

fn report(name: &str, number: u64) {
    let (new, path) = (format!("{REPORT}/.{name}"), format!("{REPORT}/{name}"));
    fs::write(&new, number.to_string()).and_then(|()| fs::rename(&new, &path)).expect("report");
}

/// CVE-2019-5736: keeps an O_PATH descriptor of every program that a process in this PID namespace
/// runs and that is not the container's own, and tries again and again to open it for writing:
/// ETXTBSY as long as anybody runs it, and then not any more. `inode` is the runtime's.
fn overwrite(inode: u64) {
    let own: HashSet<u64> =
        ["/bin/busybox", "/bin/attacker"].iter().map(|p| fs::metadata(p).expect("stat").ino()).collect();
    let (mut held, mut caught, mut written) = (Vec::<File>::new(), 0, 0);
    let mut known = HashSet::new();
    for round in 1.. {
        for _ in 0..200 {
            for entry in fs::read_dir("/proc").expect("/proc").flatten() {
                let name = entry.file_name();
                if !name.as_encoded_bytes()[0].is_ascii_digit() {
                    continue;
                }
                let path = Path::new("/proc").join(name).join("exe");
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let Ok(fd) = rustix::fs::openat(CWD, &path, flags, Mode::empty()) else { continue };
                let file = File::from(fd);
                let Ok(metadata) = file.metadata() else { continue };
                if own.contains(&metadata.ino()) || !metadata.is_file() {
                    continue;
                }
                caught += u64::from(metadata.ino() == inode);
                // A mount and a file once each: the runtime's own path and copies of it.
                if known.insert((metadata.dev(), metadata.ino(), mount_id(&file))) && held.len() < 500 {
                    held.push(file);
                }
            }
        }
        for file in &held {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            if let Ok(mut binary) = OpenOptions::new().append(true).open(&path) {
                written += u64::from(binary.write_all(b"overwritten").is_ok());
            }
            // And the ways around the mount: its attributes, another link, the mode.
            let _ = fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o777));
            let _ = rustix::mount::mount_remount(path.as_str(), rustix::mount::MountFlags::BIND, c"");
            let link = rustix::fs::linkat(file, c"", CWD, c"/tmp/link", rustix::fs::AtFlags::EMPTY_PATH);
            if link.is_ok()
                && let Ok(mut binary) = OpenOptions::new().append(true).open("/tmp/link")
            {
                written += u64::from(binary.write_all(b"overwritten").is_ok());
            }
        }
        report("caught", caught);
        report("held", held.len() as u64);
        report("written", written);
        report("rounds", round);
    }
}

fn mount_id(file: &File) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).unwrap_or_default();
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")).unwrap_or_default();
    id.trim().parse().unwrap_or(0)
}

/// Exchanges two names as fast as it can.
fn swap(one: &str, two: &str) {
    for count in 1_u64.. {
        renameat_with(CWD, one, CWD, two, RenameFlags::EXCHANGE).expect("renameat2");
        if count % 1000 == 0 {
            report("swaps", count);
        }
    }
}

/// Binds a directory over another one and takes it away again, as fast as it can.
fn cover(with: &str, path: &str) {
    for count in 1_u64.. {
        rustix::mount::mount_bind(with, path).expect("mount");
        rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH).expect("umount2");
        if count % 100 == 0 {
            report("swaps", count);
        }
    }
}
