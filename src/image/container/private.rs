//! An overlay on kernels that cannot make it from descriptors: in a short-lived process with a mount namespace of its
//! own, which hands the mount over. The host's mount table does not see it.
//!
//! mount(2) takes a page of options, so that layers have to have short names: links in a tmpfs, `0`, `1`, ...

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount as mount_by_path, mount_change,
    move_mount, open_tree,
};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType, recvmsg,
    socketpair,
};

use super::overlay::Overlay;
use crate::namespaces::Kind;
use crate::rootfs::mount::new_file_system;
use crate::sockets::send_descriptor;
use crate::sys::clone::{CloneArguments, spawn};
use crate::sys::process::close_inherited;
use crate::sys::{During, Failure};

/// What mount(2) takes, a page, less its NUL.
const OPTIONS_MOST: usize = 4095;

/// Mounts it.
pub(super) fn mount(overlay: &Overlay<'_>) -> Result<OwnedFd, Failure> {
    let names = Names::new(overlay)?;
    let layers = overlay.ids.map(|_| overlay.open_layers()).transpose()?;
    let layers_path = c_path(overlay.layers);
    let target = c_path(&overlay.directory.0.join("rootfs"));
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .during("socketpair")?;
    let arguments = CloneArguments { flags: Kind::Mount.flag(), cgroup: None };
    let child = spawn(arguments, || {
        close_inherited(ours.as_fd());
        let mounted =
            in_namespace(&names, layers.as_ref().map(|fd| (fd.as_fd(), layers_path.as_c_str())), &target);
        let sent = match &mounted {
            Ok(mount) => send_descriptor(theirs.as_fd(), mount.as_fd(), b"m"),
            Err(_) => Ok(()),
        };
        match (mounted, sent) {
            (Ok(_), Ok(())) => 0,
            (Err(errno), _) | (Ok(_), Err(errno)) => errno.raw_os_error().clamp(1, 255),
        }
    })
    .during("clone3")?;
    drop(theirs);
    let received = receive(ours.as_fd());
    let status = child.wait().during("waitid")?.exit_status().unwrap_or(Errno::IO.raw_os_error());
    match (received, status) {
        (Ok(Some(mount)), 0) => Ok(mount),
        (Err(failure), _) => Err(failure),
        (Ok(_), errno) => Err(Errno::from_raw_os_error(errno)).during("mount"),
    }
}

/// A tmpfs with links to what is mounted, and the options that name them.
struct Names {
    links: OwnedFd,
    options: CString,
}

impl Names {
    fn new(overlay: &Overlay<'_>) -> Result<Self, Failure> {
        let links = new_file_system(c"tmpfs", None, None, &[], 0)?;
        let link = |to: &Path, name: &str| symlinkat(to, &links, name).during("symlinkat");
        let directory = overlay.directory.0;
        let mut lowers =
            overlay.lowers().into_iter().map(|tree| overlay.layers.join(tree)).collect::<Vec<_>>();
        if lowers.is_empty() {
            lowers.push(directory.join("rootfs"));
        }
        for (number, lower) in lowers.iter().enumerate() {
            link(lower, &number.to_string())?;
        }
        link(&directory.join("upper"), "u")?;
        link(&directory.join("work"), "w")?;
        let numbers: Vec<String> = (0..lowers.len()).map(|number| number.to_string()).collect();
        let mut options = format!("lowerdir={},upperdir=u,workdir=w", numbers.join(":"));
        for flag in overlay.flags() {
            options.push(',');
            options.push_str(&flag.to_string_lossy());
        }
        if options.len() > OPTIONS_MOST {
            return Err(Errno::TOOBIG)
                .during("mount (more layers than this kernel takes: it needs Linux 6.5)");
        }
        Ok(Self { links, options: CString::new(options).unwrap_or_default() })
    }
}

/// In the process with a mount namespace of its own. No allocation.
fn in_namespace(
    names: &Names,
    mapped: Option<(BorrowedFd<'_>, &CStr)>,
    target: &CStr,
) -> Result<OwnedFd, Errno> {
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    if let Some((mount, path)) = mapped {
        // A layer has to be in the namespace of who mounts.
        let over = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(mount, c"", &over, c"", flags)?;
    }
    rustix::process::fchdir(&names.links)?;
    mount_by_path(c"overlay", target, c"overlay", MountFlags::empty(), names.options.as_c_str())?;
    open_tree(CWD, target, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
}

/// None where the other end was closed without a word.
fn receive(socket: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Failure> {
    let mut word = [0u8; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [std::io::IoSliceMut::new(&mut word)];
    recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC).during("recvmsg")?;
    Ok(ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    }))
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    use std::path::PathBuf;

    use super::*;
    use crate::image::store::IdRange;

    /// What an overlay of three layers shows, mounted by `mount`; None where the test may not mount.
    fn shown(
        ids: Option<IdRange>,
        mount: fn(&Overlay<'_>) -> Result<OwnedFd, Failure>,
    ) -> Option<(String, u32, u32)> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let top = tempfile::tempdir().unwrap();
        let (layers, directory) = (top.path().join("layers"), top.path().join("container"));
        for (layer, name) in [("a", "low"), ("b", "both"), ("c", "both")] {
            fs::create_dir_all(layers.join(layer)).unwrap();
            fs::write(layers.join(layer).join(name), layer).unwrap();
        }
        for name in ["upper", "work", "rootfs"] {
            fs::create_dir_all(directory.join(name)).unwrap();
        }
        let fd = fs::File::open(&directory).unwrap();
        let overlay = Overlay {
            layers: &layers,
            trees: ["a", "b", "c"].map(PathBuf::from).into(),
            directory: (&directory, fd.as_fd()),
            ids,
            user_attributes: false,
            volatile: true,
        };
        let mounted = mount(&overlay).unwrap();
        let file = |name: &str| {
            let fd = rustix::fs::openat(&mounted, name, OFlags::RDONLY, Mode::empty()).unwrap();
            fs::File::from(fd)
        };
        let text = std::io::read_to_string(file("both")).unwrap();
        let metadata = file("low").metadata().unwrap();
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!table.contains(directory.to_str().unwrap()));
        Some((text, metadata.uid(), metadata.gid()))
    }

    #[test]
    fn both_ways_show_the_same() {
        for ids in [None, Some(IdRange { first: 70_000, count: 1000 })] {
            let first = ids.map_or(0, |ids| ids.first);
            let expected = Some(("c".to_owned(), first, first));
            let by_path = shown(ids, mount);
            assert!(by_path.is_none() || by_path == expected, "{by_path:?}");
            assert_eq!(shown(ids, |overlay| overlay.mount()), by_path);
        }
    }
}
