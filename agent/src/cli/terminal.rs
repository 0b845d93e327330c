//! The terminal that the CLI runs on.

use std::io::IsTerminal as _;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Keys come as they are typed, until this is dropped.
pub struct Raw(Termios);

impl Raw {
    /// Of standard input. None: it is no terminal.
    pub fn set() -> Option<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Its size as a message for the resize channel.
pub fn size() -> Option<String> {
    let size = tcgetwinsize(std::io::stdin()).ok()?;
    let (width, height) = (size.ws_col, size.ws_row);
    (width > 0 && height > 0).then(|| format!(r#"{{"Width":{width},"Height":{height}}}"#))
}
