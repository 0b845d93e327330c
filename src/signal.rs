//! Signals as people and clients write them: `9`, `KILL`, `SIGKILL`, `sigkill`, `SIGRTMIN+3`.

use std::str::FromStr;

use nix::sys::signal::Signal;

/// Names that signal(7) has beside those of nix.
const ALIASES: [(&str, i32); 3] =
    [("SIGIOT", libc::SIGIOT), ("SIGCLD", libc::SIGCHLD), ("SIGPOLL", libc::SIGPOLL)];

/// Why a word is no signal.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown signal {0:?}: give a name of signal(7) such as TERM, or a number from 0 to 64")]
pub struct UnknownSignal(String);

/// The number of the signal that `word` names. Real-time signals have numbers, and clients send
/// these: docker's and podman's stop signals of systemd containers.
pub fn parse(word: &str) -> Result<i32, UnknownSignal> {
    let unknown = || UnknownSignal(word.into());
    if let Ok(number) = word.parse::<i32>() {
        return if (0..=libc::SIGRTMAX()).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let mut name = word.to_ascii_uppercase();
    if !name.starts_with("SIG") {
        name.insert_str(0, "SIG");
    }
    if let Ok(signal) = Signal::from_str(&name) {
        return Ok(signal as i32);
    }
    if let Some((_, number)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
        return Ok(*number);
    }
    real_time(&name).ok_or_else(unknown)
}

/// `SIGRTMIN`, `SIGRTMIN+n`, `SIGRTMAX` and `SIGRTMAX-n`, with the C library's SIGRTMIN of 34.
fn real_time(name: &str) -> Option<i32> {
    let offset =
        |digits: &str| if digits.is_empty() { None } else { digits.parse::<u8>().ok().map(i32::from) };
    let number = match name.strip_prefix("SIGRTMIN") {
        Some("") => libc::SIGRTMIN(),
        Some(rest) => libc::SIGRTMIN() + offset(rest.strip_prefix('+')?)?,
        None => match name.strip_prefix("SIGRTMAX")? {
            "" => libc::SIGRTMAX(),
            rest => libc::SIGRTMAX() - offset(rest.strip_prefix('-')?)?,
        },
    };
    (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_with_and_without_sig_and_in_any_case() {
        for word in ["KILL", "SIGKILL", "kill", "sigkill", "SigKill", "9"] {
            assert_eq!(parse(word), Ok(9), "{word}");
        }
        assert_eq!(parse("hup"), Ok(1));
        assert_eq!(parse("SIGPOLL"), parse("IO"));
        assert_eq!(parse("0"), Ok(0));
    }

    #[test]
    fn real_time_signals_have_names_and_numbers() {
        assert_eq!(parse("RTMIN"), Ok(34));
        assert_eq!(parse("SIGRTMIN+3"), Ok(37));
        assert_eq!(parse("RTMAX-1"), Ok(63));
        assert_eq!(parse("64"), Ok(64));
    }

    #[test]
    fn other_words_are_refused() {
        for word in ["", "SIG", "NOSUCH", "-9", "65", "9x", "RTMIN+99", "RTMIN+", "RTMIN+-1", "RTMAX+1"] {
            assert_eq!(parse(word), Err(UnknownSignal(word.into())));
        }
    }
}
