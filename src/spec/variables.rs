//! Variables of the environment that are no text, in a config.json, which has to be.
//!
//! A variable has a name, so that no entry of process.env begins with `=` that means anything: one that begins with
//! `=base64:` stands for the bytes of `NAME=VALUE`. Keys of Kubernetes' Secrets may be such values.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const MARK: &str = "=base64:";

/// The entry of process.env for a variable; with bytes that are no UTF-8 one that rcrun alone understands.
pub fn variable(name: &str, value: &[u8]) -> String {
    match str::from_utf8(value) {
        Ok(value) => format!("{name}={value}"),
        Err(_) => format!("{MARK}{}", STANDARD.encode([name.as_bytes(), b"=", value].concat())),
    }
}

/// What execve(2) gets of an entry.
pub(crate) fn bytes_of(entry: &str) -> Cow<'_, [u8]> {
    let marked = entry.strip_prefix(MARK).and_then(|text| STANDARD.decode(text).ok());
    match marked.filter(|bytes| bytes.contains(&b'=') && !bytes.contains(&0)) {
        Some(bytes) => bytes.into(),
        None => entry.as_bytes().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_of_any_bytes_comes_back() {
        for value in [&b"text"[..], "\u{e9}".as_bytes(), b"\xff=\xfe\n", b""] {
            let entry = variable("A", value);
            assert_eq!(*bytes_of(&entry), *[b"A=", value].concat(), "{entry}");
        }
        assert_eq!(variable("A", b"x"), "A=x");
    }

    #[test]
    fn what_is_no_such_entry_is_left_as_it_is() {
        for entry in ["=base64:!", "=base64:", "=base64:AA==", "A==base64:QT0x", "=x"] {
            assert_eq!(*bytes_of(entry), *entry.as_bytes());
        }
    }
}
