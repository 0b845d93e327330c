//! CRIU as a child: `criu swrk FD` serves the one who holds the other end of a SEQPACKET socket pair.

use std::ffi::{CStr, CString, OsString};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use prost::Message;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::mount::{MountPropagationFlags as Propagation, mount_bind_recursive, mount_change};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::rpc::{Features, Kind, Request, Response};
use super::{CriuError, Directories, label, log};
use crate::launch::{LaunchError, Signals};
use crate::sys::clone::{Child, CloneArguments, spawn};
use crate::sys::process::{StringArray, default_signals, execve};
use crate::sys::{During, Failure};

/// Longest message that CRIU is expected to send.
const MESSAGE_MAX: usize = 64 << 10;
/// What begins a message of the child before it is CRIU; no message of CRIU's begins so.
const COMPLAINT: u8 = 0xff;
/// The same, with the directories that it has opened.
const DIRECTORIES: u8 = 0xfe;
const OPERATIONS: [&str; 6] = [
    "fcntl F_SETFD",
    "mount propagation of /",
    "bind mount of the root",
    "open the image and work directories",
    "sendmsg",
    "execve",
];

/// CRIU, waiting for a request. Dropping it ends it.
#[derive(Debug)]
pub struct Criu {
    child: Option<Child>,
    socket: OwnedFd,
    path: PathBuf,
}

/// A point of its way that CRIU has come to.
#[derive(Debug)]
pub struct Notification {
    /// Its name, `pre-dump`, `post-restore` ...
    pub name: String,
    /// The pid that goes with it, of this PID namespace; 0 for none.
    pub pid: i32,
    /// The descriptor that goes with it: a terminal's master.
    pub descriptor: Option<OwnedFd>,
}

impl Criu {
    /// Starts it with this process's standard streams.
    pub fn start() -> Result<Self, CriuError> {
        Self::start_with(&[], None)
    }

    /// Starts it for a restore. It inherits `descriptors` under their numbers, and has a mount namespace
    /// of its own, in which `root` is a mount point, as CRIU wants it: nothing of that is left behind,
    /// whatever happens. CRIU mounts in its work directory too, so `directories` are opened there.
    pub fn start_with_root(
        root: &Path,
        directories: &mut Directories,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Self, CriuError> {
        let [root, images, work] = [root, directories.image_path(), directories.work_path()].map(c_path);
        let mut criu = Self::start_with(descriptors, Some(&PrivateMounts { root, images, work }))?;
        let (message, opened) = criu.receive_bytes()?;
        match (message.as_slice(), opened.try_into()) {
            ([DIRECTORIES], Ok(opened)) => directories.replace(opened),
            ([COMPLAINT, rest @ ..], _) => return Err(criu.complaint(rest)),
            _ => return Err(criu.death(Path::new(""))),
        }
        Ok(criu)
    }

    fn start_with(descriptors: &[BorrowedFd<'_>], mounts: Option<&PrivateMounts>) -> Result<Self, CriuError> {
        let path = in_path("criu").ok_or(CriuError::Missing)?;
        let start = |operation| {
            let path = path.clone();
            move |errno| CriuError::Start { path, failure: failed(operation, errno) }
        };
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let (socket, theirs) = pair.map_err(start("socketpair"))?;
        let number = theirs.as_raw_fd().to_string();
        let argv = StringArray::new(["criu", "swrk", &number].map(|word| c_string(word.as_bytes())).into());
        let variable = |(name, value): (OsString, OsString)| {
            c_string(&[name.as_bytes(), b"=", value.as_bytes()].concat())
        };
        let envp = StringArray::new(std::env::vars_os().map(variable).collect());
        let program = c_path(&path);
        let body = || {
            let inherited = descriptors.iter().copied().chain([theirs.as_fd()]);
            let prepared = prepare(inherited, mounts, theirs.as_fd());
            let failure = prepared.err().unwrap_or_else(|| {
                default_signals();
                (5, execve(&program, &argv, &envp))
            });
            complain(theirs.as_fd(), failure);
            127
        };
        let flags = if mounts.is_some() { libc::CLONE_NEWNS as u64 } else { 0 };
        let child = spawn(CloneArguments { flags, cgroup: None }, body).map_err(start("clone3"))?;
        Ok(Self { child: Some(child), socket, path })
    }

    /// Its pid.
    pub fn pid(&self) -> i32 {
        self.child.as_ref().map_or(0, |child| child.pid)
    }

    /// Asks for something and answers its notifications until it is done. A notification that `notified`
    /// has an error for ends the request, and the error comes back. A signal that ends commands ends
    /// CRIU. `log` is where CRIU writes why it fails.
    pub fn request<E: From<CriuError> + From<LaunchError>>(
        &mut self,
        operation: &'static str,
        request: &Request,
        log: &Path,
        signals: Option<&Signals>,
        notified: &mut dyn FnMut(Notification) -> Result<(), E>,
    ) -> Result<Response, E> {
        self.send(request)?;
        let mut refused = None;
        loop {
            if let Some(signals) = signals {
                self.await_message(signals)?;
            }
            let (response, descriptor) = self.receive(log)?;
            if response.kind() == Kind::Notify {
                let notify = response.notify.unwrap_or_default();
                let name = notify.script().to_owned();
                let answer = notified(Notification { name, pid: notify.pid(), descriptor });
                let success = answer.is_ok();
                refused = refused.or(answer.err());
                let kind = Kind::Notify.into();
                self.send(&Request { kind, notify_success: Some(success), ..Request::default() })?;
            } else if let Some(error) = refused {
                return Err(error);
            } else if response.success {
                return Ok(response);
            } else {
                let errno = response.errno.unwrap_or(0);
                let logged = log::reasons(log);
                let reasons =
                    if logged.is_empty() { response.message.clone().unwrap_or_default() } else { logged };
                return Err(label::explained(CriuError::Failed { operation, errno, reasons }).into());
            }
        }
    }

    /// Asks which of `features` CRIU has on this kernel.
    pub fn features(features: Features) -> Result<Features, CriuError> {
        let mut criu = Self::start()?;
        let kind = Kind::FeatureCheck.into();
        criu.send(&Request { kind, features: Some(features), ..Request::default() })?;
        let (response, _) = criu.receive(Path::new(""))?;
        Ok(response.features.unwrap_or_default())
    }

    /// Waits for its end, after the last answer.
    pub fn finish(mut self) {
        // It ends when nobody is there to ask any more.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        if let Some(child) = self.child.take() {
            let _ = child.wait();
        }
    }

    fn await_message(&self, signals: &Signals) -> Result<(), LaunchError> {
        loop {
            let mut fds = [
                PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).during("poll").map_err(LaunchError::Call),
            }
            let ready = !fds[0].revents().is_empty();
            if let Some(signal) = signals.ending() {
                return Err(LaunchError::Interrupted { signal });
            }
            if ready {
                return Ok(());
            }
        }
    }

    fn send(&self, request: &Request) -> Result<(), CriuError> {
        let bytes = request.encode_to_vec();
        let mut nothing = SendAncillaryBuffer::default();
        sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut nothing, SendFlags::NOSIGNAL)
            .during("sendmsg")
            .map(drop)
            .or_else(|failure| match failure.errno {
                // What it said before it ended is still to be read.
                Errno::PIPE | Errno::CONNRESET => Ok(()),
                _ => Err(CriuError::Talk(failure)),
            })
    }

    fn receive(&mut self, log: &Path) -> Result<(Response, Option<OwnedFd>), CriuError> {
        let (message, descriptors) = self.receive_bytes()?;
        match message.as_slice() {
            [] => Err(self.death(log)),
            [COMPLAINT, rest @ ..] => Err(self.complaint(rest)),
            message => Response::decode(message)
                .map(|response| (response, descriptors.into_iter().next()))
                .map_err(|error| CriuError::Protocol(error.to_string())),
        }
    }

    fn receive_bytes(&mut self) -> Result<(Vec<u8>, Vec<OwnedFd>), CriuError> {
        let mut bytes = vec![0; MESSAGE_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let parts = &mut [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.socket, parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => break 0,
                received => break received.during("recvmsg").map_err(CriuError::Talk)?.bytes,
            }
        };
        bytes.truncate(received);
        let rights = ancillary.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        });
        Ok((bytes, rights.flatten().collect()))
    }

    /// Why it did not become CRIU.
    fn complaint(&self, bytes: &[u8]) -> CriuError {
        let (step, errno) = bytes.split_first().unwrap_or((&0, &[]));
        let operation = OPERATIONS.get(usize::from(*step)).copied().unwrap_or("start");
        let errno = Errno::from_raw_os_error(i32::from_le_bytes(errno.try_into().unwrap_or_default()));
        CriuError::Start { path: self.path.clone(), failure: failed(operation, errno) }
    }

    /// It closed the socket: how it ended.
    fn death(&mut self, log: &Path) -> CriuError {
        let status = self.child.take().and_then(|child| child.wait().ok());
        let how = match status.map(|status| (status.exit_status(), status.terminating_signal())) {
            Some((Some(status), _)) => format!("exit status {status}"),
            Some((_, Some(signal))) => format!("signal {signal}"),
            _ => "unknown status".into(),
        };
        CriuError::Died { how, reasons: log::reasons(log) }
    }
}

impl Drop for Criu {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            let _ = crate::sys::process::send_signal(child.pidfd.as_fd(), libc::SIGKILL as u32);
            let _ = child.wait();
        }
    }
}

fn failed(operation: &'static str, errno: Errno) -> Failure {
    Failure { operation, errno, note: crate::sys::Note::default() }
}

/// What the mount namespace of a restoring CRIU is made of.
struct PrivateMounts {
    root: CString,
    images: CString,
    work: CString,
}

/// Runs in the child: everything before execve(2). The error is the index of the operation and why.
fn prepare<'fd>(
    mut inherited: impl Iterator<Item = BorrowedFd<'fd>>,
    mounts: Option<&PrivateMounts>,
    socket: BorrowedFd<'_>,
) -> Result<(), (u8, Errno)> {
    inherited.try_for_each(|fd| fcntl_setfd(fd, FdFlags::empty())).map_err(|errno| (0, errno))?;
    let Some(PrivateMounts { root, images, work }) = mounts else { return Ok(()) };
    mount_change(c"/", Propagation::DOWNSTREAM | Propagation::REC).map_err(|errno| (1, errno))?;
    mount_bind_recursive(root.as_c_str(), root.as_c_str()).map_err(|errno| (2, errno))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: &CStr| rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| (3, errno));
    let (images, work) = (open(images)?, open(work)?);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [images.as_fd(), work.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(socket, &[IoSlice::new(&[DIRECTORIES])], &mut ancillary, SendFlags::NOSIGNAL)
        .map(drop)
        .map_err(|errno| (4, errno))
}

fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).unwrap_or_default()
}

fn c_path(path: &Path) -> CString {
    c_string(path.as_os_str().as_bytes())
}

/// Runs in the child: says why it does not become CRIU.
fn complain(socket: BorrowedFd<'_>, (step, errno): (u8, Errno)) {
    let [a, b, c, d] = errno.raw_os_error().to_le_bytes();
    let _ = rustix::net::send(socket, &[COMPLAINT, step, a, b, c, d], SendFlags::NOSIGNAL);
}

/// A program in PATH.
pub(super) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let executable =
        |file: &PathBuf| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file();
    std::env::split_paths(&path)
        .filter(|directory| !directory.as_os_str().is_empty())
        .map(|directory| directory.join(name))
        .find(executable)
}
