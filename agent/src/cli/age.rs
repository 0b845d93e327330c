//! How long ago, in two units at most: `5s`, `3m2s`, `4d`.

use k8s_openapi::jiff::Timestamp;

/// Of a time as objects have it; "<unknown>" where there is none.
pub fn since(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => words(now.as_second() - time.as_second()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// Between two times.
pub fn between(from: &str, to: &str) -> Option<String> {
    let (from, to): (Timestamp, Timestamp) = (from.parse().ok()?, to.parse().ok()?);
    Some(words(to.as_second() - from.as_second()))
}

/// Of seconds.
pub fn words(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |large: i64, large_unit: char, small: i64, small_unit: char| {
        let (first, rest) = (seconds / large, seconds % large / small);
        if rest == 0 {
            format!("{first}{large_unit}")
        } else {
            format!("{first}{large_unit}{rest}{small_unit}")
        }
    };
    match seconds {
        i64::MIN..=-2 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, 'm', 1, 's'),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, 'h', MINUTE, 'm'),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, 'd', HOUR, 'h'),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(YEAR, 'y', DAY, 'd'),
        _ => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_kubectl_s() {
        let (m, h, d) = (60, 3600, 86_400);
        for (seconds, text) in [
            (-5, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (182, "3m2s"),
            (10 * m, "10m"),
            (3 * h - 1, "179m"),
            (3 * h + 5 * m, "3h5m"),
            (8 * h, "8h"),
            (47 * h, "47h"),
            (2 * d, "2d"),
            (2 * d + 3 * h, "2d3h"),
            (8 * d + 1, "8d"),
            (800 * d, "2y70d"),
            (9 * 365 * d, "9y"),
        ] {
            assert_eq!(words(seconds), text, "{seconds}");
        }
        let now: Timestamp = "2026-11-26T08:00:00Z".parse().unwrap();
        assert_eq!(since("2026-11-26T07:59:55Z", now), "5s");
        assert_eq!(since("", now), "<unknown>");
        assert_eq!(between("2026-11-26T07:59:55Z", "2026-11-26T08:00:00Z").as_deref(), Some("5s"));
    }
}
