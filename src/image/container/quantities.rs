//! Numbers as docker's options have them: sizes, CPUs, resource limits.

/// A size in bytes: `512`, `64m`, `1.5g`; units are powers of 1024.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: expected a number with b, k, m, g or t after it");
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &lower[digits.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(wrong()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(wrong());
    }
    if let Ok(whole) = digits.parse::<u64>() {
        return whole.checked_mul(1 << shift).ok_or_else(wrong);
    }
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let size = number * (1u64 << shift) as f64;
    if size < (1u64 << 63) as f64 { Ok(size as u64) } else { Err(wrong()) }
}

/// A size of memory, or -1 for none.
pub fn bytes_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    let size = bytes(text)?;
    i64::try_from(size).map_err(|_| format!("{text:?} is more than there can be"))
}

/// CPUs as quota in microseconds of a period of 100 ms: `1.5` is 150,000.
pub fn cpus(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no number of CPUs: expected 0.01 or more, such as 1.5");
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = if plain { text.parse().map_err(|_| wrong())? } else { return Err(wrong()) };
    let quota = (number * 100_000.0).round();
    if (1_000.0..1e12).contains(&quota) { Ok(quota as i64) } else { Err(wrong()) }
}

/// One of `--ulimit`: `nofile=1024` or `nofile=1024:2048`, soft and hard; -1 is unlimited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// `RLIMIT_NOFILE`.
    pub name: String,
    /// The soft limit.
    pub soft: u64,
    /// The hard limit.
    pub hard: u64,
}

/// Names of docker's limits.
const LIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

impl std::str::FromStr for Ulimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no limit: expected NAME=SOFT[:HARD], such as nofile=1024:2048");
        let (name, values) = text.split_once('=').ok_or_else(wrong)?;
        if !LIMITS.contains(&name) {
            return Err(format!("{name:?} is no limit: there are {}", LIMITS.join(", ")));
        }
        let number = |text: &str| match text {
            "-1" => Ok(u64::MAX),
            digits => digits.parse::<u64>().map_err(|_| wrong()),
        };
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let (soft, hard) = (number(soft)?, number(hard)?);
        if soft > hard {
            return Err(format!("{text:?}: the soft limit is above the hard one"));
        }
        Ok(Self { name: format!("RLIMIT_{}", name.to_ascii_uppercase()), soft, hard })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, size) in [
            ("0", 0),
            ("512", 512),
            ("7b", 7),
            ("2k", 2048),
            ("64M", 64 << 20),
            ("1.5g", 3 << 29),
            ("1GiB", 1 << 30),
            ("2t", 2 << 40),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "m", "-1", "1x", "1.2.3m", "0x10", "99999999999g", "1e3", " "] {
            assert!(bytes(text).is_err(), "{text:?}");
        }
        assert_eq!(bytes_or_unlimited("-1"), Ok(-1));
        assert!(bytes_or_unlimited("16777215t").is_err());
    }

    #[test]
    fn cpus_are_a_quota() {
        assert_eq!(cpus("1.5"), Ok(150_000));
        assert_eq!(cpus(".25"), Ok(25_000));
        for text in ["0", "0.001", "-1", "", "x", "inf", "nan", "1e3"] {
            assert!(cpus(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn limits_are_soft_and_hard() {
        let limit: Ulimit = "nofile=10:20".parse().unwrap();
        assert_eq!((limit.name.as_str(), limit.soft, limit.hard), ("RLIMIT_NOFILE", 10, 20));
        assert_eq!("core=-1".parse::<Ulimit>().unwrap().hard, u64::MAX);
        for text in ["nofile", "nofile=", "nofile=2:1", "files=1", "nofile=-2", "as=1"] {
            assert!(text.parse::<Ulimit>().is_err(), "{text:?}");
        }
    }
}
