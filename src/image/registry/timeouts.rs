//! How long a registry may take, and how often it is asked again. Variables of the environment change each of them.

use std::time::Duration;

/// Times and tries of everything that goes over the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection: proxy and TLS included. `RCRUN_REGISTRY_CONNECT_SECONDS`.
    pub connect: Duration,
    /// Without a single byte in either direction. `RCRUN_REGISTRY_SILENCE_SECONDS`.
    pub silence: Duration,
    /// For the answer to a whole upload, while the registry stores it. `RCRUN_REGISTRY_FINISH_SECONDS`.
    pub finish: Duration,
    /// Bytes a second that a blob must have on average over `slow_after`. `RCRUN_REGISTRY_SLOW_BYTES`.
    pub slow_bytes: u64,
    /// What `slow_bytes` is measured over. `RCRUN_REGISTRY_SLOW_SECONDS`.
    pub slow_after: Duration,
    /// How often one thing is asked for without any progress. `RCRUN_REGISTRY_TRIES`.
    pub tries: u32,
    /// The pause before the second try; each further one doubles it, up to `pause_most`.
    pub pause: Duration,
    /// The longest pause, also where the registry says how long (Retry-After). `RCRUN_REGISTRY_WAIT_SECONDS`.
    pub pause_most: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            silence: Duration::from_secs(30),
            finish: Duration::from_secs(600),
            slow_bytes: 1024,
            slow_after: Duration::from_secs(60),
            tries: 5,
            pause: Duration::from_millis(250),
            pause_most: Duration::from_secs(60),
        }
    }
}

/// A variable of the environment that is no time.
#[derive(Debug, thiserror::Error)]
#[error("environment variable {name} is {value:?}: expected a number above zero")]
pub struct TimeoutError {
    name: String,
    value: String,
}

impl Timeouts {
    /// The defaults, changed by the environment.
    pub fn from_environment() -> Result<Self, TimeoutError> {
        Self::from_variables(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, TimeoutError> {
        let read = |name: &str, default: u64| {
            let name = format!("RCRUN_REGISTRY_{name}");
            match variable(&name).filter(|value| !value.is_empty()) {
                None => Ok(default),
                Some(value) => match value.parse() {
                    // A zero would be no limit to the kernel, and no try at all.
                    Ok(number @ 1..=1_000_000_000) => Ok(number),
                    _ => Err(TimeoutError { name, value }),
                },
            }
        };
        let seconds = |name: &str, default: Duration| read(name, default.as_secs()).map(Duration::from_secs);
        let default = Self::default();
        Ok(Self {
            connect: seconds("CONNECT_SECONDS", default.connect)?,
            silence: seconds("SILENCE_SECONDS", default.silence)?,
            finish: seconds("FINISH_SECONDS", default.finish)?,
            slow_bytes: read("SLOW_BYTES", default.slow_bytes)?,
            slow_after: seconds("SLOW_SECONDS", default.slow_after)?,
            tries: read("TRIES", default.tries.into())? as u32,
            pause: default.pause,
            pause_most: seconds("WAIT_SECONDS", default.pause_most)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_changes_times() {
        let with = |name: &'static str, value: &'static str| {
            Timeouts::from_variables(move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(with("RCRUN_REGISTRY_TRIES", "9").unwrap(), Timeouts { tries: 9, ..Timeouts::default() });
        for bad in ["0", "-1", "soon", "1e9"] {
            let error = with("RCRUN_REGISTRY_SILENCE_SECONDS", bad).unwrap_err().to_string();
            assert!(error.contains("SILENCE_SECONDS") && error.contains(bad), "{error}");
        }
    }
}
