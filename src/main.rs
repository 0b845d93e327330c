//! The `rcrun` command: parse -> command -> one error line -> exit code.
#![cfg_attr(not(test), no_main)]

mod cli;

#[cfg(not(test))]
rcrun::start!(run);

/// Does what the arguments say; the result is the exit status.
#[cfg_attr(test, allow(dead_code))]
fn run() -> u8 {
    match cli::run(std::env::args_os().collect()) {
        Ok(status) => status,
        Err(stopped) => {
            cli::log::error(&one_line(&stopped.error));
            stopped.status
        }
    }
}

/// The error and its causes, outermost first, on one line: `a: b: c`.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(|cause| without_numbers(&cause.to_string())) {
        // Some errors of libraries name their source in their own text; once is enough.
        if line.ends_with(&cause) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&cause);
    }
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `text` without the ` (os error 2)` that Rust adds to an errno's words.
fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        words.push_str(
            part.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit()).trim_start_matches(')'),
        );
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_and_its_causes_are_one_line_and_say_nothing_twice() {
        let root = anyhow::anyhow!("no such file\nor directory");
        let error = root.context("open config.json: no such file\nor directory").context("create web");
        assert_eq!(one_line(&error), "create web: open config.json: no such file or directory");
    }

    #[test]
    fn an_errno_is_said_in_words() {
        let error = anyhow::Error::from(std::io::Error::from_raw_os_error(2)).context("open x");
        assert_eq!(one_line(&error), "open x: No such file or directory");
        assert_eq!(without_numbers("a (os error 13): b (os error 2)"), "a: b");
        assert_eq!(without_numbers("a (b)"), "a (b)");
    }
}
