//! The container's standard streams: FIFOs that outlive this process, or a terminal's master that does not.
//!
//! The container has stdout and stderr open for reading, too: without any shim it waits for the next one, and gets no SIGPIPE.

use std::os::fd::OwnedFd;
use std::path::Path;

use rcrun::monitor::Settings;
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, fchown, mknodat, open};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::attach::Input;
use crate::error::ShimError;
use crate::lines::Partial;
use crate::log::Stream;

/// What the container writes.
#[derive(Debug)]
pub struct Output {
    /// Our end.
    pub fd: OwnedFd,
    /// Which stream it is.
    pub stream: Stream,
    /// The line that has not ended.
    pub partial: Partial,
}

/// Our ends.
#[derive(Debug, Default)]
pub struct Streams {
    /// stdout and stderr, or the terminal's master.
    pub outputs: Vec<Output>,
    /// What the container reads; with a terminal that is the master.
    pub input: Option<Input>,
    /// As long as this is open the master does not hang up, whatever the container closes.
    pub slave: Option<OwnedFd>,
    /// Is it a terminal?
    pub terminal: bool,
}

/// The container's ends, of a container without a terminal.
#[derive(Debug)]
pub struct Theirs {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

const FLAGS: OFlags = OFlags::RDWR.union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// Makes the FIFOs in the volatile directory and opens both ends.
pub fn make(settings: &Settings) -> Result<(Streams, Theirs), ShimError> {
    for name in ["stdout", "stderr"].into_iter().chain(settings.stdin.then_some("stdin")) {
        let path = settings.run.join(name);
        match mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(ShimError::file("make FIFO", path)(error)),
        }
    }
    let outputs = open_outputs(settings)?;
    let theirs = |name: &str| opened(&settings.run.join(name), FLAGS);
    let (stdout, stderr) = (theirs("stdout")?, theirs("stderr")?);
    if !settings.stdin {
        let streams = Streams::of_fifos(outputs, None);
        return Ok((streams, Theirs { stdin: opened(Path::new("/dev/null"), FLAGS)?, stdout, stderr }));
    }
    let path = settings.run.join("stdin");
    let both = opened(&path, FLAGS | OFlags::NONBLOCK)?;
    // A container whose input ends with the first client must not hold the writing end itself.
    let stdin = match settings.stdin_once {
        true => opened(&path, OFlags::RDONLY | OFlags::CLOEXEC)?,
        false => opened(&path, FLAGS)?,
    };
    let input = open_input(settings)?;
    drop(both);
    Ok((Streams::of_fifos(outputs, Some(input)), Theirs { stdin, stdout, stderr }))
}

/// Our ends of FIFOs that are there.
pub fn open_outputs(settings: &Settings) -> Result<Vec<Output>, ShimError> {
    let output = |name, stream| -> Result<Output, ShimError> {
        let fd = opened(&settings.run.join(name), FLAGS | OFlags::NONBLOCK)?;
        Ok(Output { fd, stream, partial: Partial::default() })
    };
    Ok(vec![output("stdout", Stream::Out)?, output("stderr", Stream::Err)?])
}

/// Our end of the FIFO that the container reads; somebody has it open for reading.
pub fn open_input(settings: &Settings) -> Result<OwnedFd, ShimError> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    opened(&settings.run.join("stdin"), flags)
}

fn opened(path: &Path, flags: OFlags) -> Result<OwnedFd, ShimError> {
    open(path, flags, Mode::empty()).map_err(ShimError::file("open", path))
}

impl Theirs {
    /// A process that is not root opens /dev/stdout and the like anew, for which the FIFO has to be its own.
    pub fn give_to(&self, uid: u32, gid: u32, stdin: bool) -> Result<(), ShimError> {
        let given = |fd: &OwnedFd| fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        let all = [Some(&self.stdout), Some(&self.stderr), Some(&self.stdin).filter(|_| stdin)];
        all.into_iter().flatten().try_for_each(given).map_err(ShimError::call("fchown of a FIFO"))
    }

    /// Makes them this process's standard streams, for the child to be born with.
    pub fn lend(&self) -> Result<Lent, ShimError> {
        lend([&self.stdin, &self.stdout, &self.stderr])
    }
}

/// Standard streams of this process until it is dropped; then they are /dev/null again.
#[derive(Debug)]
pub struct Lent(OwnedFd);

/// Makes `streams` this process's standard streams, for a child to be born with.
pub fn lend([stdin, stdout, stderr]: [&OwnedFd; 3]) -> Result<Lent, ShimError> {
    let lent = Lent(opened(Path::new("/dev/null"), FLAGS)?);
    dup2_stdin(stdin)
        .and_then(|()| dup2_stdout(stdout))
        .and_then(|()| dup2_stderr(stderr))
        .map_err(ShimError::call("dup2"))?;
    Ok(lent)
}

impl Drop for Lent {
    fn drop(&mut self) {
        let _ = dup2_stdin(&self.0).and_then(|()| dup2_stdout(&self.0)).and_then(|()| dup2_stderr(&self.0));
    }
}

impl Streams {
    /// The streams of a container without one.
    pub fn of_fifos(outputs: Vec<Output>, input: Option<OwnedFd>) -> Self {
        Self { outputs, input: input.map(|fd| Input::new(fd, false)), ..Self::default() }
    }

    /// The streams of a container with a terminal; is there to be input?
    pub fn of_terminal(master: OwnedFd, input: bool) -> Result<Self, ShimError> {
        let failed = ShimError::call;
        rustix::io::ioctl_fionbio(&master, true).map_err(failed("terminal: ioctl FIONBIO"))?;
        let copy = || rustix::io::fcntl_dupfd_cloexec(&master, 3).map_err(failed("terminal: dup"));
        let input = input.then(copy).transpose()?.map(|fd| Input::new(fd, true));
        let slave = open_slave(&master);
        let output = Output { fd: master, stream: Stream::Out, partial: Partial::default() };
        Ok(Self { outputs: vec![output], input, slave, terminal: true })
    }

    /// The terminal's master.
    pub fn master(&self) -> Option<&OwnedFd> {
        self.outputs.first().filter(|_| self.terminal).map(|output| &output.fd)
    }
}

/// A terminal's other side; None where there is none to be had.
pub fn open_slave(master: &OwnedFd) -> Option<OwnedFd> {
    ioctl_tiocgptpeer(master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).ok()
}
