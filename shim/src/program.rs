//! Another OCI runtime makes the container: runc, crun, whatever has runc's command line.
//!
//! Its containers become this process's children when it has ended, since this process is their subreaper. What it has to say it writes
//! into a log of its own: its standard streams are the container's.

use std::ffi::OsStr;
use std::fs;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use rcrun::cgroups::Hierarchy;
use rcrun::lifecycle::Spawned;
use rcrun::monitor::{Runtime, Settings};
use rcrun::state::ProcessId;
use rcrun::sys::clone::Child;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, mount_change, move_mount};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix, SocketFlags,
    SocketType, accept_with, bind, listen, recvmsg, socket_with,
};
use rustix::thread::UnshareFlags;

use crate::error::ShimError;

/// Who the container's first process is, for the next shim.
const PROCESS: &str = "process.json";

/// The runtime of a container.
#[derive(Debug)]
pub struct Program<'a> {
    settings: &'a Settings,
    program: &'a Path,
    state: &'a Path,
}

impl<'a> Program<'a> {
    /// None where the library makes it.
    pub fn of(settings: &'a Settings) -> Option<Self> {
        match &settings.runtime {
            Runtime::Own { .. } => None,
            Runtime::Program { program, state } => Some(Self { settings, program, state }),
        }
    }

    /// Makes the container with this process's standard streams.
    pub fn run(&self, root: Option<OwnedFd>) -> Result<Spawned, ShimError> {
        if let (Some(path), Some(mount)) = (&self.settings.root, root) {
            attach(&mount, path)?;
        }
        let console = self.console(self.settings.terminal)?;
        let pid_file = self.settings.run.join("pid");
        let mut args: Vec<&OsStr> = vec!["run".as_ref(), "--detach".as_ref(), "--bundle".as_ref()];
        args.extend([self.settings.bundle.as_os_str(), "--pid-file".as_ref(), pid_file.as_os_str()]);
        if let Some((_, socket)) = &console {
            args.extend(["--console-socket".as_ref(), socket.as_os_str()]);
        }
        let ran = self.call(&args).and_then(|()| self.made(&pid_file, console));
        if ran.is_err() {
            let _ = self.delete();
        }
        let spawned = ran?;
        if let Some(process) = ProcessId::of(spawned.child.pid) {
            let path = self.settings.run.join(PROCESS);
            let json = serde_json::to_vec(&process).unwrap_or_default();
            fs::write(&path, json).map_err(|error| ShimError::File { operation: "write", path, error })?;
        }
        let cgroup = Hierarchy::find()?.path_of(spawned.child.pid).ok();
        Ok(Spawned { cgroup: cgroup.map(|path| path.as_str().to_owned()), ..spawned })
    }

    /// Runs a further process with this process's standard streams.
    pub fn exec(&self, process: &serde_json::Value) -> Result<Spawned, ShimError> {
        let console = self.console(process["terminal"] == true)?;
        let (file, pid_file) = (self.settings.run.join("exec.json"), self.settings.run.join("exec.pid"));
        fs::write(&file, process.to_string()).map_err(|error| ShimError::File {
            operation: "write",
            path: file.clone(),
            error,
        })?;
        let mut args: Vec<&OsStr> = vec!["exec".as_ref(), "--detach".as_ref(), "--process".as_ref()];
        args.extend([file.as_os_str(), "--pid-file".as_ref(), pid_file.as_os_str()]);
        if let Some((_, socket)) = &console {
            args.extend(["--console-socket".as_ref(), socket.as_os_str()]);
        }
        let made = self.call(&args).and_then(|()| self.made(&pid_file, console));
        for path in [file, pid_file] {
            let _ = fs::remove_file(path);
        }
        made
    }

    /// Removes what it has of the container, if anything.
    pub fn delete(&self) -> Result<(), ShimError> {
        self.call(&["delete".as_ref(), "--force".as_ref()])
    }

    /// The container's first process.
    pub fn first_process(&self) -> Option<ProcessId> {
        serde_json::from_slice(&fs::read(self.settings.run.join(PROCESS)).ok()?).ok()
    }

    /// Calls the program for the container and waits for its end.
    fn call(&self, args: &[&OsStr]) -> Result<(), ShimError> {
        let log = self.settings.run.join("runtime.log");
        let _ = fs::remove_file(&log);
        let mut command = Command::new(self.program);
        command.arg("--root").arg(self.state).arg("--log").arg(&log).args(["--log-format", "json"]);
        if self.settings.systemd_cgroup {
            command.arg("--systemd-cgroup");
        }
        command.args(args).arg(&self.settings.id).current_dir(&self.settings.bundle);
        let status = command.status().map_err(|error| ShimError::File {
            operation: "execute",
            path: self.program.into(),
            error,
        })?;
        if status.success() {
            return Ok(());
        }
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        let words = last_words(&fs::read_to_string(&log).unwrap_or_default());
        let words = words.unwrap_or_else(|| status.to_string());
        Err(ShimError::Other(format!("{name} {}: {words}", args[0].to_string_lossy())))
    }

    /// The process that it has made.
    fn made(&self, pid_file: &Path, console: Option<(OwnedFd, PathBuf)>) -> Result<Spawned, ShimError> {
        let text = fs::read_to_string(pid_file).unwrap_or_default();
        let no_pid = || ShimError::Other(format!("{:?} has written no pid into {pid_file:?}", self.program));
        let pid: i32 = text.trim().parse().map_err(|_| no_pid())?;
        let raw = rustix::process::Pid::from_raw(pid).ok_or_else(no_pid)?;
        let pidfd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty())
            .map_err(ShimError::call("pidfd_open"))?;
        let master = match console {
            Some((listener, path)) => {
                let _ = fs::remove_file(path);
                Some(receive_terminal(&listener)?)
            }
            None => None,
        };
        Ok(Spawned { child: Child { pid, pidfd }, master, cgroup: None })
    }

    /// A socket that the terminal's master arrives at.
    fn console(&self, terminal: bool) -> Result<Option<(OwnedFd, PathBuf)>, ShimError> {
        if !terminal {
            return Ok(None);
        }
        let path = self.settings.run.join("console.sock");
        let _ = fs::remove_file(&path);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .and_then(|socket| {
                bind(&socket, &SocketAddrUnix::new(&path)?)?;
                listen(&socket, 1)?;
                Ok(socket)
            })
            .map_err(ShimError::file("console socket", &path))?;
        Ok(Some((listener, path)))
    }
}

/// Attaches the root in a mount namespace of our own: the host's table does not grow, and what the host mounts is seen here.
fn attach(mount: &OwnedFd, path: &Path) -> Result<(), ShimError> {
    let failed = |operation| ShimError::file(operation, path);
    rcrun::sys::process::unshare(UnshareFlags::NEWNS).map_err(ShimError::call("unshare of mounts"))?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(ShimError::call("mount propagation"))?;
    move_mount(mount, c"", rustix::fs::CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(failed("mount the root file system at"))
}

fn receive_terminal(listener: &OwnedFd) -> Result<OwnedFd, ShimError> {
    let failed = || ShimError::Other("the runtime has sent no terminal to its console socket".into());
    let stream = accept_with(listener, SocketFlags::CLOEXEC).map_err(|_| failed())?;
    let mut bytes = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    recvmsg(stream.as_fd(), &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)
        .map_err(|_| failed())?;
    let mut fds = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    fds.next().ok_or_else(failed)
}

/// The last error of a log in JSON: runc has an entry a line, crun as of 1.28 several lines an entry.
fn last_words(mut log: &str) -> Option<String> {
    let mut last = None;
    while !log.is_empty() {
        let mut entries = serde_json::Deserializer::from_str(log).into_iter::<serde_json::Value>();
        for entry in entries.by_ref().map_while(Result::ok) {
            if let (Some("error" | "fatal") | None, Some(text)) =
                (entry["level"].as_str(), entry["msg"].as_str())
            {
                last = Some(text.to_owned());
            }
        }
        // Behind a line that is none.
        let rest = &log[entries.byte_offset()..];
        log = rest.find('\n').map_or("", |end| &rest[end + 1..]);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_a_log_is_its_words() {
        let log = "{\"level\":\"error\",\"msg\":\"first\"}\n{\"level\":\"error\",\"msg\":\"last\"}\n{\"level\":\"info\",\"msg\":\"x\"}\nno json\n";
        assert_eq!(last_words(log).as_deref(), Some("last"));
        assert_eq!(last_words(""), None);
        let log = "plain\n{\n  \"msg\": \"spread\",\n  \"level\": \"error\"\n}\nmore {plain}\n{\"msg\": \"warned\", \"level\": \"warning\"}";
        assert_eq!(last_words(log).as_deref(), Some("spread"));
    }
}
