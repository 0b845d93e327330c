//! Stop signals: the CRI's enumeration, an image's words, the kernel's numbers.

use tonic::Status;

use crate::api;

/// The signal that stops a container: the one of the request, else the image's, else SIGTERM.
pub fn stop_signal(wanted: i32, of_image: &str) -> Result<i32, Status> {
    if wanted != 0 {
        let known = api::Signal::try_from(wanted).ok().and_then(number);
        return known.ok_or_else(|| Status::invalid_argument(format!("stop_signal: no signal {wanted}")));
    }
    if of_image.is_empty() {
        return Ok(libc::SIGTERM);
    }
    // 0 would ask whether the process is there, for ever.
    match rcrun::signal::parse(of_image) {
        Ok(0) => Ok(libc::SIGTERM),
        Ok(signal) => Ok(signal),
        Err(error) => Err(Status::invalid_argument(format!("the image's StopSignal: {error}"))),
    }
}

/// The first name that a number has in the CRI.
pub fn name(number_of_it: i32) -> api::Signal {
    (1..)
        .map_while(|value| api::Signal::try_from(value).ok())
        .find(|signal| number(*signal) == Some(number_of_it))
        .unwrap_or(api::Signal::RuntimeDefault)
}

/// None for SIGNAL_RUNTIME_DEFAULT.
fn number(signal: api::Signal) -> Option<i32> {
    let name = signal.as_str_name().strip_prefix("SIGNAL_")?;
    let name = name.replace("PLUS", "+").replace("MINUS", "-");
    rcrun::signal::parse(&name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_signals_of_the_cri_have_numbers() {
        let all: Vec<_> = (1..).map_while(|value| api::Signal::try_from(value).ok()).collect();
        assert_eq!(all.len(), 65);
        for signal in all {
            let known = number(signal).unwrap();
            assert_eq!(number(name(known)), Some(known), "{signal:?}");
        }
        assert_eq!(number(api::Signal::Sigrtminplus3), Some(37));
        assert_eq!(number(api::Signal::Sigrtmaxminus1), Some(63));
        assert_eq!(name(libc::SIGTERM), api::Signal::Sigterm);
        assert_eq!(name(libc::SIGABRT), api::Signal::Sigabrt);
    }

    #[test]
    fn the_requests_signal_comes_before_the_images() {
        let quit = api::Signal::Sigquit as i32;
        assert_eq!(stop_signal(quit, "SIGUSR1").unwrap(), libc::SIGQUIT);
        assert_eq!(stop_signal(0, "SIGUSR1").unwrap(), libc::SIGUSR1);
        assert_eq!(stop_signal(0, "RTMIN+3").unwrap(), 37);
        assert_eq!(stop_signal(0, "").unwrap(), libc::SIGTERM);
        assert_eq!(stop_signal(0, "0").unwrap(), libc::SIGTERM);
        assert!(stop_signal(0, "NOSUCH").unwrap_err().message().contains("StopSignal"));
        assert!(stop_signal(1000, "").unwrap_err().message().contains("stop_signal"));
    }
}
