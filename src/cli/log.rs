//! `--log`, `--log-format` and `--log-level`: entries as logrus writes them, since conmon and
//! containerd parse these.
//!
//! An error is one line on stderr and, with `--log`, one entry in the file as well. Warnings go to
//! the file, or to stderr without one; what is less severe than that only when it is asked for.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use anyhow::Context;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use rcrun::state::rfc3339;

/// How an entry is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// time="..." level=error msg="..."
    #[default]
    Text,
    /// {"level":"error","msg":"...","time":"..."}
    Json,
}

/// How severe an entry is, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The command failed.
    Error,
    /// The command did less than it was asked for.
    Warning,
    /// What is worth knowing; nothing at present.
    Info,
    /// What the command is about to do.
    Debug,
}

impl Level {
    /// logrus's name of it.
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl ValueEnum for Level {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Error, Self::Warning, Self::Info, Self::Debug]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let value = PossibleValue::new(self.name());
        Some(match self {
            Self::Error => value.aliases(["fatal", "panic"]),
            Self::Warning => value.alias("warn"),
            Self::Info => value,
            Self::Debug => value.alias("trace"),
        })
    }
}

/// The log of this process: the library's warnings come through a plain function.
static LOG: OnceLock<Log> = OnceLock::new();

/// From now on messages go to `log`; the first call counts.
pub fn install(log: Log) {
    let _ = LOG.set(log);
}

/// The command failed.
pub fn error(message: &str) {
    current().write(Level::Error, message);
}

/// The command does less than it was asked for.
pub fn warning(message: &str) {
    current().write(Level::Warning, message);
}

/// What the command is about to do.
pub fn debug(message: impl FnOnce() -> String) {
    let log = current();
    if log.takes(Level::Debug) {
        log.write(Level::Debug, &message());
    }
}

fn current() -> &'static Log {
    LOG.get_or_init(|| Log::to_stderr(Format::Text))
}

/// Where messages go, and which.
#[derive(Debug)]
pub struct Log {
    file: Option<File>,
    format: Format,
    file_level: Level,
    stderr_level: Level,
}

impl Log {
    /// Opens `path` for appending; without one messages go to stderr alone.
    pub fn open(path: Option<&Path>, format: Format, level: Option<Level>) -> anyhow::Result<Self> {
        let file = match path.filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => Some(
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .mode(0o644)
                    .open(path)
                    .with_context(|| format!("open log file {}", path.display()))?,
            ),
            None => None,
        };
        let file_level = level.unwrap_or(Level::Info);
        let stderr_level = if file.is_some() { Level::Error } else { level.unwrap_or(Level::Warning) };
        Ok(Self { file, format, file_level, stderr_level })
    }

    /// The log of arguments that clap refuses: a client that reads only its log must find the reason
    /// there. A log that cannot be opened leaves stderr.
    pub fn from_arguments(args: &[OsString]) -> Self {
        let mut path = None;
        let mut format = Format::Text;
        // Words of `exec` and `ps` belong to another program.
        let mut own = args.iter().skip(1).take_while(|arg| *arg != "exec" && *arg != "ps" && *arg != "--");
        while let Some(arg) = own.next() {
            let Some(arg) = arg.to_str() else { continue };
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value.into())),
                None => (arg, None),
            };
            match name {
                "--log" => path = value.or_else(|| own.next().cloned()).map(PathBuf::from),
                "--log-format" => {
                    let json = value.or_else(|| own.next().cloned()).is_some_and(|value| value == "json");
                    format = if json { Format::Json } else { Format::Text };
                }
                _ => {}
            }
        }
        Self::open(path.as_deref(), format, None).unwrap_or_else(|_| Self::to_stderr(format))
    }

    fn to_stderr(format: Format) -> Self {
        Self { file: None, format, file_level: Level::Error, stderr_level: Level::Error }
    }

    fn takes(&self, level: Level) -> bool {
        level <= self.stderr_level || (self.file.is_some() && level <= self.file_level)
    }

    /// A message that cannot be written is lost: there is no other place to say so.
    fn write(&self, level: Level, message: &str) {
        let now = SystemTime::now();
        if let Some(mut file) = self.file.as_ref()
            && level <= self.file_level
        {
            // One write(2) per entry, so that entries of several processes do not mix.
            let _ = file.write_all(entry(self.format, level, message, now).as_bytes());
        }
        if level <= self.stderr_level {
            let line = match (self.format, &self.file) {
                (Format::Json, None) => entry(Format::Json, level, message, now),
                _ if level == Level::Error => format!("rcrun: {message}\n"),
                _ => format!("rcrun: {}: {message}\n", level.name()),
            };
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }
}

/// One line of a log, with its newline.
fn entry(format: Format, level: Level, message: &str, time: SystemTime) -> String {
    // Whole seconds, as logrus has them.
    let time = format!("{}Z", rfc3339(time).split_once('.').map_or("", |(seconds, _)| seconds));
    let level = level.name();
    match format {
        Format::Text => format!("time=\"{time}\" level={level} msg={}\n", quoted(message)),
        Format::Json => {
            let message = serde_json::Value::from(message);
            format!("{{\"level\":\"{level}\",\"msg\":{message},\"time\":\"{time}\"}}\n")
        }
    }
}

/// logrus quotes what is more than one plain word.
fn quoted(message: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if !message.is_empty() && message.chars().all(plain) {
        return message.into();
    }
    let mut text = String::with_capacity(message.len() + 2);
    text.push('"');
    for c in message.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            c if (c as u32) < 0x20 || c == '\x7f' => text.push_str(&format!("\\x{:02x}", c as u32)),
            c => text.push(c),
        }
    }
    text.push('"');
    text.into()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_json_entry_is_what_logrus_writes() {
        let line = entry(Format::Json, Level::Error, "a \"b\"\nc", at(0));
        assert_eq!(
            line,
            "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\\nc\",\"time\":\"1970-01-01T00:00:00Z\"}\n"
        );
    }

    #[test]
    fn a_text_entry_quotes_what_is_more_than_a_word() {
        let line = entry(Format::Text, Level::Warning, "no \"such\" thing", at(0));
        assert_eq!(line, "time=\"1970-01-01T00:00:00Z\" level=warning msg=\"no \\\"such\\\" thing\"\n");
        assert!(entry(Format::Text, Level::Error, "stopped", at(0)).ends_with("msg=stopped\n"));
    }

    #[test]
    fn warnings_go_to_the_file_by_default_and_debug_only_on_request() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Log::open(Some(&path), Format::Json, None).unwrap();
        log.write(Level::Warning, "w");
        assert!(!log.takes(Level::Debug));
        log.write(Level::Debug, "nobody asked for this");
        let log = Log::open(Some(&path), Format::Text, Some(Level::Debug)).unwrap();
        log.write(Level::Debug, "d");
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("{\"level\":\"warning\",\"msg\":\"w\""), "{text}");
        assert!(lines[1].ends_with("level=debug msg=d"), "{text}");
    }

    #[test]
    fn refused_arguments_still_find_their_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let name = path.to_str().unwrap();
        Log::from_arguments(&args(&["rcrun", "--log", name, "--log-format=json", "list", "--nonsense"]));
        assert!(path.exists());
        std::fs::remove_file(&path).unwrap();
        Log::from_arguments(&args(&["rcrun", "exec", "--log", name]));
        assert!(!path.exists(), "a word of another program is no log");
    }
}
