//! The process that starts programs and waits for them.
//!
//! It is forked while the caller is still small and has little memory of its own: ru_maxrss of wait4(2)
//! begins with the high-water mark of the memory that execve(2) has replaced, and with posix_spawn(3)
//! that is the memory of the process which called it. So no peak below [`Spawner::peak`] can be seen,
//! and whatever the caller allocates is not in any. Time runs from before posix_spawn(3), which copies
//! no memory, to the return of wait4(2).
//!
//! A request is the length of what follows and, for each program, the number of its words and the words
//! with a NUL each. An answer is the spawner's own peak and five numbers a program, in the same order.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;

use super::BenchError;
use crate::launch::Signals;
use crate::sys::During;
use crate::sys::process::{StringArray, close_inherited, kill};
use crate::sys::spawn::{Waited, fork, own_peak, spawn, wait_any};

/// Marks an errno of posix_spawn(3) or wait4(2) in the place of a status.
const NOT_STARTED: u64 = 1 << 32;
/// How long the spawner may take to answer once all its programs are killed.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// What one program cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Nanoseconds from posix_spawn(3) to the return of wait4(2).
    pub wall: u64,
    /// Microseconds in user mode, of it and of all that it waited for.
    pub user: u64,
    /// Microseconds in the kernel, the same.
    pub system: u64,
    /// The largest resident set of one of these processes, in KiB.
    pub peak: u64,
}

/// A program that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// What it cost.
    pub cost: Cost,
    /// Its status, as wait(2) has it; or why it was not started.
    pub status: Result<i32, Errno>,
}

/// The caller's end.
#[derive(Debug)]
pub struct Spawner {
    socket: UnixStream,
    pid: i32,
    peak: u64,
    /// Where all programs' stderr goes.
    stderr: File,
    signals: Signals,
}

impl Spawner {
    /// Forks it. From now on signals that would end this process are answered between two requests.
    pub fn start() -> Result<Self, BenchError> {
        let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let signals = Signals::block()?;
        let stderr =
            File::from(rustix::fs::memfd_create(c"stderr", MemfdFlags::CLOEXEC).during("memfd_create")?);
        rustix::fs::fcntl_setfl(&stderr, rustix::fs::OFlags::APPEND).during("fcntl F_SETFL")?;
        let null = File::options().read(true).write(true).open("/dev/null");
        let null = null.map_err(errno).during("open /dev/null")?;
        let (socket, theirs) = UnixStream::pair().map_err(errno).during("socketpair")?;
        let pid = fork(|| {
            close_inherited(socket.as_fd());
            let streams = rustix::stdio::dup2_stdin(&null)
                .and_then(|()| rustix::stdio::dup2_stdout(&null))
                .and_then(|()| rustix::stdio::dup2_stderr(&stderr));
            match streams {
                Ok(()) => serve(&theirs),
                Err(_) => 1,
            }
        })
        .during("fork")?;
        Ok(Self { socket, pid, peak: 0, stderr, signals })
    }

    /// The high-water mark of its own memory in KiB, as of the last request.
    pub fn peak(&self) -> u64 {
        self.peak
    }

    /// Starts all of `commands`, one after the other, and waits until all have ended or the time is over.
    pub fn run(&mut self, commands: &[Vec<CString>], limit: Duration) -> Result<Vec<Ended>, BenchError> {
        let _ = self.stderr.set_len(0);
        self.socket.write_all(&request(commands)).map_err(|_| BenchError::Lost)?;
        let seen = self.wait(limit, true)?;
        if !matches!(seen, Seen::Answer) {
            self.kill_children();
            self.wait(AFTER_KILL, false)?;
        }
        let ended = self.answer(commands.len())?;
        match seen {
            Seen::Answer => Ok(ended),
            Seen::Signal(number) => Err(BenchError::Interrupted(number)),
            Seen::Nothing => {
                let killed =
                    |ended: &Ended| matches!(ended.status, Ok(status) if status & 0x7f == libc::SIGKILL);
                let at = ended.iter().position(killed).unwrap_or_default();
                let command = commands.get(at).map(|words| in_words(words)).unwrap_or_default();
                Err(BenchError::TimedOut { command, seconds: limit.as_secs() })
            }
        }
    }

    /// The first line that is not empty on the stderr of the last request's programs.
    pub fn complaint(&self) -> Option<String> {
        let mut bytes = vec![0; 4096];
        let length = self.stderr.read_at(&mut bytes, 0).ok()?;
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
    }

    /// Waits for the answer; where `signals` says so, for a signal that ends this process, too.
    fn wait(&self, limit: Duration, signals: bool) -> Result<Seen, BenchError> {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
            let mut files = [
                PollFd::new(&self.socket, PollFlags::IN),
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            ];
            let watched = if signals { &mut files[..] } else { &mut files[..1] };
            match poll(watched, Some(&timeout)) {
                Ok(0) if signals => return Ok(Seen::Nothing),
                Ok(0) => return Err(BenchError::Lost),
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return Err(BenchError::Lost),
            }
            if !files[0].revents().is_empty() {
                return Ok(Seen::Answer);
            }
            // Others, SIGCHLD for one, end nothing.
            if let Some(number) = self.signals.ending() {
                return Ok(Seen::Signal(number));
            }
        }
    }

    fn answer(&mut self, count: usize) -> Result<Vec<Ended>, BenchError> {
        let mut bytes = vec![0; 8 * (1 + 5 * count)];
        self.socket.read_exact(&mut bytes).map_err(|_| BenchError::Lost)?;
        let (numbers, _) = bytes.as_chunks::<8>();
        let numbers: Vec<u64> = numbers.iter().map(|number| u64::from_ne_bytes(*number)).collect();
        self.peak = numbers[0];
        let (programs, _) = numbers[1..].as_chunks::<5>();
        Ok(programs.iter().map(Ended::of).collect())
    }

    /// Ends the programs that run, not those that these have started: their runtime is asked to.
    fn kill_children(&self) {
        let path = format!("/proc/{0}/task/{0}/children", self.pid);
        let children = std::fs::read_to_string(path).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = kill(child, libc::SIGKILL);
        }
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid) {
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        }
    }
}

/// What [`Spawner::wait`] has seen.
enum Seen {
    Answer,
    Signal(u32),
    Nothing,
}

impl Ended {
    fn of(numbers: &[u64; 5]) -> Self {
        let [wall, user, system, peak, status] = *numbers;
        let status = match status & NOT_STARTED {
            0 => Ok(status as i32),
            _ => Err(Errno::from_raw_os_error((status & !NOT_STARTED) as i32)),
        };
        Self { cost: Cost { wall, user, system, peak }, status }
    }
}

/// The words of a command as a person would write them.
pub(super) fn in_words(command: &[CString]) -> String {
    command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn request(commands: &[Vec<CString>]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for words in commands {
        bytes.extend((words.len() as u32).to_ne_bytes());
        words.iter().for_each(|word| bytes.extend(word.as_bytes_with_nul()));
    }
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes
}

/// The commands of a request, without its length; None where that is none.
fn commands(mut bytes: &[u8]) -> Option<Vec<StringArray>> {
    let mut commands = Vec::new();
    while let Some((count, rest)) = bytes.split_first_chunk::<4>() {
        bytes = rest;
        let mut words = Vec::new();
        for _ in 0..u32::from_ne_bytes(*count) {
            let word = CStr::from_bytes_until_nul(bytes).ok()?;
            bytes = &bytes[word.count_bytes() + 1..];
            words.push(word.to_owned());
        }
        commands.push(StringArray::new(words));
    }
    Some(commands)
}

/// The spawner's life: requests until the other end is closed. Its result is its exit status.
fn serve(socket: &UnixStream) -> i32 {
    let mut socket = socket;
    loop {
        let mut length = [0; 4];
        if socket.read_exact(&mut length).is_err() {
            return 0;
        }
        let mut bytes = vec![0; u32::from_ne_bytes(length) as usize];
        if socket.read_exact(&mut bytes).is_err() {
            return 1;
        }
        let Some(commands) = commands(&bytes) else { return 1 };
        let ended = perform(&commands);
        let numbers = std::iter::once(own_peak()).chain(ended.into_iter().flatten());
        let answer: Vec<u8> = numbers.flat_map(u64::to_ne_bytes).collect();
        if socket.write_all(&answer).is_err() {
            return 1;
        }
    }
}

/// Starts the programs and waits for all of them: wall time, user, system, peak, status of each.
fn perform(commands: &[StringArray]) -> Vec<[u64; 5]> {
    let mut ended = vec![[0; 5]; commands.len()];
    let mut running = Vec::with_capacity(commands.len());
    for (at, command) in commands.iter().enumerate() {
        let begin = Instant::now();
        let path = command.strings().first().map_or(c"", CString::as_c_str);
        match spawn(path, command) {
            Ok(pid) => running.push((pid, at, begin)),
            Err(errno) => ended[at][4] = NOT_STARTED | errno.raw_os_error() as u64,
        }
    }
    while !running.is_empty() {
        let Waited { pid, status, user, system, peak } = match wait_any() {
            Ok(waited) => waited,
            Err(Errno::INTR) => continue,
            // Somebody else has taken their ends away: they count as failed.
            Err(errno) => {
                running
                    .iter()
                    .for_each(|&(_, at, _)| ended[at][4] = NOT_STARTED | errno.raw_os_error() as u64);
                break;
            }
        };
        let end = Instant::now();
        if let Some(found) = running.iter().position(|(running, ..)| *running == pid) {
            let (_, at, begin) = running.swap_remove(found);
            let wall = end.duration_since(begin).as_nanos() as u64;
            ended[at] = [wall, user, system, peak, status as u32 as u64];
        }
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn command(words: &[&str]) -> Vec<CString> {
        words.iter().map(|word| CString::new(*word).unwrap()).collect()
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let written = [command(&["/bin/true"]), command(&["a", "", "c d"])];
        let read = commands(&request(&written)[4..]).unwrap();
        assert_eq!(read.iter().map(|words| words.strings().to_vec()).collect::<Vec<_>>(), written);
        assert!(commands(&[1, 0, 0, 0, b'a']).is_none());
    }

    #[test]
    fn status_and_time_are_those_of_each_program() {
        let mut spawner = Spawner::start().unwrap();
        let scripts = ["exit 3", "sleep 0.2", "kill -9 $$"].map(|script| command(&["/bin/sh", "-c", script]));
        let ended = spawner.run(&scripts, LIMIT).unwrap();
        let statuses: Vec<i32> = ended.iter().map(|ended| ended.status.unwrap()).collect();
        assert_eq!(statuses, [3 << 8, 0, 9]);
        assert!(ended[1].cost.wall >= 200_000_000, "{ended:?}");
    }

    #[test]
    fn processor_time_of_what_a_program_has_waited_for_is_its_own() {
        let mut spawner = Spawner::start().unwrap();
        let busy = "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done'; exit";
        let ended = spawner.run(&[command(&["/bin/sh", "-c", busy])], LIMIT).unwrap();
        let Cost { user, system, .. } = ended[0].cost;
        assert!(user + system > 20_000, "{ended:?}");
    }

    #[test]
    fn a_peak_is_the_programs_and_not_the_callers() {
        let mut spawner = Spawner::start().unwrap();
        // Every page is written to.
        let large = vec![1_u8; 128 << 20];
        let block = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=32M", "count=1"];
        let ended = spawner.run(&[command(&["/bin/true"]), command(&block)], LIMIT).unwrap();
        assert!(large.iter().step_by(4096).all(|&byte| byte == 1));
        let [small, read] = [ended[0], ended[1]].map(|ended| ended.cost.peak);
        assert!(small < 64 << 10, "{small} KiB, of which the spawner {}", spawner.peak());
        assert!((1..64 << 10).contains(&spawner.peak()), "{}", spawner.peak());
        assert!((32 << 10..64 << 10).contains(&read), "{read} KiB");
    }

    #[test]
    fn what_cannot_be_started_says_why_and_the_others_run() {
        let mut spawner = Spawner::start().unwrap();
        let ended = spawner.run(&[command(&["/nowhere/true"]), command(&["/bin/true"])], LIMIT).unwrap();
        assert_eq!(ended[0].status, Err(Errno::NOENT));
        assert_eq!(ended[1].status, Ok(0));
    }

    #[test]
    fn the_first_line_on_stderr_is_kept_until_the_next_request() {
        let mut spawner = Spawner::start().unwrap();
        let script = "echo; echo first >&2; echo second >&2; exit 1";
        spawner.run(&[command(&["/bin/sh", "-c", script])], LIMIT).unwrap();
        assert_eq!(spawner.complaint().as_deref(), Some("first"));
        spawner.run(&[command(&["/bin/true"])], LIMIT).unwrap();
        assert_eq!(spawner.complaint(), None);
    }

    #[test]
    fn what_hangs_is_killed_and_named() {
        let mut spawner = Spawner::start().unwrap();
        let commands = [command(&["/bin/true"]), command(&["/bin/sleep", "1000"])];
        // Long enough for the first of them, also on a busy machine.
        let error = spawner.run(&commands, Duration::from_secs(6)).unwrap_err();
        assert_eq!(error.to_string(), "/bin/sleep 1000 has not ended after 6 s and was killed");
        assert_eq!(spawner.run(&commands[..1], LIMIT).unwrap()[0].status, Ok(0));
    }
}
