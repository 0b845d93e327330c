//! The child's half of a launch: performs the plan's steps and becomes the program.
//!
//! Runs between clone3(2) and execve(2) on a copy of the parent's memory: it must not allocate, take
//! a lock, log or panic. What it needs was laid out before the clone, in [`Cargo`]. Its other half is
//! [`super::parent`]; what they say to each other is drawn in [`super::protocol`].

use std::cell::OnceCell;
use std::ffi::{CStr, CString};
use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::hooks::Hook;
use super::order;
use super::protocol::{self, Message};
use super::timings::Clock;
use crate::fault;
use crate::plan::Program;
use crate::plan::step::{Credentials, FilterStep, HookStep, SourceId, Step, TargetKind};
use crate::process;
use crate::rootfs::{devices, links, mask, mount, pins, pivot, resolve, terminal};
use crate::sys::process::{self as own, StringArray};
use crate::sys::{During, Failure};
use crate::text::{FixedText, Text};

/// Everything the child uses, laid out before the clone.
pub struct Cargo<'a> {
    /// What it does.
    pub steps: &'a [Step],
    /// What the parent has opened, by [`SourceId`], and slots for the trees that the child opens.
    pub sources: &'a [OnceCell<OwnedFd>],
    /// Those of them that are cloned again when they are mounted: see [`order`].
    pub shelved: &'a [usize],
    /// Its own end of the socket pair.
    pub socket: BorrowedFd<'a>,
    /// What is the parent's alone, closed first: its end of the pair, since a dead parent must read as
    /// an end of file, and the lock that it holds.
    pub parents: [Option<BorrowedFd<'a>>; 2],
    /// The listening socket that `start` connects to.
    pub listener: Option<BorrowedFd<'a>>,
    /// The host's /proc, for what the child writes about itself.
    pub proc: Option<BorrowedFd<'a>>,
    /// The host's /proc/sys, for sysctls.
    pub proc_sys: Option<BorrowedFd<'a>>,
    /// The running container to join, for exec: its init's pidfd and its root.
    pub container: Option<(BorrowedFd<'a>, Option<BorrowedFd<'a>>)>,
    /// The hooks among the steps, in order.
    pub hooks: &'a [Hook<'a>],
    /// State for createContainer hooks and for startContainer hooks.
    pub hook_states: Option<(BorrowedFd<'a>, BorrowedFd<'a>)>,
    /// Where the program is looked for, and its name.
    pub program: &'a Program,
    /// argv.
    pub args: &'a StringArray,
    /// Environment.
    pub env: &'a StringArray,
    /// Where each step's end is noted for `--timings`.
    pub clock: Option<&'a Clock>,
}

/// Runs the child; returns only if it failed, with its exit status.
pub fn run(cargo: &Cargo<'_>) -> i32 {
    crate::rootfs::execve_follows();
    own::default_signals();
    for descriptor in cargo.parents.into_iter().flatten() {
        own::close_inherited(descriptor);
    }
    let inherited = rustix::process::umask(Mode::empty());
    let mut child = Child::new(cargo, inherited);
    let (steps, filter) = match cargo.steps.split_last() {
        Some((step @ Step::Seccomp(filter), before)) => (before, Some((step, filter))),
        _ => (cargo.steps, None),
    };
    for (index, step) in steps.iter().enumerate() {
        if let Err(failed) = child.perform(step) {
            child.report(step, failed);
            return 1;
        }
        if let Some(clock) = cargo.clock {
            clock.step_ended(index);
        }
        fault::child_point(child.socket());
    }
    if let Some(clock) = cargo.clock {
        clock.publish();
    }
    if protocol::send(child.socket(), Message::Executing).is_ok() {
        if let Some((step, filter)) = filter
            && let Err(failure) = child.load_filter(filter)
        {
            child.report(step, failure.into());
            return 1;
        }
        child.report_program(child.execute());
    }
    255
}

/// Why a step failed.
enum Failed {
    Call(Failure),
    Hook(crate::launch::hooks::HookError),
    Program(Errno),
    Outside,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self::Call(failure)
    }
}

struct Child<'a> {
    cargo: &'a Cargo<'a>,
    /// The container's root: a source's tree, or what was opened or mounted over it.
    root: Option<BorrowedFd<'a>>,
    own_root: Option<OwnedFd>,
    /// Is the host's tree gone already?
    left_host: bool,
    devices: devices::Directory<'a>,
    pins: pins::Pins<'a>,
    masks: mask::Masks,
    hooks: std::slice::Iter<'a, Hook<'a>>,
    started: Option<OwnedFd>,
    /// Did the parent say Recorded?
    recorded: bool,
    /// The parent's: its own is 0, so that files get the modes that they are made with.
    umask: Mode,
}

impl<'a> Child<'a> {
    fn new(cargo: &'a Cargo<'a>, umask: Mode) -> Self {
        Self {
            cargo,
            root: None,
            own_root: None,
            left_host: false,
            devices: devices::Directory::default(),
            pins: pins::Pins::default(),
            masks: mask::Masks::default(),
            hooks: cargo.hooks.iter(),
            started: None,
            recorded: false,
            umask,
        }
    }

    /// The socket of whoever listens: the parent, or `start` once it has connected.
    fn socket(&self) -> BorrowedFd<'_> {
        self.started.as_ref().map_or(self.cargo.socket, |socket| socket.as_fd())
    }

    fn source(&self, id: SourceId) -> Result<BorrowedFd<'a>, Failure> {
        let source = self.cargo.sources.get(id.0);
        let opened = source.and_then(OnceCell::get).map(AsFd::as_fd);
        opened.ok_or(Errno::BADF).during("source that was not opened")
    }

    fn open_tree(&self, id: SourceId, path: &CStr, recursive: bool, follow: bool) -> Result<(), Failure> {
        let tree = super::open::tree(path, recursive, follow).map_err(|failure| match failure.errno {
            Errno::INVAL if !recursive => {
                Failure { operation: "open_tree (mounts below it cannot be left out: use rbind)", ..failure }
            }
            _ => failure,
        })?;
        let slot = self.cargo.sources.get(id.0).ok_or(Errno::BADF).during("open_tree (no slot for it)")?;
        slot.set(tree).map_err(|_| Errno::EXIST).during("open_tree (its slot is taken)")
    }

    fn perform(&mut self, step: &'a Step) -> Result<(), Failed> {
        match step {
            Step::AwaitParent => self.await_proceed().during("wait")?,
            Step::AwaitRecord => self.await_record().during("wait")?,
            Step::JoinNamespace(kind, source) => process::join::namespace(self.source(*source)?, *kind)?,
            Step::BecomeNamespaceRoot => process::credentials::become_namespace_root()?,
            Step::Unshare(kind) => process::join::unshare(*kind)?,
            Step::TimeOffsets(offsets) => process::time::enter_with_offsets(self.cargo.proc, offsets)?,
            Step::LoopbackUp => own::bring_up_loopback()?,
            Step::NewSession => drop(rustix::process::setsid().during("setsid")?),
            Step::NewKeyring(name) => new_keyring(name)?,
            Step::Hostname(name) => rustix::system::sethostname(name.to_bytes()).during("sethostname")?,
            Step::Domainname(name) => {
                rustix::system::setdomainname(name.to_bytes()).during("setdomainname")?
            }
            Step::OpenTree { source, path, recursive, follow } => {
                self.open_tree(*source, path.as_deref().unwrap_or(c"."), *recursive, *follow)?;
            }
            Step::Propagation(flags) => mount::set_propagation(*flags)?,
            Step::LeaveHost => self.left_host = pivot::leave_host()?,
            Step::AttachRoot(source, propagation) => {
                let tree = self.source(*source)?;
                mount::attach_root(tree, *propagation)?;
                self.root = Some(tree);
            }
            Step::EnterRoot(path) => {
                rustix::process::chdir(path.as_c_str()).during("chdir")?;
                self.own_root = Some(open_directory(c".")?);
            }
            Step::Mount(step) => {
                self.devices = devices::Directory::default();
                let source = step.from.source();
                let tree = source.map(|source| self.source(source)).transpose()?;
                let shelved = source.is_some_and(|source| self.cargo.shelved.contains(&source.0));
                let again = tree.filter(|_| shelved).map(order::again).transpose()?;
                let tree = again.as_ref().map(AsFd::as_fd).or(tree);
                let root = root_of(&self.own_root, self.root)?;
                let mounted = mount::perform(self.pins.place(root, &step.target), step, tree)?;
                if let Some(again) = again {
                    crate::rootfs::release(again);
                }
                if mounted.is_some() && mount::covers_root(&step.target) {
                    self.pins.cover(c"/");
                    self.own_root = mounted;
                } else if step.from != crate::plan::step::MountFrom::Existing {
                    self.pins.mounted(step, mounted);
                }
            }
            Step::Device(step) => {
                let tree = step.bind.map(|source| self.source(source)).transpose()?;
                let root = root_of(&self.own_root, self.root)?;
                self.devices.make(self.pins.place(root, &step.path), step, tree)?;
            }
            Step::Symlink(target, path) => {
                let root = root_of(&self.own_root, self.root)?;
                self.devices.link(self.pins.place(root, path), target, path)?;
            }
            Step::CopySymlink(target, path) => links::copy(self.root()?, target, path)?,
            // A visitor's alone: see super::visit.
            Step::Unmount(_) => return Err(Failed::Call(unexpected())),
            Step::RuntimeHooks => self.ask(Message::RuntimeHooks)?,
            Step::Hook(step) => self.hook(step)?,
            Step::Terminal { size, console } => self.terminal(*size, *console)?,
            Step::PivotRoot if self.left_host => pivot::chroot(self.root()?, false)?,
            Step::PivotRoot => pivot::pivot_root(self.root()?)?,
            Step::DropHostMount(path) => pivot::drop_mount(path)?,
            Step::Chroot { move_mount } => pivot::chroot(self.root()?, *move_mount)?,
            Step::Sysctl(path, value) => process::sysctl::write(self.cargo.proc_sys, path, value)?,
            Step::MakeDirectory(path) => {
                drop(resolve::open_or_make(self.root()?, path, TargetKind::Directory)?);
            }
            Step::ReadonlyRoot => pivot::readonly_root()?,
            Step::RootPropagation(flags) => mount::set_propagation(*flags)?,
            Step::ReadonlyPath(path) => mask::readonly(self.pins.place(self.root()?, path))?,
            Step::MaskPath { path, options } => {
                let root = root_of(&self.own_root, self.root)?;
                let null = self.pins.place(root, c"/dev/null");
                self.masks.mask(self.pins.place(root, path), null, options)?;
            }
            Step::WorkingDirectory(path) => {
                rustix::process::chdir(path.as_c_str()).during("chdir")?;
                if !own::working_directory_is_reachable().during("getcwd")? {
                    return Err(Failed::Outside);
                }
            }
            Step::ResourceLimit(limit) => {
                own::set_resource_limit(0, limit.resource, limit.soft, limit.hard).during("prlimit")?;
            }
            Step::ResourceLimitsByParent => self.ask(Message::ResourceLimits)?,
            Step::Label(label) => process::label::apply(self.cargo.proc, label)?,
            Step::Tune(tuning) => process::tuning::apply(tuning)?,
            Step::BoundingSet(keep) => process::credentials::bound(*keep)?,
            Step::Credentials(credentials) => self.credentials(credentials)?,
            Step::CheckExecutable => self.check_executable()?,
            Step::JoinContainer { flags, chroot } => self.join_container(*flags, *chroot)?,
            Step::AwaitStart => self.await_start()?,
            Step::CloseDescriptors(first) => self.close_descriptors(*first)?,
            Step::Seccomp(filter) => self.load_filter(filter)?,
        }
        Ok(())
    }

    fn root(&self) -> Result<BorrowedFd<'_>, Failure> {
        root_of(&self.own_root, self.root)
    }

    fn ask(&mut self, message: Message) -> Result<(), Failure> {
        protocol::send(self.socket(), message).during("send")?;
        self.await_proceed().during("wait")
    }

    /// Waits for Proceed. Recorded may come before it, whenever the parent is that far.
    fn await_proceed(&mut self) -> Result<(), Errno> {
        loop {
            match protocol::await_word(self.socket())? {
                Message::Proceed => return Ok(()),
                Message::Recorded => self.recorded = true,
                _ => return Err(Errno::PROTO),
            }
        }
    }

    /// Waits for Recorded; mostly it is there already, since the parent writes while this process mounts.
    fn await_record(&mut self) -> Result<(), Errno> {
        match self.recorded || protocol::await_word(self.socket())? == Message::Recorded {
            true => Ok(()),
            false => Err(Errno::PROTO),
        }
    }

    fn hook(&mut self, step: &HookStep) -> Result<(), Failed> {
        let (hook, states) = (self.hooks.next(), self.cargo.hook_states);
        let (hook, (create, start)) =
            hook.zip(states).ok_or(Errno::BADF).during("hook that was not laid out")?;
        if step.stage == "startContainer" {
            return hook.run(start, None).map_err(Failed::Hook);
        }
        rustix::process::umask(self.umask);
        let result = hook.run(create, None).map_err(Failed::Hook);
        rustix::process::umask(Mode::empty());
        result
    }

    fn terminal(&self, size: Option<(u16, u16)>, console: bool) -> Result<(), Failure> {
        let (master, slave) = terminal::open(self.root()?, size, console)?;
        protocol::send_terminal(self.socket(), master.as_fd()).during("sendmsg")?;
        terminal::make_controlling(slave.as_fd())
    }

    fn credentials(&self, credentials: &Credentials) -> Result<(), Failure> {
        rustix::process::umask(Mode::from_raw_mode(credentials.umask));
        process::credentials::apply(credentials)
    }

    /// From here on the filter decides what else this process may do.
    fn load_filter(&self, step: &FilterStep) -> Result<(), Failure> {
        let listener =
            crate::sys::seccomp::load(&step.filter.program, step.filter.flags).during("seccomp")?;
        if let Some(listener) = listener {
            protocol::send_listener(self.socket(), listener.as_fd())
                .during("sendmsg (the listener goes to rcrun by it: does the profile allow it?)")?;
            // It closes at execve(2); a call less that the filter has to allow.
            std::mem::forget(listener);
        }
        match &step.drop_to {
            Some(sets) => process::credentials::set_thread_capabilities(sets),
            None => Ok(()),
        }
    }

    fn join_container(&mut self, flags: u64, chroot: bool) -> Result<(), Failure> {
        let (pidfd, root) = self.cargo.container.ok_or(Errno::BADF).during("setns")?;
        process::join::container(pidfd, flags)?;
        if let Some(root) = root.filter(|_| chroot) {
            rustix::process::fchdir(root).during("fchdir")?;
            rustix::process::chroot(c".").during("chroot")?;
        }
        self.own_root = Some(open_directory(c"/")?);
        Ok(())
    }

    /// Reports that the container is created, then serves connections until one says Proceed. One
    /// that only connects was asking whether the container still waits.
    fn await_start(&mut self) -> Result<(), Failure> {
        let listener = self.cargo.listener.ok_or(Errno::BADF).during("accept")?;
        protocol::send(self.socket(), Message::Created).during("send")?;
        loop {
            let connection = match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                result => result.during("accept")?,
            };
            if matches!(protocol::await_word(connection.as_fd()), Ok(Message::Proceed)) {
                own::close_inherited(listener);
                self.started = Some(connection);
                return Ok(());
            }
        }
    }

    /// Closes all but what the next steps need. From then on whoever may look at this process from
    /// within the container, which `exec` lets in before `start`, finds nothing of the host in
    /// /proc/PID/fd.
    fn close_descriptors(&mut self, first: u32) -> Result<(), Failure> {
        std::mem::forget(self.own_root.take());
        std::mem::forget(std::mem::take(&mut self.devices));
        std::mem::forget(std::mem::take(&mut self.masks));
        std::mem::forget(std::mem::take(&mut self.pins));
        self.root = None;
        let (creating, created) = self.cargo.hook_states.unzip();
        let clock = self.cargo.clock.map(Clock::as_fd);
        let kept = [Some(self.cargo.socket), self.cargo.listener, creating, created, clock];
        let mut numbers = kept.map(|fd| fd.map_or(u32::MAX, |fd| fd.as_raw_fd() as u32));
        own::close_all_but(first, &mut numbers).during("close_range")
    }

    fn check_executable(&self) -> Result<(), Failed> {
        let mut denied = false;
        for candidate in &self.cargo.program.candidates {
            let regular = rustix::fs::stat(candidate.as_c_str())
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
            let found = rustix::fs::accessat(
                CWD,
                candidate.as_c_str(),
                rustix::fs::Access::EXEC_OK,
                AtFlags::EACCESS,
            );
            match found {
                Ok(()) if regular => return Ok(()),
                Ok(()) | Err(Errno::ACCESS) => denied = true,
                Err(_) => {}
            }
        }
        Err(Failed::Program(if denied { Errno::ACCESS } else { Errno::NOENT }))
    }

    /// Tries every candidate; what is merely absent does not hide what is there and cannot run.
    fn execute(&self) -> Errno {
        let mut result = Errno::NOENT;
        for candidate in &self.cargo.program.candidates {
            match own::execve(candidate, self.cargo.args, self.cargo.env) {
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS => result = Errno::ACCESS,
                errno => return errno,
            }
        }
        result
    }

    fn report(&self, step: &Step, failed: Failed) {
        let mut text = FixedText::new();
        let errno = match &failed {
            Failed::Program(errno) => return self.report_program(*errno),
            Failed::Call(failure) => {
                let _ = write!(text, "{step}: {}", failure.operation);
                if !failure.note.as_str().is_empty() {
                    let _ = write!(text, ": {}", failure.note.as_str());
                }
                failure.errno.raw_os_error()
            }
            Failed::Hook(error) => {
                let _ = write!(text, "{step}: ");
                let _ = error.write_reason(&mut text);
                error.errno()
            }
            Failed::Outside => {
                let _ = write!(text, "{step}: the directory is outside of the container's root file system");
                0
            }
        };
        let _ = protocol::send_failure(self.socket(), errno, &text);
    }

    /// The words that podman and docker look for, to exit with 127 and 126: docker in small letters only.
    fn report_program(&self, errno: Errno) {
        let mut text = FixedText::new();
        let name: &CStr = self.cargo.program.args.first().map_or(c"", CString::as_c_str);
        let _ = write!(text, "exec \"{}\": ", Text(name));
        let path = self.cargo.program.candidates.first().filter(|_| name.to_bytes().contains(&b'/'));
        let mut number = errno.raw_os_error();
        let _ = match (errno, path) {
            (Errno::NOENT, None) => {
                number = 0;
                text.write_str("executable file not found in $PATH")
            }
            (Errno::NOENT, Some(path)) => {
                number = 0;
                let missing = if rustix::fs::stat(path.as_c_str()).is_ok() {
                    "its interpreter or loader: "
                } else {
                    ""
                };
                write!(text, "{missing}no such file or directory")
            }
            (Errno::ACCESS, _) => {
                number = 0;
                text.write_str("permission denied")
            }
            (Errno::NOEXEC, _) => text.write_str("a program of another architecture, or a script without #!"),
            _ => text.write_str("execve"),
        };
        let _ = protocol::send_failure(self.socket(), number, &text);
    }
}

fn root_of<'r>(own: &'r Option<OwnedFd>, tree: Option<BorrowedFd<'r>>) -> Result<BorrowedFd<'r>, Failure> {
    own.as_ref().map(AsFd::as_fd).or(tree).ok_or(Errno::BADF).during("root file system that was not entered")
}

fn unexpected() -> Failure {
    Failure { operation: "perform", errno: Errno::NOSYS, note: crate::sys::Note::default() }
}

fn open_directory(path: &CStr) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).during("openat")
}

/// A kernel without keyrings has none to share either.
fn new_keyring(name: &CStr) -> Result<(), Failure> {
    // All for its possessor; view, read, search and link for its user: a new one has no search, and
    // `exec` would not find it.
    const PERMISSIONS: u32 = 0x3f1b_0000;
    match own::join_session_keyring(name) {
        Ok(serial) => own::set_key_permissions(serial, PERMISSIONS).during("keyctl KEYCTL_SETPERM"),
        Err(Errno::NOSYS) => Ok(()),
        Err(errno) => Err(errno).during("keyctl (--no-new-keyring does without)"),
    }
}
