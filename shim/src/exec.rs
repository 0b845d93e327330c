//! Further processes in the container.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rcrun::id::ContainerId;
use rcrun::lifecycle::{self, ExecOptions, Spawned, WholeProcess};
use rcrun::spec;
use rustix::fs::{FileType, Gid, Uid, fchown, fstat};
use serde_json::Value;

use crate::error::ShimError;
use crate::program::Program;
use crate::shim::Shim;
use crate::start::{store, user_on_host};
use crate::streams::lend;

/// The container's root can stop a process of its PID namespace before its program runs. Nothing else is done meanwhile: it is not waited for
/// longer than who asks waits.
const PATIENCE: Duration = Duration::from_secs(20);

impl Shim {
    /// Runs `process` with three descriptors as its standard streams, or with a terminal of its own.
    pub(crate) fn exec(&self, process: &Value, fds: &[OwnedFd]) -> Result<Spawned, ShimError> {
        let id = ContainerId::parse(&self.settings.id)?;
        let lent = match fds {
            [stdin, stdout, stderr] => {
                self.give([stdin, stdout, stderr], process);
                Some(lend([stdin, stdout, stderr])?)
            }
            _ => None,
        };
        let spawned = match Program::of(&self.settings) {
            Some(program) => program.exec(process)?,
            None => {
                let process = Some(WholeProcess::Json(serde_json::to_vec(process).unwrap_or_default()));
                let options = ExecOptions { process, ..ExecOptions::default() };
                self.signals.give_up_at(Some(Instant::now() + PATIENCE));
                let spawned = lifecycle::exec_spawn(&store(&self.settings), &id, &options, &self.signals);
                self.signals.give_up_at(None);
                spawned?
            }
        };
        drop(lent);
        Ok(spawned)
    }

    /// Who is not root opens /dev/stdout and the like anew, for which a pipe has to be its own.
    fn give(&self, streams: [&OwnedFd; 3], process: &Value) {
        let id =
            |name: &str| process["user"][name].as_u64().and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
        if (id("uid"), id("gid")) == (0, 0) {
            return;
        }
        let config = std::fs::read(self.settings.bundle.join("config.json")).unwrap_or_default();
        let Ok(spec) = spec::parse(&config) else { return };
        let (uid, gid) = user_on_host(&spec, (id("uid"), id("gid")));
        for fd in streams {
            let is_pipe = fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
            if is_pipe {
                let _ = fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            }
        }
    }
}
