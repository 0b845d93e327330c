//! nfs, with this kernel's own server. It runs in the VM: few kernels have one.

use std::fs;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::json;

use super::{Machine, pod};
use crate::objects::Kind;

/// The kernel's NFS server with one export, which is its root. What rpc.mountd would answer is told beforehand.
struct Server;

impl Server {
    fn start(export: &Path) -> Option<Self> {
        let systems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        if !systems.lines().any(|line| line.ends_with("\tnfsd")) {
            use std::io::Write as _;
            let thread = std::thread::current();
            let line = format!("SKIP {}: this kernel has no NFS server\n", thread.name().unwrap_or("?"));
            let _ = std::io::stderr().write_all(line.as_bytes());
            return None;
        }
        mount("none", "/proc/fs/nfsd", "nfsd", MountFlags::empty(), None).expect("the server's files");
        // Insecure ports, no look at parents, a number for an id; for ever, and root stays root.
        let export_line =
            format!("* {} 2147483647 {} 65534 65534 0\n", export.display(), 0x2 | 0x400 | 0x2000);
        let file_handle = format!("* 1 \\x00000000 2147483647 {}\n", export.display());
        for (path, text) in [
            ("/proc/net/rpc/auth.unix.ip/channel", "nfsd 127.0.0.1 2147483647 *\n"),
            ("/proc/net/rpc/nfsd.export/channel", export_line.as_str()),
            ("/proc/net/rpc/nfsd.fh/channel", file_handle.as_str()),
            ("/proc/fs/nfsd/versions", "-2 -3 +4 +4.1 +4.2\n"),
            // The shortest times: until the grace is over, nobody may open a file.
            ("/proc/fs/nfsd/nfsv4leasetime", "10\n"),
            ("/proc/fs/nfsd/nfsv4gracetime", "10\n"),
            ("/proc/fs/nfsd/portlist", "tcp 2049\n"),
            ("/proc/fs/nfsd/threads", "2\n"),
        ] {
            fs::write(path, text).unwrap_or_else(|error| panic!("{path} {text}: {error}"));
        }
        Some(Self)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::write("/proc/fs/nfsd/threads", "0\n");
        for cache in ["nfsd.fh", "nfsd.export", "auth.unix.ip"] {
            let _ = fs::write(format!("/proc/net/rpc/{cache}/flush"), "2147483647\n");
        }
        let _ = unmount("/proc/fs/nfsd", UnmountFlags::DETACH);
    }
}

#[test]
fn a_servers_files_are_mounted_by_the_kernel() {
    let Some(mut machine) = Machine::new() else { return };
    let export = machine.path("export");
    fs::create_dir_all(export.join("sub")).expect("directory");
    fs::write(export.join("sub/file"), "of the server").expect("file");
    let Some(_server) = Server::start(&export) else { return };

    let writer = pod(
        "u1",
        &json!({"nfs": {"server": "localhost", "path": "/"}}),
        &json!({"subPath": "sub"}),
        &json!({}),
    );
    let place = machine.prepare(&writer).expect("mounted");
    assert_eq!(fs::read_to_string(place.join("sub/file")).expect("read"), "of the server");
    fs::write(place.join("new"), "of the client").expect("write");
    assert_eq!(fs::read_to_string(export.join("new")).expect("read"), "of the client");
    // Not a second time.
    machine.prepare(&writer).expect("prepared again");
    let at = place.to_str().expect("UTF-8").to_owned();
    assert_eq!(super::mount_table().iter().filter(|path| **path == at).count(), 1);
    let part = machine.mounts(&writer).expect("mounts").remove(0).host_path;
    assert_eq!(fs::read_to_string(part.join("file")).expect("read"), "of the server");

    machine.put(
        Kind::PersistentVolume,
        json!({"metadata": {"name": "files", "uid": "f1"}, "spec": {
            "nfs": {"server": "127.0.0.1", "path": "/sub", "readOnly": true}, "mountOptions": ["nfsvers=4.1", "hard"],
            "claimRef": {"namespace": "web", "name": "c", "uid": "c1"}}}),
    );
    machine.put(
        Kind::PersistentVolumeClaim,
        json!({"metadata": {"name": "c", "namespace": "web", "uid": "c1"}, "spec": {"volumeName": "files"}}),
    );
    let reader = pod("u2", &json!({"persistentVolumeClaim": {"claimName": "c"}}), &json!({}), &json!({}));
    let of_claim = machine.prepare(&reader).expect("mounted");
    assert_eq!(fs::read_to_string(of_claim.join("file")).expect("read"), "of the server");
    let error = fs::write(of_claim.join("file"), "").expect_err("read-only");
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let table = fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
    let line = table.lines().find(|line| line.contains(of_claim.to_str().expect("UTF-8"))).expect("a mount");
    assert!(line.contains("vers=4.1"), "{line}");

    let wrong = pod("u3", &json!({"nfs": {"server": "127.0.0.1", "path": "/none"}}), &json!({}), &json!({}));
    let error = machine.prepare(&wrong).expect_err("no such path").to_string();
    assert!(
        error.starts_with("volume v: nfs 127.0.0.1:/none: version 4.2: No such file or directory"),
        "{error}"
    );
    machine.tear_down(&wrong);
    machine.tear_down(&writer);
    machine.tear_down(&reader);
    assert!(export.join("new").exists() && export.join("sub/file").exists());
}
