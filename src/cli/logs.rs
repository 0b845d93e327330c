//! `logs`: what a container in the background has written.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};

use anyhow::Context as _;
use rcrun::background::log::{Entry, parse, seek_tail};
use rcrun::background::{BackgroundError, Containers, Record};
use rcrun::monitor::{Event, Watch};
use rcrun::state::parse_rfc3339;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use super::image::moment;
use super::{Command, Context, background};

/// Flags of `logs`.
#[derive(clap::Args)]
pub struct Logs {
    /// Name or id of a container in the background
    container: String,
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// The last so many lines alone, or all
    #[arg(short = 'n', long, value_name = "NUMBER", default_value = "all", value_parser = parsed_tail)]
    tail: Tail,
    /// With the time of each line
    #[arg(short, long)]
    timestamps: bool,
    /// Lines since a time such as 2026-01-02T03:04:05Z, or an age such as 10m
    #[arg(long, value_name = "TIME", value_parser = parsed_moment)]
    since: Option<i64>,
    /// Lines until such a time
    #[arg(long, value_name = "TIME", value_parser = parsed_moment)]
    until: Option<i64>,
}

/// `--tail`; None is all.
#[derive(Clone, Copy, Debug)]
struct Tail(Option<usize>);

fn parsed_tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" => Ok(Tail(None)),
        _ => text.parse().map(|count| Tail(Some(count))).map_err(|_| "expected a number, or all".into()),
    }
}

fn parsed_moment(text: &str) -> Result<i64, String> {
    moment(text).map_err(|error| error.to_string())
}

impl Command for Logs {
    const NAME: &'static str = "logs";
    const ABOUT: &'static str = "Print what a container in the background has written";

    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let not_found = || BackgroundError::NotFound { word: self.container.clone() };
        let containers = background::existing(context)?.ok_or_else(not_found)?;
        let record = containers.find(&self.container)?;
        // Before the first line is read: nothing between the two is missed.
        let watch = match self.follow && containers.settle(&record)?.is_running() {
            true => containers.watch(&record)?,
            false => None,
        };
        let path = containers.log(&record.id);
        let Ok(file) = File::open(&path) else { return Ok(0) };
        let mut log = BufReader::with_capacity(128 << 10, file);
        if let Some(count) = self.tail.0 {
            seek_tail(&mut log, count).with_context(|| format!("read {}", path.display()))?;
        }
        let mut reader = Reader { log, line: Vec::new(), flags: &self, begun: [false; 2] };
        match watch {
            Some(watch) => reader.follow(watch, &containers, &record)?,
            None => reader.print()?,
        }
        Ok(0)
    }
}

struct Reader<'f, R> {
    log: R,
    line: Vec<u8>,
    flags: &'f Logs,
    /// Is a line of this stream under way?
    begun: [bool; 2],
}

impl<R: BufRead + Seek> Reader<'_, R> {
    /// Prints what is there; a line that is being written stays for the next time.
    fn print(&mut self) -> anyhow::Result<()> {
        let (mut stdout, mut stderr) = (std::io::stdout().lock(), std::io::stderr().lock());
        loop {
            self.log.read_until(b'\n', &mut self.line).context("read the log")?;
            if self.line.last() != Some(&b'\n') {
                break;
            }
            let line = std::mem::take(&mut self.line);
            let Some(entry) = parse(&line) else { continue };
            let text = self.text(&entry);
            let to: &mut dyn Write = if entry.stderr { &mut stderr } else { &mut stdout };
            to.write_all(&text).context("write to stdout")?;
        }
        stdout.flush().context("write to stdout")
    }

    /// What is printed of an entry; nothing of one that is not asked for.
    fn text(&mut self, entry: &Entry<'_>) -> Vec<u8> {
        let time = parse_rfc3339(entry.time).unwrap_or_default();
        if self.flags.since.is_some_and(|since| time < since)
            || self.flags.until.is_some_and(|until| time > until)
        {
            return Vec::new();
        }
        let begun = &mut self.begun[usize::from(entry.stderr)];
        let mut text = Vec::with_capacity(entry.text.len() + 40);
        if self.flags.timestamps && !*begun {
            text.extend_from_slice(entry.time.as_bytes());
            text.push(b' ');
        }
        text.extend_from_slice(entry.text);
        if !entry.partial {
            text.push(b'\n');
        }
        *begun = entry.partial;
        text
    }

    /// Prints until the container has ended and all is told.
    fn follow(&mut self, mut watch: Watch, containers: &Containers, record: &Record) -> anyhow::Result<()> {
        let changes = changes(&containers.log(&record.id));
        loop {
            self.print()?;
            let ended = loop {
                match watch.next()? {
                    Some(Event::Ended) => break true,
                    Some(Event::OutOfMemory) => {}
                    None => break false,
                }
            };
            if ended {
                return self.print();
            }
            wait(&watch, changes.as_ref())?;
        }
    }
}

/// Where the kernel tells that the log grows; there are few of those.
fn changes(log: &std::path::Path) -> Option<OwnedFd> {
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let changes = inotify::init(flags).ok()?;
    inotify::add_watch(&changes, log, inotify::WatchFlags::MODIFY).ok()?;
    Some(changes)
}

/// Until something happens. Without word of the log it is looked at several times a second.
fn wait(watch: &Watch, changes: Option<&OwnedFd>) -> anyhow::Result<()> {
    let mut fds = vec![PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN)];
    fds.extend(changes.map(|changes| PollFd::new(changes, PollFlags::IN)));
    let tick = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    match poll(&mut fds, changes.is_none().then_some(&tick)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error).context("poll"),
    }
    if let Some(changes) = changes {
        let mut events = [0; 4096];
        while rustix::io::read(changes, &mut events[..]).is_ok_and(|read| read > 0) {}
    }
    Ok(())
}
