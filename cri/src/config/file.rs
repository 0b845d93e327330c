//! The configuration as a file.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::Config;

/// Read where no other is named.
pub const PATH: &str = "/etc/rcrun/cri.toml";

/// Every key with its default, explained.
pub const DEFAULT: &str = include_str!("default.toml");

/// Why a configuration is none.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ConfigError {
    #[error("read {path:?}: {error}")]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{path:?} line {line}: {reason}")]
    Line { path: PathBuf, line: usize, reason: String },
    #[error("{path:?}: {key}: {reason}")]
    Value { path: PathBuf, key: &'static str, reason: String },
}

/// The configuration of `path`; without one, of [`PATH`] where that exists, else the default.
///
/// # Errors
/// The file cannot be read; a key that is none, a value that is none: with line and key.
pub fn read(path: Option<&Path>) -> Result<Config, ConfigError> {
    let file = path.unwrap_or(Path::new(PATH));
    match fs::read_to_string(file) {
        Ok(text) => parse(&text, file),
        Err(error) if path.is_none() && error.kind() == ErrorKind::NotFound => Ok(Config::default()),
        Err(error) => Err(ConfigError::Read { path: file.into(), error }),
    }
}

/// The configuration in `text`, which is `path`'s.
pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
    let config: Config = toml::from_str(text).map_err(|error| {
        let begin = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..begin].iter().filter(|&&byte| byte == b'\n').count() + 1;
        let reason = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        ConfigError::Line { path: path.into(), line, reason }
    })?;
    match config.wrong() {
        Some((key, reason)) => Err(ConfigError::Value { path: path.into(), key, reason }),
        None => Ok(config),
    }
}

impl Config {
    /// The first value that its type allows and its meaning does not, and why.
    fn wrong(&self) -> Option<(&'static str, String)> {
        let relative = |(key, path): &(&'static str, &PathBuf)| {
            (!path.is_absolute()).then(|| (*key, format!("{path:?} is not an absolute path")))
        };
        let paths = [
            ("listen", &self.listen),
            ("state", &self.state),
            ("run", &self.run),
            ("images", &self.images),
            ("network.cni_conf_dir", &self.network.cni_conf_dir),
            ("network.netns_dir", &self.network.netns_dir),
        ];
        let programs =
            self.runtimes.values().filter_map(|r| r.program.as_ref()).map(|p| ("runtimes.NAME.program", p));
        let plugins = self.network.cni_bin_dirs.iter().map(|path| ("network.cni_bin_dirs", path));
        paths
            .into_iter()
            .chain(programs)
            .chain(plugins)
            .find_map(|path| relative(&path))
            .or_else(|| self.wrong_number())
            .or_else(|| self.wrong_address())
    }

    fn wrong_number(&self) -> Option<(&'static str, String)> {
        // A log's line begins with some 50 bytes of the kubelet's.
        if !(256..=16 * 1024 * 1024).contains(&self.max_log_line) {
            return Some((
                "max_log_line",
                format!("{} is not between 256 bytes and 16 MiB", self.max_log_line),
            ));
        }
        let times = [
            ("streaming.idle_timeout", self.streaming.idle_timeout),
            ("streaming.token_lifetime", self.streaming.token_lifetime),
        ];
        if let Some((key, _)) = times.into_iter().find(|(_, seconds)| *seconds == 0) {
            return Some((key, "0 seconds leave no time for anything".into()));
        }
        None
    }

    fn wrong_address(&self) -> Option<(&'static str, String)> {
        if self.streaming.address.parse::<IpAddr>().is_err() {
            return Some(("streaming.address", format!("{:?} is not an IP address", self.streaming.address)));
        }
        let metrics = self.metrics_address.as_str();
        match metrics.parse::<SocketAddr>() {
            Err(_) if !metrics.is_empty() => {
                Some(("metrics_address", format!("{metrics:?} is not an IP address with a port")))
            }
            Ok(address) if address.port() == 0 => {
                Some(("metrics_address", format!("{metrics:?}: nobody would know the port")))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text, Path::new("/etc/rcrun/cri.toml")).unwrap_err().to_string()
    }

    #[test]
    fn the_printed_default_is_the_default() {
        assert_eq!(parse(DEFAULT, Path::new("default")).unwrap(), Config::default());
        assert_eq!(parse("", Path::new("empty")).unwrap(), Config::default());
    }

    #[test]
    fn every_key_is_printed_and_explained() {
        let all: toml::Table = toml::from_str(&toml::to_string(&Config::default()).unwrap()).unwrap();
        let keys = all.iter().flat_map(|(key, value)| match value.as_table() {
            Some(table) if key != "runtimes" => table.keys().cloned().collect::<Vec<_>>(),
            _ => vec![key.clone()],
        });
        for key in keys.filter(|key| key != "runtimes") {
            let line = format!("\n{key} = ");
            let at = DEFAULT.find(&line).unwrap_or_else(|| panic!("{key} is not in default.toml"));
            let before = DEFAULT[..at].lines().last().unwrap();
            assert!(before.starts_with('#') || key == "ipv6", "{key} is not explained: {before}");
        }
    }

    #[test]
    fn the_example_of_a_handler_is_one() {
        let begin = DEFAULT.find("# [runtimes.runc]").unwrap();
        let example: String = DEFAULT[begin..]
            .lines()
            .map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line)))
            .collect();
        let config = parse(&example, Path::new("example")).unwrap();
        assert_eq!(config.runtimes["runc"].program.as_deref(), Some(Path::new("/usr/bin/runc")));
    }

    #[test]
    fn an_error_names_line_and_key() {
        let text = error("state = \"/x\"\n\n[network]\nbridgge = \"br0\"\n");
        assert!(text.starts_with("\"/etc/rcrun/cri.toml\" line 4: ") && text.contains("bridgge"), "{text}");
        let text = error("max_log_line = \"many\"\n");
        assert!(
            text.contains("line 1: ") && text.contains("max_log_line") || text.contains("invalid type"),
            "{text}"
        );
        let text = error("missing_controllers = \"ignore\"");
        assert!(text.contains("ignore") && text.contains("refuse"), "{text}");
        let text = error("a = [");
        assert!(text.contains("line 1") && !text.contains('\n'), "{text}");
    }

    #[test]
    fn values_without_a_meaning_are_refused() {
        assert!(error("run = \"run\"").contains("run: \"run\" is not an absolute path"));
        assert!(error("max_log_line = 1").contains("max_log_line: 1 is not between"));
        assert!(error("[streaming]\naddress = \"localhost\"").contains("streaming.address"));
        assert!(error("metrics_address = \"127.0.0.1\"").contains("metrics_address: \"127.0.0.1\" is not"));
        assert!(error("metrics_address = \"[::1]:0\"").contains("nobody would know the port"));
        assert!(error("[streaming]\ntoken_lifetime = 0").contains("token_lifetime"));
        assert!(error("[runtimes.runc]\nprogram = \"runc\"").contains("runtimes.NAME.program"));
    }
}
