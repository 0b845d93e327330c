//! What people see of a transfer: bars on a terminal, a line for each blob elsewhere, JSON for programs.
//!
//! Progress goes to stderr and the result to stdout, but JSON, which is all of the output: one object a line on stdout.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rcrun::image::event::{Event, Listener, Progress};
use rcrun::image::{Descriptor, Digest};
use serde_json::json;

use super::{human, output};

/// `--format` of `pull`, `push` and `load`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Bars or lines for people
    Text,
    /// One object for each event, a line each
    Json,
}

/// Between two lines of JSON about how much of a blob there is.
const PAUSE: Duration = Duration::from_millis(200);

/// Shows the events of one command.
struct Display {
    verb: &'static str,
    kind: Kind,
}

enum Kind {
    Quiet,
    /// When each blob was last spoken of.
    Json(Mutex<HashMap<Digest, Instant>>),
    Lines(Mutex<HashMap<Digest, Progress>>),
    Bars {
        all: MultiProgress,
        bars: Mutex<HashMap<Digest, ProgressBar>>,
    },
}

/// What shows the events of one command. `verb` says what happens to a blob: `pulling`, `pushing`.
pub fn listener(verb: &'static str, format: Format, quiet: bool) -> Listener {
    let kind = match (format, quiet) {
        (Format::Json, _) => Kind::Json(Mutex::default()),
        (Format::Text, true) => Kind::Quiet,
        (Format::Text, false) if std::io::stderr().is_terminal() => Kind::Bars {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)),
            bars: Mutex::default(),
        },
        (Format::Text, false) => Kind::Lines(Mutex::default()),
    };
    let display = Display { verb, kind };
    Arc::new(move |event| display.show(event))
}

impl Display {
    /// Takes the next event.
    fn show(&self, event: Event<'_>) {
        match (&self.kind, event) {
            (Kind::Quiet, _) => {}
            (Kind::Json(last), event) => {
                if is_due(last, event) {
                    let _ = output::print(&format!("{}\n", json_of(event)));
                }
            }
            (Kind::Lines(_), Event::Resolved { name, digest }) => eprintln!("{name}: {digest}"),
            (Kind::Lines(seen), Event::Blob(blob, progress)) => self.line(seen, blob, progress),
            (Kind::Bars { all, .. }, Event::Resolved { name, digest }) => {
                let _ = all.println(format!("{name}: {digest}"));
            }
            (Kind::Bars { all, bars }, Event::Blob(blob, progress)) => {
                let mut bars = bars.lock().unwrap_or_else(PoisonError::into_inner);
                let bar = bars.entry(blob.digest.clone()).or_insert_with(|| all.add(bar(blob)));
                self.draw(bar, progress);
            }
        }
    }

    /// What is said once for each step of a blob, and not for each of its bytes.
    fn line(&self, seen: &Mutex<HashMap<Digest, Progress>>, blob: &Descriptor, progress: Progress) {
        let step = match progress {
            Progress::Transferred(_) => Progress::Transferred(0),
            other => other,
        };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.insert(blob.digest.clone(), step) == Some(step) {
            return;
        }
        let size = human::size(blob.size);
        match step {
            Progress::Waiting => {}
            Progress::Transferred(_) => eprintln!("{}: {} {size}", blob.digest.short(), self.verb),
            Progress::Present => eprintln!("{}: already there", blob.digest.short()),
            Progress::Done => eprintln!("{}: done", blob.digest.short()),
        }
    }

    fn draw(&self, bar: &ProgressBar, progress: Progress) {
        match progress {
            Progress::Waiting => bar.set_message("waiting"),
            Progress::Transferred(bytes) => {
                bar.set_message(self.verb);
                bar.set_position(bytes);
            }
            Progress::Present => bar.abandon_with_message("already there"),
            Progress::Done => {
                bar.set_position(bar.length().unwrap_or_default());
                bar.abandon_with_message("done");
            }
        }
    }
}

/// Is enough time over since a blob's last progress? Everything else is always due.
fn is_due(last: &Mutex<HashMap<Digest, Instant>>, event: Event<'_>) -> bool {
    let Event::Blob(blob, Progress::Transferred(_)) = event else { return true };
    let (mut last, now) = (last.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
    match last.get(&blob.digest) {
        Some(then) if now - *then < PAUSE => false,
        _ => last.insert(blob.digest.clone(), now).is_none_or(|_| true),
    }
}

fn bar(blob: &Descriptor) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix}  {msg:13} [{bar:30}] {bytes:>11} / {total_bytes:>11}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
    ProgressBar::new(blob.size).with_style(style).with_prefix(blob.digest.short().to_owned())
}

fn json_of(event: Event<'_>) -> serde_json::Value {
    match event {
        Event::Resolved { name, digest } => json!({"event": "resolved", "name": name, "digest": digest}),
        Event::Blob(blob, progress) => {
            let (state, bytes) = match progress {
                Progress::Waiting => ("waiting", None),
                Progress::Transferred(bytes) => ("transferring", Some(bytes)),
                Progress::Present => ("present", None),
                Progress::Done => ("done", None),
            };
            json!({"event": "blob", "digest": blob.digest, "size": blob.size, "state": state, "bytes": bytes})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_object() {
        let blob = Descriptor::of("x", b"abc");
        let value = json_of(Event::Blob(&blob, Progress::Transferred(2)));
        assert_eq!((value["state"].as_str(), value["bytes"].as_u64()), (Some("transferring"), Some(2)));
        assert_eq!(value["digest"], blob.digest.to_string());
    }
}
