//! Words for people: on standard error, which nobody may be reading any more, and as terminals show them and do nothing else.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write as _};

/// A line on standard error.
pub fn say(line: impl Display) {
    // `eprintln!` would panic where nobody reads.
    let _ = writeln!(io::stderr(), "{}", line_of(&line.to_string()));
}

/// Says that nothing of what was asked for is there: in a namespace, or in none.
pub fn say_none(what: &str, namespace: Option<&str>) {
    match namespace {
        Some(namespace) => say(format_args!("No {what} found in {namespace} namespace.")),
        None => say(format_args!("No {what} found")),
    }
}

/// One line of text. Objects come from others, and a terminal would take some of their characters for commands to it.
pub fn line_of(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c.is_control())
}

/// The same of text that may have several lines.
pub fn lines_of(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c.is_control() && !matches!(c, '\n' | '\t'))
}

fn escaped(text: &str, is_command: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_command) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match is_command(c) {
            true => plain.extend(c.escape_default()),
            false => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_terminals_would_obey_is_shown() {
        assert_eq!(line_of("grün"), "grün");
        assert_eq!(line_of("a\u{1b}[31mb\nc\u{9b}"), "a\\u{1b}[31mb\\nc\\u{9b}");
        assert_eq!(lines_of("a\n\tb\r"), "a\n\tb\\r");
    }
}
