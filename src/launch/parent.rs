//! The parent's half of a launch: opens, clones, answers the child's requests until its program runs.
//!
//! Its other half is [`super::child`]; what they say to each other is drawn in [`super::protocol`].

use std::cell::OnceCell;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Signal, pidfd_send_signal};

use super::child::{self, Cargo};
use super::error::ChildError;
use super::net_devices::{self, Found as FoundDevices, Moved as MovedDevices};
use super::order::Shelf;
use super::protocol::{self, Expected, Message, Received};
use super::signals::Signals;
use super::timings::Clock;
use super::{LaunchError, mapping, open, stage};
use crate::fault;
use crate::launch::hooks::Hook;
use crate::namespaces::Kind;
use crate::plan::step::{ResourceLimit, Source, Step};
use crate::plan::{ExecPlan, IndexSet, Namespaces, NetDevices, Plan, Program};
use crate::process::join;
use crate::sys::During;
use crate::sys::clone::{Child, CloneArguments, spawn};
use crate::sys::process::StringArray;
use crate::sys::tuning;

/// A launch that was decided: a view of a [`Plan`] or an [`ExecPlan`], and what was opened for it.
pub struct Launch<'a> {
    /// What the parent opens before the clone.
    pub sources: &'a [Source],
    /// What the clone makes and joins.
    pub namespaces: &'a Namespaces,
    /// What the child does.
    pub steps: &'a [Step],
    /// What it becomes.
    pub program: &'a Program,
    /// oom_score_adj to write.
    pub oom_score_adj: Option<i32>,
    /// Limits that the parent sets on request.
    pub resource_limits: &'a [ResourceLimit],
    /// The network devices to move.
    pub net_devices: Option<&'a NetDevices>,
    /// The CPUs that the child is born with.
    pub initial_cpus: Option<&'a IndexSet>,
    /// The cgroup to be born in.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The root file system's path and directory, for a container.
    pub root: Option<(&'a Path, BorrowedFd<'a>)>,
    /// The root file system as a detached mount, where it was made already.
    pub root_mount: Option<BorrowedFd<'a>>,
    /// The init's pidfd and root of a running container, for exec.
    pub container: Option<(BorrowedFd<'a>, Option<BorrowedFd<'a>>)>,
    /// The socket that `start` connects to.
    pub listener: Option<BorrowedFd<'a>>,
    /// State files for createContainer and startContainer hooks.
    pub hook_states: Option<(BorrowedFd<'a>, BorrowedFd<'a>)>,
    /// The lock that the parent holds and the child must not.
    pub lock: Option<BorrowedFd<'a>>,
    /// The child's clock.
    pub clock: Option<&'a Clock>,
    /// Called with the child's pid right after the clone. The child goes on meanwhile, unless it awaits the
    /// parent first; its program does not run before that.
    pub newborn: Option<&'a dyn Fn(i32) -> Result<(), LaunchError>>,
    /// Called with what was opened, before there is a child.
    pub opened: Option<&'a Opened<'a>>,
}

/// See [`Launch::opened`].
type Opened<'a> = dyn Fn(&[OnceCell<OwnedFd>]) -> Result<(), LaunchError> + 'a;

impl<'a> Launch<'a> {
    /// The launch of a container's first process.
    pub fn of_container(plan: &'a Plan) -> Self {
        let mut launch = Self::new(&plan.sources, &plan.namespaces, &plan.steps, &plan.program);
        launch.oom_score_adj = plan.oom_score_adj;
        launch.resource_limits = &plan.resource_limits;
        launch.net_devices = Some(&plan.net_devices);
        launch
    }

    /// The launch of a further process.
    pub fn of_exec(plan: &'a ExecPlan) -> Self {
        let mut launch = Self::new(&plan.sources, &plan.namespaces, &plan.steps, &plan.program);
        launch.oom_score_adj = plan.oom_score_adj;
        launch.resource_limits = &plan.resource_limits;
        launch.initial_cpus = plan.initial_cpus.as_ref();
        launch
    }

    fn new(
        sources: &'a [Source],
        namespaces: &'a Namespaces,
        steps: &'a [Step],
        program: &'a Program,
    ) -> Self {
        Self {
            sources,
            namespaces,
            steps,
            program,
            oom_score_adj: None,
            resource_limits: &[],
            net_devices: None,
            initial_cpus: None,
            cgroup: None,
            root: None,
            root_mount: None,
            container: None,
            listener: None,
            hook_states: None,
            lock: None,
            clock: None,
            newborn: None,
            opened: None,
        }
    }

    /// Opens the sources and makes the child. It runs until it first needs the parent.
    pub fn start(&self) -> Result<Launched<'a>, LaunchError> {
        let sources = open::sources(self.sources, (self.root, self.root_mount), self.cgroup)?;
        open::check_joined(self.sources, &sources, self.steps)?;
        self.opened.map_or(Ok(()), |opened| opened(&sources))?;
        let sysctls = self.steps.iter().any(|step| matches!(step, Step::Sysctl(..)));
        let shelf = Shelf::of(self.steps, &sources);
        let proc_sys = sysctls.then(open::proc_sys).transpose()?;
        let proc = self.steps.iter().any(Step::needs_proc).then(open::proc).transpose()?;
        let hooks: Vec<Hook<'_>> = self.steps.iter().filter_map(as_hook).collect();
        let args = StringArray::new(self.program.args.clone());
        let env = StringArray::new(self.program.env.clone());
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .during("socketpair")?;
        let cargo = Cargo {
            steps: self.steps,
            sources: &sources,
            shelved: shelf.as_ref().map_or(&[], |shelf| &shelf.trees),
            socket: theirs.as_fd(),
            parents: [Some(ours.as_fd()), self.lock],
            listener: self.listener,
            proc: proc.as_ref().map(|fd| fd.as_fd()),
            proc_sys: proc_sys.as_ref().map(|fd| fd.as_fd()),
            container: self.container,
            hooks: &hooks,
            hook_states: self.hook_states,
            program: self.program,
            args: &args,
            env: &env,
            clock: self.clock,
        };
        let devices = self.net_devices.map(FoundDevices::new).transpose()?.flatten();
        let child = self.spawn(&sources, || {
            if let Some(clock) = self.clock {
                clock.begin();
            }
            child::run(&cargo)
        })?;
        fault::point("clone3");
        let pid = child.pid;
        let conversation = Conversation::new(ours, self.steps, self.resource_limits);
        // From here on a failure drops, and so kills, the child.
        let mut launched = Launched { child: Some(child), conversation, devices: None, _shelf: shelf };
        self.serve_newborn(pid)?;
        if matches!(self.steps.first(), Some(Step::AwaitParent)) {
            if let Some(devices) = devices {
                launched.devices = Some(self.move_devices(devices, &sources, pid)?);
            }
            fault::point("what only the parent can do");
            launched.conversation.proceed()?;
            fault::point("Proceed");
        }
        Ok(launched)
    }

    fn spawn(&self, sources: &[OnceCell<OwnedFd>], body: impl FnOnce() -> i32) -> Result<Child, LaunchError> {
        let _score = match self.oom_score_adj {
            Some(value) if self.inherits_score() => Some(LentScore::new(value)?),
            _ => None,
        };
        let _cpus = self.initial_cpus.map(LentCpus::new).transpose()?;
        let joins = self.namespaces.around_clone.iter().chain(&self.namespaces.through);
        if joins.into_iter().any(|(kind, _)| *kind == Kind::Pid) {
            // Processes that are in that namespace already see the child before it has given up its
            // privileges: none of them may trace it or look into it. execve(2) ends that.
            let behavior = rustix::process::DumpableBehavior::NotDumpable;
            rustix::process::set_dumpable_behavior(behavior).during("prctl PR_SET_DUMPABLE")?;
        }
        let arguments = CloneArguments { flags: self.namespaces.clone_flags, cgroup: self.cgroup };
        // The child finds the root file system as its working directory: in its own mount namespace,
        // and whoever may walk the path to it.
        let _directory = self.root.map(|(_, root)| WorkingDirectory::enter(root)).transpose()?;
        let file = |id: &crate::plan::step::SourceId| sources.get(id.0)?.get().map(|fd| fd.as_fd());
        let through: Vec<_> =
            self.namespaces.through.iter().filter_map(|(kind, id)| Some((*kind, file(id)?))).collect();
        if !through.is_empty() {
            return stage::spawn_through(&through, arguments, body);
        }
        let mut visits = Vec::new();
        for (kind, id) in &self.namespaces.around_clone {
            if let Some(file) = file(id) {
                visits.push(Visit::enter(*kind, file)?);
            }
        }
        let child = spawn(arguments, body);
        // Home again before anything else happens in this process.
        drop(visits);
        child.map_err(|error| LaunchError::Clone { error })
    }

    /// Is the child out of the reach of an unprivileged parent as soon as it is born? It is hidden
    /// from those in the PID namespace that it is born into.
    fn inherits_score(&self) -> bool {
        matches!(self.namespaces.through.as_slice(), [(Kind::User, _), _, ..])
    }

    fn move_devices(
        &self,
        devices: FoundDevices<'_>,
        sources: &[OnceCell<OwnedFd>],
        pid: i32,
    ) -> Result<MovedDevices, LaunchError> {
        let joined = self.net_devices.and_then(|plan| sources.get(plan.joined?.0)?.get());
        match joined {
            Some(namespace) => devices.move_to(namespace.as_fd()),
            None => devices.move_to(net_devices::open_namespace(&format!("/proc/{pid}/ns/net"))?.as_fd()),
        }
    }

    /// What only the parent can do for a new process.
    fn serve_newborn(&self, pid: i32) -> Result<(), LaunchError> {
        if let Some(mappings) = &self.namespaces.mappings {
            mapping::write(pid, mappings)?;
        }
        if let Some(newborn) = self.newborn {
            newborn(pid)?;
        }
        if let Some(value) = self.oom_score_adj.filter(|_| !self.inherits_score()) {
            std::fs::write(format!("/proc/{pid}/oom_score_adj"), value.to_string())
                .map_err(|error| LaunchError::OomScoreAdj { value, error })?;
        }
        Ok(())
    }
}

/// An oom_score_adj that this process takes on so that its child is born with it.
struct LentScore {
    file: std::fs::File,
    before: String,
}

impl LentScore {
    fn new(value: i32) -> Result<Self, LaunchError> {
        let lend = || {
            let mut file =
                std::fs::File::options().read(true).write(true).open("/proc/self/oom_score_adj")?;
            let mut before = String::new();
            file.read_to_string(&mut before)?;
            file.write_all(value.to_string().as_bytes())?;
            Ok(Self { file, before })
        };
        lend().map_err(|error| LaunchError::OomScoreAdj { value, error })
    }
}

impl Drop for LentScore {
    fn drop(&mut self) {
        let _ = self.file.write_all(self.before.trim_end().as_bytes());
    }
}

/// CPUs that this process takes on so that its child is born with them.
struct LentCpus {
    before: Vec<u64>,
}

impl LentCpus {
    fn new(cpus: &IndexSet) -> Result<Self, LaunchError> {
        let mut before = IndexSet::all().words().to_vec();
        tuning::affinity(&mut before).during("sched_getaffinity")?;
        tuning::set_affinity(cpus.words())
            .map_err(|error| LaunchError::Cpus { cpus: cpus.to_string(), error })?;
        Ok(Self { before })
    }
}

impl Drop for LentCpus {
    fn drop(&mut self) {
        let _ = tuning::set_affinity(&self.before);
    }
}

fn as_hook(step: &Step) -> Option<Hook<'_>> {
    match step {
        Step::Hook(hook) => Some(Hook::new(hook)),
        _ => None,
    }
}

/// A working directory that is left again.
struct WorkingDirectory {
    before: OwnedFd,
}

impl WorkingDirectory {
    fn enter(directory: BorrowedFd<'_>) -> Result<Self, LaunchError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let before = rustix::fs::open(c".", flags, Mode::empty()).during("open the working directory")?;
        rustix::process::fchdir(directory).during("fchdir")?;
        Ok(Self { before })
    }
}

impl Drop for WorkingDirectory {
    fn drop(&mut self) {
        let _ = rustix::process::fchdir(&self.before);
    }
}

/// A namespace that this process visits so that its child is born there.
pub(super) struct Visit {
    kind: Kind,
    home: OwnedFd,
}

impl Visit {
    pub(super) fn enter(kind: Kind, file: BorrowedFd<'_>) -> Result<Self, LaunchError> {
        let path = format!("/proc/self/ns/{}", kind.file());
        let home = rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let home = home.during("open").map_err(|failure| LaunchError::Open { what: path, failure })?;
        join::namespace(file, kind).map_err(|failure| LaunchError::Join { kind, error: failure.errno })?;
        Ok(Self { kind, home })
    }
}

impl Drop for Visit {
    /// Back to a namespace that this process came from: nothing that setns(2) could refuse.
    fn drop(&mut self) {
        let _ = join::namespace(self.home.as_fd(), self.kind);
    }
}

/// The child of a launch until its program runs. Dropped before that, it is killed.
#[derive(Debug)]
pub struct Launched<'a> {
    child: Option<Child>,
    conversation: Conversation<'a>,
    /// Dropped after the child is killed, they go back.
    devices: Option<MovedDevices>,
    /// The child clones trees from it.
    _shelf: Option<Shelf>,
}

impl Launched<'_> {
    /// Its pid in this PID namespace.
    pub fn pid(&self) -> i32 {
        self.child.as_ref().map_or(0, |child| child.pid)
    }

    /// A descriptor of it.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.child.as_ref().map(|child| child.pidfd.as_fd())
    }

    /// Tells the child that it is on disk: from now on it may outlive this process.
    pub fn recorded(&self) -> Result<(), LaunchError> {
        self.conversation.say(Message::Recorded)
    }

    /// Answers the child until its program runs or it waits for `start`; then it is on its own.
    pub fn converse(
        mut self,
        signals: &Signals,
        answers: &mut Answers<'_>,
    ) -> Result<(Child, Outcome), LaunchError> {
        let pid = self.pid();
        let outcome = self.conversation.converse(Some(signals), pid, answers);
        match (outcome, self.child.take()) {
            (Ok(Outcome::Ended), Some(child)) => Err(LaunchError::Died { how: how_it_ended(&child) }),
            (Ok(outcome), Some(child)) => {
                if let Some(devices) = self.devices.take() {
                    devices.keep();
                }
                Ok((child, outcome))
            }
            (Err(error), child) => {
                self.child = child;
                Err(error)
            }
            (Ok(_), None) => Err(LaunchError::Protocol { error: Errno::CHILD }),
        }
    }
}

impl Drop for Launched<'_> {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
            let _ = child.wait();
        }
    }
}

fn how_it_ended(child: &Child) -> String {
    match child.wait() {
        Ok(status) => match (status.terminating_signal(), status.exit_status()) {
            (Some(9), _) => "killed by signal 9 (by someone, or out of memory)".into(),
            (Some(signal), _) => format!("killed by signal {signal}"),
            (None, code) => format!("exit status {}", code.unwrap_or_default()),
        },
        Err(errno) => format!("waitid: {errno}"),
    }
}

/// How a conversation ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The container waits for `start`.
    Created,
    /// The program runs.
    Running,
    /// The process is gone before its program ran.
    Ended,
}

/// What the caller does for the child on request.
pub struct Answers<'h> {
    /// prestart and createRuntime hooks.
    pub runtime_hooks: &'h mut dyn FnMut(&Signals) -> Result<(), LaunchError>,
    /// Takes the terminal's master.
    pub terminal: &'h mut dyn FnMut(OwnedFd) -> Result<(), LaunchError>,
    /// Takes the seccomp filter's listener.
    pub listener: &'h mut dyn FnMut(OwnedFd) -> Result<(), LaunchError>,
}

/// The parent's (or `start`'s) end of the socket, and what may still come.
#[derive(Debug)]
pub struct Conversation<'a> {
    socket: OwnedFd,
    expected: Expected,
    limits: &'a [ResourceLimit],
}

impl<'a> Conversation<'a> {
    /// A conversation about these steps.
    pub fn new(socket: OwnedFd, steps: &[Step], limits: &'a [ResourceLimit]) -> Self {
        Self { socket, expected: Expected::of(steps), limits }
    }

    /// Tells the child to go on.
    pub fn proceed(&self) -> Result<(), LaunchError> {
        self.say(Message::Proceed)
    }

    fn say(&self, message: Message) -> Result<(), LaunchError> {
        match protocol::send(self.socket.as_fd(), message) {
            // The child is gone; why, its last words say.
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(error) => Err(LaunchError::Protocol { error }),
        }
    }

    /// Answers until the program runs, the container waits for `start`, or the child is gone.
    pub fn converse(
        &mut self,
        signals: Option<&Signals>,
        pid: i32,
        answers: &mut Answers<'_>,
    ) -> Result<Outcome, LaunchError> {
        let mut executing = false;
        loop {
            await_message(self.socket.as_fd(), signals)?;
            let received = protocol::receive(self.socket.as_fd());
            let (message, fd) = match received.map_err(|error| LaunchError::Protocol { error })? {
                Received::Message(message, fd) => (message, fd),
                Received::Failed { errno, text } => {
                    return Err(LaunchError::Child(ChildError { errno, text }));
                }
                Received::End if executing && self.expected.is_over() => return Ok(Outcome::Running),
                Received::End => return Ok(Outcome::Ended),
            };
            self.expected.take(message).map_err(|error| LaunchError::Protocol { error })?;
            match message {
                Message::RuntimeHooks => {
                    if let Some(signals) = signals {
                        (answers.runtime_hooks)(signals)?;
                    }
                    self.proceed()?;
                }
                Message::Terminal => {
                    let master = fd.ok_or(LaunchError::Protocol { error: Errno::PROTO })?;
                    (answers.terminal)(master)?;
                }
                Message::ResourceLimits => {
                    for limit in self.limits {
                        crate::sys::process::set_resource_limit(pid, limit.resource, limit.soft, limit.hard)
                            .map_err(|error| LaunchError::ResourceLimit { name: limit.name, error })?;
                    }
                    self.proceed()?;
                }
                Message::Created => return Ok(Outcome::Created),
                Message::Executing => executing = true,
                Message::Listener => {
                    let listener = fd.ok_or(LaunchError::Protocol { error: Errno::PROTO })?;
                    (answers.listener)(listener)?;
                }
                Message::Proceed | Message::Recorded | Message::Failed => {
                    return Err(LaunchError::Protocol { error: Errno::PROTO });
                }
            }
        }
    }
}

/// Waits for the child's next word, for a signal that ends the command, or for a deadline.
fn await_message(socket: BorrowedFd<'_>, signals: Option<&Signals>) -> Result<(), LaunchError> {
    let Some(signals) = signals else { return Ok(()) };
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(socket, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        let left = signals.left();
        let left =
            left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        match poll(&mut fds, left.as_ref()) {
            Ok(0) => return Err(LaunchError::Late),
            // The child's word first: if its program runs by now, the signal is the program's.
            Ok(_) if !fds[0].revents().is_empty() => return Ok(()),
            Ok(_) if !fds[1].revents().is_empty() => {
                if let Some(signal) = signals.ending() {
                    return Err(LaunchError::Interrupted { signal });
                }
            }
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(LaunchError::Protocol { error }),
        }
    }
}
