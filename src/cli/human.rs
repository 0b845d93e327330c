//! Sizes and ages as docker prints them: `4.26MB`, `3 weeks ago`.

use std::time::{SystemTime, UNIX_EPOCH};

use rcrun::state::parse_rfc3339;

const UNITS: [&str; 8] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB"];

/// Three digits and a unit of powers of 1000.
pub fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, 0);
    // What would be rounded to 1000 belongs to the next unit.
    while value >= 999.5 && unit < UNITS.len() - 1 {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        _ => 2,
    };
    let number = format!("{value:.decimals$}");
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => &number,
    };
    format!("{number}{}", UNITS[unit])
}

/// How long ago an RFC 3339 time was; Go's zero time and what is none are `N/A`.
pub fn since(time: Option<&str>) -> String {
    match time.and_then(parse_rfc3339) {
        Some(then) if then > YEAR_ONE => format!("{} ago", duration(now() - then)),
        _ => "N/A".to_owned(),
    }
}

/// How long ago a moment was, in nanoseconds since 1970.
pub fn age(nanoseconds: i64) -> String {
    duration(now() - nanoseconds / 1_000_000_000)
}

/// 0001-01-02T00:00:00Z: Go's zero time is the day before.
const YEAR_ONE: i64 = -62_135_510_400;

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// About so long, in one unit.
fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        ..=0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// `text` cut to `most` characters, the last of which then is an ellipsis.
pub fn cut(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (4_261_234, "4.26MB"),
            (77_860_000, "77.9MB"),
            (123_456_789, "123MB"),
            (999_999, "1MB"),
            (1_500_000_000, "1.5GB"),
            (9_996, "10kB"),
            (99_960, "100kB"),
            (u64::MAX, "18.4EB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn ages_are_dockers() {
        const HOUR: i64 = 3600;
        for (seconds, text) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (59 * 60, "59 minutes"),
            (HOUR, "About an hour"),
            (47 * HOUR, "47 hours"),
            (48 * HOUR, "2 days"),
            (15 * 24 * HOUR, "2 weeks"),
            (70 * 24 * HOUR, "2 months"),
            (800 * 24 * HOUR, "2 years"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(since(Some("0001-01-01T00:00:00Z")), "N/A");
        assert_eq!(since(None), "N/A");
        assert!(since(Some("1970-01-01T00:00:00Z")).ends_with(" years ago"));
    }

    #[test]
    fn a_text_is_cut_at_characters() {
        assert_eq!(cut("äöüß", 4), "äöüß");
        assert_eq!(cut("äöüßx", 4), "äöü…");
    }
}
