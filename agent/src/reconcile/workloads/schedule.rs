//! When a CronJob is due: five fields as in crontab(5), or `@hourly` and the like, in a time zone.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use k8s_openapi::jiff::tz::TimeZone;
use k8s_openapi::jiff::{Timestamp, Zoned};

/// What may be said instead of five fields.
const NICKNAMES: [&str; 7] =
    ["@YEARLY", "@ANNUALLY", "@MONTHLY", "@WEEKLY", "@DAILY", "@MIDNIGHT", "@HOURLY"];
/// Names within fields.
const NAMES: [&str; 19] = [
    "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG",
    "SEP", "OCT", "NOV", "DEC",
];

/// A schedule in a time zone.
pub(super) struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    /// Without a zone it is the machine's. The error is one line for people.
    pub fn parse(schedule: &str, zone: Option<&str>) -> Result<Self, String> {
        let zone = match zone {
            None => TimeZone::system(),
            Some(name) => time_zone(name)?,
        };
        let wrong = |why: &str| format!("schedule \"{schedule}\": {why}");
        let text = schedule.trim().to_uppercase().replace('?', "*");
        if text.contains("TZ=") {
            return Err(wrong("a time zone belongs into timeZone"));
        }
        if text.starts_with('@') {
            if !NICKNAMES.contains(&text.as_str()) {
                return Err(wrong("not one of @yearly, @monthly, @weekly, @daily, @hourly"));
            }
        } else {
            let fields = text.split_whitespace().count();
            if fields != 5 {
                let why = format!("{fields} fields, not 5 (minute, hour, day of month, month, day of week)");
                return Err(wrong(&why));
            }
            // The parser knows more than Kubernetes does: last days, nearest weekdays.
            let rest = NAMES.iter().fold(text.clone(), |text, name| text.replace(name, ""));
            let strange = rest
                .chars()
                .find(|c| !(c.is_ascii_digit() || c.is_ascii_whitespace() || "*/,-".contains(*c)));
            if let Some(strange) = strange {
                return Err(wrong(&format!("unexpected '{}'", strange.to_ascii_lowercase())));
            }
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(&text).map_err(|error| wrong(error.to_string().trim_end_matches('.')))?;
        Ok(Self { cron, zone })
    }

    fn at(&self, time: Timestamp) -> Zoned {
        time.to_zoned(self.zone.clone())
    }

    /// The first time after `time`. None: there is none.
    pub fn next(&self, time: Timestamp) -> Option<Timestamp> {
        self.cron.find_next_occurrence(&self.at(time), false).ok().map(|next| next.timestamp())
    }

    /// The last time that is not after `now`.
    pub fn last(&self, now: Timestamp) -> Option<Timestamp> {
        self.cron.find_previous_occurrence(&self.at(now), true).ok().map(|last| last.timestamp())
    }

    /// A time as people there write it.
    pub fn text(&self, time: Timestamp) -> String {
        self.at(time).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z")
    }
}

fn time_zone(name: &str) -> Result<TimeZone, String> {
    if name.is_empty() || name.eq_ignore_ascii_case("local") {
        return Err(format!(
            "timeZone \"{name}\": not a name of the tz database, as \"Europe/Berlin\" is one"
        ));
    }
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name)
        .map_err(|_| format!("timeZone \"{name}\": this machine's tz database has none of this name"))
}

/// Whether a CronJob's schedule and time zone can be followed. The error is one line for people.
pub fn check_schedule(schedule: &str, zone: Option<&str>) -> Result<(), String> {
    let parsed = Schedule::parse(schedule, zone)?;
    match parsed.next(Timestamp::UNIX_EPOCH) {
        Some(_) => Ok(()),
        None => Err(format!("schedule \"{schedule}\": there is no such day")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, zone: &str, from: &str) -> String {
        let parsed = Schedule::parse(schedule, Some(zone)).unwrap();
        parsed.text(parsed.next(from.parse().unwrap()).unwrap())
    }

    #[test]
    fn schedules_as_of_cron() {
        let from = "2026-01-01T00:00:00Z"; // A Thursday.
        for (schedule, then) in [
            ("* * * * *", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", "2026-01-01T00:15:00Z"),
            ("30 6-16/4 * * 1-5", "2026-01-01T06:30:00Z"),
            ("0 0 * * sun", "2026-01-04T00:00:00Z"),
            ("0 0 * * 7", "2026-01-04T00:00:00Z"),
            ("0 0 ? feb ?", "2026-02-01T00:00:00Z"),
            ("0 12 13 * 5", "2026-01-02T12:00:00Z"),
            ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
            ("@hourly", "2026-01-01T01:00:00Z"),
            ("@weekly", "2026-01-04T00:00:00Z"),
            ("@yearly", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(next(schedule, "UTC", from), then, "{schedule}");
        }
    }

    #[test]
    fn the_last_time_may_be_now() {
        let schedule = Schedule::parse("*/10 * * * *", Some("UTC")).unwrap();
        let last = |now: &str| schedule.text(schedule.last(now.parse().unwrap()).unwrap());
        assert_eq!(last("2026-01-01T00:10:00Z"), "2026-01-01T00:10:00Z");
        assert_eq!(last("2026-01-01T00:10:00.5Z"), "2026-01-01T00:10:00Z");
        assert_eq!(last("2026-01-01T00:09:59.9Z"), "2026-01-01T00:00:00Z");
    }

    #[test]
    fn wrong_ones_say_why() {
        for (schedule, why) in [
            ("* * * *", "4 fields, not 5"),
            ("* * * * * *", "6 fields"),
            ("61 * * * *", "61"),
            ("0 0 L * *", "unexpected 'l'"),
            ("0 0 * * 5#2", "unexpected '#'"),
            ("@every 1h", "not one of"),
            ("@reboot", "not one of"),
            ("TZ=UTC * * * * *", "belongs into timeZone"),
            ("0 0 31 2 *", "no such day"),
            ("", "0 fields"),
        ] {
            let error = check_schedule(schedule, Some("UTC")).unwrap_err();
            assert!(error.contains(why) && error.contains(schedule) && !error.contains('\n'), "{error}");
        }
        assert!(check_schedule("* * * * *", Some("Mars/Olympus")).unwrap_err().contains("Mars/Olympus"));
        assert!(check_schedule("* * * * *", Some("")).is_err());
        assert_eq!(check_schedule("* * * * *", None), Ok(()));
    }

    #[test]
    fn clocks_that_are_put_forward() {
        if TimeZone::get("Europe/Berlin").is_err() {
            eprintln!("SKIP clocks_that_are_put_forward: no tz database here");
            return;
        }
        assert_eq!(next("0 12 * * *", "Europe/Berlin", "2026-07-01T00:00:00Z"), "2026-07-01T12:00:00+02:00");
        assert_eq!(next("0 12 * * *", "Europe/Berlin", "2026-01-01T00:00:00Z"), "2026-01-01T12:00:00+01:00");
        // 02:30 does not exist on that day: it comes when the clocks have been put forward.
        let skipped = next("30 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z");
        assert!(skipped.starts_with("2026-03-29T03") || skipped.starts_with("2026-03-30T02:30"), "{skipped}");
    }
}
