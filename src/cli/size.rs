//! Amounts of memory as runc's `update` takes them: `1073741824`, `64M`, `1g`, `1.5 GiB`.

/// Why a word is no amount of memory.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected bytes, or a number with one of b, k, m, g, t, p (powers of 1024)")]
pub struct NotASize;

/// Bytes; `-1` stands for no limit.
pub fn parse_or_unlimited(word: &str) -> Result<i64, NotASize> {
    if word == "-1" { Ok(-1) } else { parse(word) }
}

/// Bytes. Units are powers of 1024 in any case; `b` and `ib` after them change nothing.
fn parse(word: &str) -> Result<i64, NotASize> {
    let end = word.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or(NotASize)?;
    let (number, unit) = word.split_at(end + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    if !number.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(NotASize);
    }
    let number: f64 = number.parse().map_err(|_| NotASize)?;
    let power = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(NotASize),
    };
    let bytes = number * 1024_f64.powi(power);
    // 2^63 and above would be cut to the largest i64, which is not what was asked for.
    if bytes < i64::MAX as f64 { Ok(bytes as i64) } else { Err(NotASize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_1024_in_any_case() {
        for (word, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64M", 64 << 20),
            ("64mb", 64 << 20),
            ("64 MiB", 64 << 20),
            ("1g", 1 << 30),
            ("1.5k", 1536),
            ("2T", 2 << 40),
            ("1p", 1 << 50),
            ("7b", 7),
        ] {
            assert_eq!(parse_or_unlimited(word), Ok(bytes), "{word}");
        }
    }

    #[test]
    fn minus_one_is_no_limit_and_other_negatives_are_nothing() {
        assert_eq!(parse_or_unlimited("-1"), Ok(-1));
        for word in ["-2", "-1k", "", "M", "10x", "10kk", "1kbb", "1.2.3", "9999999p", "inf", "nan"] {
            assert_eq!(parse_or_unlimited(word), Err(NotASize), "{word}");
        }
    }
}
