//! Questions on a terminal.

use std::io::{self, IsTerminal, Read, Write};

use anyhow::{Context as _, bail};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// Longest answer in bytes.
const LONGEST: usize = 64 << 10;

/// Is there somebody to ask?
pub fn is_possible() -> bool {
    io::stdin().is_terminal()
}

/// Asks `question` on stderr; the answer is seen while it is typed.
pub fn ask(question: &str) -> anyhow::Result<String> {
    show(question)?;
    line(false)
}

/// Asks `question` on stderr; nothing of the answer is seen.
pub fn ask_secret(question: &str) -> anyhow::Result<String> {
    let quiet = Quiet::new().context("turn the terminal's echo off")?;
    show(question)?;
    let answer = line(true);
    drop(quiet);
    show("\n")?;
    answer
}

/// One line of stdin as it is, without its end: a password that another program writes.
pub fn piped_line() -> anyhow::Result<String> {
    let mut text = String::new();
    let most = LONGEST as u64 + 1;
    io::stdin().lock().take(most).read_to_string(&mut text).context("read a password from stdin")?;
    if text.len() > LONGEST {
        bail!("a password from stdin has at most {LONGEST} bytes");
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

fn show(text: &str) -> anyhow::Result<()> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()).context("write to stderr")
}

/// A terminal without echo whose keys all arrive as bytes, also Ctrl-C: it cannot end the process before the
/// terminal is as it was.
struct Quiet(Termios);

impl Quiet {
    fn new() -> rustix::io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// A line byte by byte, so that nothing after it is taken; with `keys` those of line editing mean what they do in a
/// terminal that edits.
fn line(keys: bool) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while bytes.len() < LONGEST {
        let got =
            rustix::io::retry_on_intr(|| rustix::io::read(io::stdin(), &mut byte)).context("read stdin")?;
        match byte[0] {
            _ if got == 0 => break,
            b'\n' | b'\r' => break,
            0x04 if keys => break,
            0x03 if keys => bail!("interrupted"),
            0x08 | 0x7f if keys => backspace(&mut bytes),
            0x15 if keys => bytes.clear(),
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok().context("an answer that is not UTF-8")
}

/// Takes the last character away, all its bytes.
fn backspace(bytes: &mut Vec<u8>) {
    while bytes.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}
