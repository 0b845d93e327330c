//! ExecSync: a process in a container, its output and its exit code.
//!
//! Output is kept up to a limit and the rest thrown away, so that memory stays flat whatever a program prints. What it has
//! written lies in the pipes when its end is seen: who holds them open beyond that is not waited for.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rcrun::monitor::{Execution, MonitorError};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use tokio::io::AsyncReadExt as _;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tonic::Status;

use super::error;
use crate::api;
use crate::runtime::Runtime;

/// Bytes that are kept of each stream, and of both together: the CRI's 16 MiB, less what the rest of the answer takes, for
/// clients take no larger one.
const MOST: usize = (16 << 20) - 1024;
/// What a pipe holds at most unless somebody has asked for more.
const PIPE: usize = 64 << 10;

/// ExecSync.
pub async fn exec_sync(
    runtime: &Arc<Runtime>,
    request: api::ExecSyncRequest,
) -> Result<api::ExecSyncResponse, Status> {
    let timeout = match u64::try_from(request.timeout) {
        Ok(0) => None,
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => return Err(Status::invalid_argument(format!("timeout: {} is negative", request.timeout))),
    };
    let entry = super::running(runtime, &request.container_id)?;
    let container = entry.get();
    let (execution, [stdout, stderr]) = {
        let (runtime, container) = (Arc::clone(runtime), Arc::clone(&container));
        let place = entry.live.askers.place().await;
        let begun = move || {
            let _place = place;
            begin(&runtime, &container, &request.cmd)
        };
        super::blocking(begun).await?
    };
    let mut process = Process::new(execution)?;
    let (mut stdout, mut stderr) = (Stream::new(stdout)?, Stream::new(stderr)?);
    let code = {
        let ended = process.ended(&mut stdout, &mut stderr);
        match timeout {
            None => ended.await?,
            Some(timeout) => tokio::time::timeout(timeout, ended).await.unwrap_or(Ok(None))?,
        }
    };
    let Some(exit_code) = code else {
        process.kill().await;
        let seconds = timeout.unwrap_or_default().as_secs();
        return Err(Status::deadline_exceeded(format!(
            "the command in container {} was killed: it ran longer than its timeout of {seconds} s",
            container.id
        )));
    };
    let (mut stdout, mut stderr) = (stdout.rest(), stderr.rest());
    share(&mut stdout, &mut stderr);
    Ok(api::ExecSyncResponse { stdout, stderr, exit_code })
}

/// Starts the process; the read ends of its output come back.
fn begin(
    runtime: &Arc<Runtime>,
    container: &crate::state::Container,
    args: &[String],
) -> Result<(Execution, [OwnedFd; 2]), Status> {
    let failed =
        |operation: &str, error: rustix::io::Errno| Status::internal(format!("{operation}: {error}"));
    let process = super::process(runtime, container, args, false)?;
    let null = rustix::fs::open(c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| failed("open /dev/null", error))?;
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed("pipe2", error));
    let (stdout, stderr) = (pipe()?, pipe()?);
    let started = super::shim(runtime, &container.id).exec(&process, Some([null, stdout.1, stderr.1]));
    match started {
        Ok(execution) => Ok((execution, [stdout.0, stderr.0])),
        Err(MonitorError::Refused(reason)) => {
            Err(Status::unknown(format!("exec in container {}: {reason}", container.id)))
        }
        Err(MonitorError::Gone { .. }) => {
            Err(Status::failed_precondition(format!("container {} has just ended", container.id)))
        }
        Err(failed) => Err(error::monitor(failed)),
    }
}

/// A process that is killed where nobody waits for it any more.
struct Process {
    execution: Execution,
    readable: AsyncFd<OwnedFd>,
    ended: bool,
}

impl Process {
    fn new(mut execution: Execution) -> Result<Self, Status> {
        let fd = execution.as_fd().try_clone_to_owned();
        match fd.and_then(super::readable) {
            Ok(readable) => Ok(Self { execution, readable, ended: false }),
            Err(error) => {
                let _ = execution.kill(libc::SIGKILL);
                Err(Status::internal(format!("wait for the process: {error}")))
            }
        }
    }

    /// Reads output until it ends.
    async fn ended(&mut self, stdout: &mut Stream, stderr: &mut Stream) -> Result<Option<i32>, Status> {
        loop {
            tokio::select! {
                code = self.wait() => return code.map(Some),
                () = stdout.read(), if !stdout.closed => {}
                () = stderr.read(), if !stderr.closed => {}
            }
        }
    }

    async fn wait(&mut self) -> Result<i32, Status> {
        loop {
            let ready = self.readable.readable().await;
            let mut guard =
                ready.map_err(|error| Status::internal(format!("wait for the process: {error}")))?;
            if let Some(code) = self.execution.try_wait().map_err(error::monitor)? {
                self.ended = true;
                return Ok(code);
            }
            guard.clear_ready();
        }
    }

    /// Kills it, and waits a moment for its end: who asks next shall not find it any more.
    async fn kill(&mut self) {
        const MOMENT: Duration = Duration::from_secs(10);
        let _ = self.execution.kill(libc::SIGKILL);
        let _ = tokio::time::timeout(MOMENT, self.wait()).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.execution.kill(libc::SIGKILL);
        }
    }
}

/// What comes out of one of its streams.
struct Stream {
    pipe: pipe::Receiver,
    kept: Vec<u8>,
    buffer: Box<[u8]>,
    closed: bool,
}

impl Stream {
    fn new(fd: OwnedFd) -> Result<Self, Status> {
        let pipe = pipe::Receiver::from_owned_fd(fd)
            .map_err(|error| Status::internal(format!("read from a pipe: {error}")))?;
        Ok(Self { pipe, kept: Vec::new(), buffer: vec![0; PIPE].into(), closed: false })
    }

    /// Reads once. May be cut off: what was read is kept.
    async fn read(&mut self) {
        match self.pipe.read(&mut self.buffer).await {
            Ok(0) | Err(_) => self.closed = true,
            Ok(read) => keep(&mut self.kept, &self.buffer[..read]),
        }
    }

    /// What lies in the pipe now, and no more than fits into it: somebody may go on writing.
    fn rest(self) -> Vec<u8> {
        let Self { pipe, mut kept, mut buffer, .. } = self;
        // Not through tokio, which reads only where it was told that there is something.
        let Ok(pipe) = pipe.into_nonblocking_fd() else { return kept };
        let mut taken = 0;
        while taken < PIPE {
            match rustix::io::read(&pipe, &mut *buffer) {
                Ok(read @ 1..) => {
                    taken += read;
                    keep(&mut kept, &buffer[..read]);
                }
                Err(rustix::io::Errno::INTR) => {}
                _ => break,
            }
        }
        kept
    }
}

/// Cuts what does not fit into one answer: each stream has at least half of it.
fn share(stdout: &mut Vec<u8>, stderr: &mut Vec<u8>) {
    stdout.truncate(MOST - stderr.len().min(MOST / 2));
    stderr.truncate(MOST - stdout.len());
}

fn keep(kept: &mut Vec<u8>, read: &[u8]) {
    let room = MOST - kept.len();
    kept.extend_from_slice(&read[..read.len().min(room)]);
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn stream() -> (Stream, std::fs::File) {
        let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        (Stream::new(read).unwrap(), write.into())
    }

    #[tokio::test]
    async fn what_was_written_is_read_though_somebody_holds_the_pipe() {
        let (stream, mut writer) = stream();
        writer.write_all(&[7; PIPE]).unwrap();
        assert_eq!(stream.rest().len(), PIPE);
        drop(writer);
    }

    #[test]
    fn two_long_streams_share_the_answer() {
        for ((out, err), expected) in [
            ((10, 20), (10, 20)),
            ((MOST, 0), (MOST, 0)),
            ((MOST, 10), (MOST - 10, 10)),
            ((10, MOST), (10, MOST - 10)),
            ((MOST, MOST), (MOST / 2, MOST / 2)),
        ] {
            let (mut stdout, mut stderr) = (vec![0; out], vec![0; err]);
            share(&mut stdout, &mut stderr);
            assert_eq!((stdout.len(), stderr.len()), expected);
        }
    }

    #[tokio::test]
    async fn what_is_beyond_the_limit_is_read_and_thrown_away() {
        let (mut stream, mut writer) = stream();
        let writes = std::thread::spawn(move || {
            for _ in 0..400 {
                writer.write_all(&[7; PIPE]).unwrap();
            }
        });
        while !stream.closed {
            stream.read().await;
        }
        writes.join().unwrap();
        assert_eq!(stream.kept.len(), MOST);
        assert!(stream.kept.capacity() <= 2 * MOST);
    }
}
