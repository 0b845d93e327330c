//! Platforms, `linux/arm64/v8`, and the choice of a manifest by them: OCI image specification, image-index.md.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an image was built for, in Go's words (GOOS, GOARCH).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`.
    pub architecture: String,
    /// `v8`; of x86-64 `v2` and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why a text names no platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no platform: expected OS/ARCHITECTURE[/VARIANT], such as linux/amd64 or linux/arm64/v8")]
pub struct PlatformError(String);

impl Platform {
    /// This machine's.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            other => other,
        };
        Self { os: "linux".into(), architecture: architecture.into(), variant: None }.normalized()
    }

    /// Other names for the same architecture are put in Go's words; arm64 is v8 and arm v7 where they say nothing.
    pub fn normalized(mut self) -> Self {
        self.os.make_ascii_lowercase();
        self.architecture.make_ascii_lowercase();
        let (architecture, variant) = match (self.architecture.as_str(), self.variant.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
            ("i386" | "i486" | "i586" | "i686" | "386", _) => ("386", None),
            ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64", Some("v8")),
            ("aarch64" | "arm64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", None | Some("7")) => ("arm", Some("v7")),
            ("armel", _) => ("arm", Some("v6")),
            (other, variant) => (other, variant),
        };
        (self.architecture, self.variant) = (architecture.to_owned(), variant.map(str::to_owned));
        self
    }

    /// Does what was built for `offered` run on this? The higher, the better; None where it does not.
    pub fn rank(&self, offered: &Self) -> Option<u32> {
        let (wanted, offered) = (self.clone().normalized(), offered.clone().normalized());
        if (&wanted.os, &wanted.architecture) != (&offered.os, &offered.architecture) {
            return None;
        }
        let number = |platform: &Self| match platform.variant.as_deref() {
            None => Some(1),
            Some(variant) => variant.strip_prefix('v').and_then(|number| number.parse::<u32>().ok()),
        };
        match (number(&wanted), number(&offered)) {
            (Some(wanted), Some(offered)) => (offered <= wanted).then_some(offered),
            _ => (wanted.variant == offered.variant).then_some(1),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let word = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        let all = |variant: Option<&str>| Self {
            os: parts[0].into(),
            architecture: parts[1].into(),
            variant: variant.map(str::to_owned),
        };
        match parts.as_slice() {
            _ if !parts.iter().all(|part| word(part)) => Err(PlatformError(text.into())),
            [_, _] => Ok(all(None).normalized()),
            [_, _, variant] => Ok(all(Some(variant)).normalized()),
            _ => Err(PlatformError(text.into())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn other_names_are_the_same_platform() {
        assert_eq!(platform("linux/x86_64").to_string(), "linux/amd64");
        assert_eq!(platform("Linux/aarch64").to_string(), "linux/arm64/v8");
        assert_eq!(platform("linux/arm").to_string(), "linux/arm/v7");
        for text in ["linux", "", "linux/", "a/b/c/d", "linux/a b"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_older_variant_runs_and_a_newer_one_does_not() {
        let rank = |wanted: &str, offered: &str| platform(wanted).rank(&platform(offered));
        assert_eq!(rank("linux/arm/v7", "linux/arm/v6"), Some(6));
        assert_eq!(rank("linux/arm/v6", "linux/arm/v7"), None);
        assert_eq!(rank("linux/amd64", "linux/amd64/v3"), None);
        assert_eq!(rank("linux/amd64/v3", "linux/amd64"), Some(1));
        assert_eq!(rank("linux/amd64", "linux/arm64"), None);
        assert_eq!(rank("linux/amd64", "windows/amd64"), None);
    }
}
