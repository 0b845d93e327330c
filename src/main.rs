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
            cli::log::error(&rcrun::text::error_line(stopped.error.as_ref()));
            stopped.status
        }
    }
}
