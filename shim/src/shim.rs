//! The loop: one poll(2) over all that may happen to a container and be asked of its shim.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rcrun::cgroups::{Cgroup, CgroupPath, Hierarchy, OomWatch, Watched};
use rcrun::launch::Signals;
use rcrun::monitor::{Exit, Reply, SCHEMA, Settings, wire};
use rcrun::sys::clone::Child;
use rcrun::sys::memory::Spare;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::process::{WaitOptions, WaitStatus, wait};

use crate::adopt;
use crate::attach::Client;
use crate::ending;
use crate::error::ShimError;
use crate::log::Log;
use crate::program::Program;
use crate::start::{Init, Started, now};
use crate::streams::{Streams, open_slave};

/// What one read takes.
const CHUNK: usize = 32 << 10;
/// /proc/sys/fs/pipe-max-size, unless somebody has raised it.
const LARGEST_PIPE: usize = 1 << 20;

/// How long nothing has to happen before memory is given back, which costs the next event some page faults.
const UNTIL_REST: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// One container's shim.
#[derive(Debug)]
pub struct Shim {
    pub(crate) settings: Settings,
    pub(crate) init: Init,
    pub(crate) signals: Signals,
    listener: OwnedFd,
    pub(crate) streams: Streams,
    pub(crate) log: Option<Log>,
    cgroup: Option<Cgroup>,
    oom: Option<OomWatch>,
    pub(crate) connections: Vec<Connection>,
    /// How the container ended.
    pub(crate) ended: Option<Option<i32>>,
    chunk: Vec<u8>,
    oom_kills: u64,
    spare: Option<Spare>,
    resting: bool,
}

/// Somebody who asks.
#[derive(Debug)]
pub struct Connection {
    /// The other end closes when it is done, or dead.
    pub socket: OwnedFd,
    /// What it is about.
    pub role: Role,
}

/// What a connection is about.
#[derive(Debug)]
pub enum Role {
    /// Nothing was asked yet.
    New,
    /// Hears of the end and of what comes before.
    Watcher,
    /// Has a further process.
    Exec(Child),
    /// Sees the streams.
    Attached(Client),
    /// Was attached and is gone; what it has typed is still being read.
    Left(OwnedFd),
    /// Answered, or of no use: closed soon.
    Done,
}

/// What may wake the shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    Signal,
    Init,
    Listener,
    Output(usize),
    Oom,
    Connection(usize),
    /// A client has input.
    Typed(usize),
    /// The container has room for input.
    Room,
}

impl Shim {
    /// Holds the container until it has ended.
    pub fn hold(started: Started) -> Result<(), ShimError> {
        let Started { settings, init, signals, listener, streams, log, cgroup } = started;
        let cgroup = cgroup.and_then(|path| open_cgroup(&path).ok());
        // The container was made with its cgroup and has run for a moment, or with another shim: all kills in it are the container's. Another
        // runtime's program may put it into one that was there.
        let oom = cgroup.as_ref().and_then(|cgroup| match Program::of(&settings) {
            None => cgroup.oom_watch_from_the_first().ok(),
            Some(_) => cgroup.oom_watch().ok(),
        });
        let mut shim = Self {
            settings,
            init,
            signals,
            listener,
            streams,
            log,
            cgroup,
            oom,
            connections: Vec::new(),
            ended: None,
            chunk: Vec::new(),
            oom_kills: 0,
            spare: None,
            resting: false,
        };
        // The signal of a container that has ended already may have been taken while it was made.
        shim.reap();
        while shim.ended.is_none() {
            shim.serve_once()?;
        }
        shim.end()
    }

    fn serve_once(&mut self) -> Result<(), ShimError> {
        let happened = self.wait().map_err(ShimError::call("poll"))?;
        if happened.is_empty() {
            self.rest();
            return Ok(());
        }
        self.resting = false;
        for (wake, events) in happened {
            match wake {
                Wake::Signal => while self.signals.next().is_some() {},
                Wake::Init => self.adopted_has_ended(),
                Wake::Listener => self.accept(),
                Wake::Output(index) => drop(self.relay(index, events)),
                Wake::Oom => self.look_at_memory(),
                Wake::Connection(index) => self.hear(index),
                Wake::Typed(index) => self.read_input(index),
                Wake::Room => self.write_input(),
            }
        }
        self.connections.retain(|connection| !matches!(connection.role, Role::Done));
        self.reap();
        Ok(())
    }

    /// Nothing has happened for a while: what is not needed to wait is given back.
    fn rest(&mut self) {
        self.chunk = Vec::new();
        if let Some(log) = &mut self.log {
            log.rest();
        }
        self.spare.get_or_insert_with(Spare::find);
        self.resting = true;
    }

    /// Waits until something happens, or until it is time to rest; tells what.
    fn wait(&self) -> Result<Vec<(Wake, PollFlags)>, Errno> {
        let mut wakes = Vec::with_capacity(8);
        let mut fds = Vec::with_capacity(8);
        let mut add = |wake, fd, events| {
            wakes.push(wake);
            fds.push(PollFd::from_borrowed_fd(fd, events));
        };
        add(Wake::Signal, self.signals.as_fd(), PollFlags::IN);
        add(Wake::Init, self.init.pidfd.as_fd(), PollFlags::IN);
        add(Wake::Listener, self.listener.as_fd(), PollFlags::IN);
        for (index, output) in self.streams.outputs.iter().enumerate() {
            add(Wake::Output(index), output.fd.as_fd(), PollFlags::IN);
        }
        for fd in self.oom.iter().flat_map(OomWatch::descriptors) {
            add(Wake::Oom, fd, PollFlags::PRI);
        }
        for (index, connection) in self.connections.iter().enumerate() {
            // Who is gone has hung up for good.
            if !matches!(connection.role, Role::Left(_)) {
                add(Wake::Connection(index), connection.socket.as_fd(), PollFlags::IN);
            }
        }
        if let Some(input) = &self.streams.input {
            if let Some(fd) = input.waits_for_room() {
                add(Wake::Room, fd.as_fd(), PollFlags::OUT);
            }
            for (index, connection) in self.connections.iter().enumerate().filter(|_| input.wants_more()) {
                if let Some(stdin) = connection.stdin() {
                    add(Wake::Typed(index), stdin.as_fd(), PollFlags::IN);
                }
            }
        }
        let waited = match self.spare.as_ref().filter(|_| self.resting) {
            Some(spare) => spare.wait(&mut fds),
            None => poll(&mut fds, Some(&UNTIL_REST)),
        };
        match waited {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        // A timeout has no events, and is the beginning of a rest.
        let events = wakes.into_iter().zip(fds.iter().map(PollFd::revents));
        Ok(events.filter(|(_, events)| !events.is_empty()).collect())
    }

    /// Waits for all who have ended: the container's first process, further ones, and orphans that came to this subreaper.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if let Some(code) = exit_code(status) {
                self.has_ended(pid.as_raw_nonzero().get(), code);
            }
        }
    }

    /// The end of a first process whose parent is another.
    fn adopted_has_ended(&mut self) {
        if !self.init.is_child {
            self.ended = Some(adopt::exit_code(self.init.pidfd.as_fd()));
        }
    }

    fn has_ended(&mut self, pid: i32, code: i32) {
        if pid == self.init.pid {
            self.ended = Some(Some(code));
            return;
        }
        let is_its = |connection: &&mut Connection| match &connection.role {
            Role::Exec(child) => child.pid == pid,
            _ => false,
        };
        if let Some(connection) = self.connections.iter_mut().find(is_its) {
            connection.say(&Reply::Exited { code }, &[]);
            connection.role = Role::Done;
        }
    }

    fn read_input(&mut self, index: usize) {
        let (Some(input), Some(connection)) = (&mut self.streams.input, self.connections.get_mut(index))
        else {
            return;
        };
        // Another client's may have filled it in this round.
        let Some(stdin) = connection.stdin().filter(|_| input.wants_more()) else { return };
        if !input.read_from(stdin) {
            connection.close_stdin();
            if self.settings.stdin_once {
                input.end();
            }
        }
        self.write_input();
    }

    pub(crate) fn write_input(&mut self) {
        if self.streams.input.as_mut().is_some_and(|input| !input.write()) {
            self.streams.input = None;
            // Nobody will read theirs.
            let left = |connection: &&mut Connection| matches!(connection.role, Role::Left(_));
            self.connections.iter_mut().filter(left).for_each(Connection::close_stdin);
        }
    }

    /// Reads what there is of one stream, once; the log and the clients get it. False where there was nothing.
    fn relay(&mut self, index: usize, events: PollFlags) -> bool {
        self.chunk.resize(CHUNK, 0);
        let Some(output) = self.streams.outputs.get_mut(index) else { return false };
        match rustix::io::read(&output.fd, self.chunk.as_mut_slice()) {
            Ok(length @ 1..) => {
                let bytes = &self.chunk[..length];
                if let Some(log) = &mut self.log {
                    log.append(output.stream, &mut output.partial, bytes);
                }
                for connection in &mut self.connections {
                    if let Role::Attached(client) = &mut connection.role {
                        client.write(output.stream, bytes);
                    }
                }
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            Ok(0) | Err(_) => {
                if self.streams.terminal && events.contains(PollFlags::HUP) {
                    self.hung_up(index);
                }
                false
            }
        }
    }

    /// Somebody has hung up the terminal, vhangup(2): a new slave undoes it; without one it is over.
    fn hung_up(&mut self, index: usize) {
        let Some(output) = self.streams.outputs.get(index) else { return };
        self.streams.slave = open_slave(&output.fd);
        if self.streams.slave.is_none() {
            self.streams.outputs.remove(index);
        }
    }

    fn look_at_memory(&mut self) {
        let Some(watch) = &mut self.oom else { return };
        match watch.wait(Some(std::time::Duration::ZERO)) {
            Ok(Watched::OomKills(more)) => {
                self.oom_kills += more;
                let watchers =
                    self.connections.iter().filter(|connection| matches!(connection.role, Role::Watcher));
                for watcher in watchers {
                    watcher.say(&Reply::OutOfMemory, &[]);
                }
            }
            Ok(Watched::Quiet) => {}
            Ok(Watched::Ended) | Err(_) => self.oom = None,
        }
    }

    fn accept(&mut self) {
        use rustix::net::{SocketFlags, accept_with, sockopt};
        while let Ok(socket) = accept_with(&self.listener, SocketFlags::CLOEXEC) {
            let own = rustix::process::geteuid();
            let peer = sockopt::socket_peercred(&socket).map(|peer| peer.uid);
            if peer.is_ok_and(|uid| uid.is_root() || uid == own) {
                self.connections.push(Connection { socket, role: Role::New });
            }
        }
    }

    /// The end. Everything that can fail is tried, and who watches sees the end in any case.
    fn end(mut self) -> Result<(), ShimError> {
        self.look_at_memory();
        let emptied = self.kill_rest();
        for index in 0..self.streams.outputs.len() {
            self.drain(index);
        }
        if let Some(log) = &mut self.log {
            for output in &mut self.streams.outputs {
                log.end(output.stream, &mut output.partial);
            }
        }
        let exit = Exit {
            schema: SCHEMA,
            code: self.ended.flatten(),
            started: self.init.started,
            finished: now(),
            oom_killed: self.oom_kills > 0,
        };
        let written = ending::write_exit(&self.settings, &exit);
        let deleted = ending::remove(&self.settings);
        written.and(deleted).and(emptied.map_err(ShimError::from))
    }

    /// Reads what is there, and no more than a pipe can hold: a process that got away may go on writing.
    fn drain(&mut self, index: usize) {
        for _ in 0..LARGEST_PIPE / CHUNK {
            if !self.relay(index, PollFlags::empty()) {
                break;
            }
        }
    }

    /// What the first process leaves behind dies with it.
    fn kill_rest(&self) -> Result<(), rcrun::cgroups::CgroupError> {
        let Some(cgroup) = &self.cgroup else { return Ok(()) };
        if cgroup.is_populated()? {
            cgroup.kill()?;
            cgroup.wait_empty(std::time::Duration::from_secs(10))?;
        }
        Ok(())
    }

    /// The container's cgroup.
    pub(crate) fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }
}

impl Connection {
    /// Where its input comes from, if it has some.
    pub fn stdin(&self) -> Option<&OwnedFd> {
        match &self.role {
            Role::Attached(client) => client.stdin(),
            Role::Left(stdin) => Some(stdin),
            _ => None,
        }
    }

    fn close_stdin(&mut self) {
        match &mut self.role {
            Role::Attached(client) => client.close_stdin(),
            Role::Left(_) => self.role = Role::Done,
            _ => {}
        }
    }

    /// Says something; who does not listen does not hear it.
    pub fn say(&self, reply: &Reply, fds: &[BorrowedFd<'_>]) {
        let _ = wire::send(self.socket.as_fd(), reply, fds, SendFlags::DONTWAIT);
    }
}

fn open_cgroup(path: &str) -> Result<Cgroup, rcrun::cgroups::CgroupError> {
    Cgroup::open(&Hierarchy::find()?, &CgroupPath::parse(path.as_ref())?)
}

/// As a shell has it: 128 and the signal's number where one ended it. None for a process that was only stopped.
fn exit_code(status: WaitStatus) -> Option<i32> {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal))
}
