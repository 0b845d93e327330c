//! What a registry answered: errors in words, and bodies with a limit.

use std::io::{self, Read};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use ureq::Body;
use ureq::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use ureq::http::{HeaderMap, Response};

use super::error::{Failure, Words};
use super::pace::Pace;
use super::transport::Transport;
use crate::text::is_obeyed;

/// What is read of an error's body.
const MOST_OF_AN_ERROR: u64 = 64 << 10;
/// How long an error's body is listened to.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes that are read at once.
const PIECE: usize = 16 << 10;
/// What is shown of it, in characters.
const MOST_WORDS: usize = 300;

/// The value of a header, if it has one that is text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// The media type without its parameters, in lower case; empty where none is said.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let all = header(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    all.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A body whole, up to `most` bytes. `cure` is the variable that raises that.
pub(super) fn read_body(
    transport: &Transport,
    answer: Response<Body>,
    what: &'static str,
    most: u64,
    cure: Option<&'static str>,
) -> Result<Vec<u8>, Failure> {
    not_encoded(answer.headers())?;
    let mut bytes = Vec::new();
    let body = answer.into_body().into_with_config().limit(u64::MAX).reader();
    let mut limited = body.take(most.saturating_add(1));
    let (mut piece, mut pace) = (vec![0; PIECE], Pace::default());
    loop {
        let started = Instant::now();
        let read = limited.read(&mut piece).map_err(|error| transport.explain_read(error))?;
        if read == 0 {
            break;
        }
        bytes.extend_from_slice(&piece[..read]);
        if let Some(slow) = pace.count(&transport.timeouts, read, started.elapsed()) {
            return Err(slow);
        }
    }
    match bytes.len() as u64 > most {
        true => Err(Failure::TooLarge { what, most, cure }),
        false => Ok(bytes),
    }
}

/// Refuses what is compressed for the way, which was not asked for: nobody would unpack it.
pub(super) fn not_encoded(headers: &HeaderMap) -> Result<(), Failure> {
    match header(headers, CONTENT_ENCODING.as_str()) {
        None | Some("" | "identity") => Ok(()),
        Some(encoding) => Err(Failure::Encoded(printable(encoding))),
    }
}

/// Lets what succeeded through; everything else is an error in the registry's own words. `what` was asked for.
pub(super) fn successful(answer: Response<Body>, what: &'static str) -> Result<Response<Body>, Failure> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status().as_u16();
    let wait = retry_after(answer.headers(), SystemTime::now());
    let words = words(answer);
    Err(match status {
        404 => Failure::NotFound { what, words },
        429 => Failure::Busy { wait, words },
        _ => Failure::Status { status, wait, words },
    })
}

/// What the body of an error says. Reading it may fail: then it said nothing.
pub(super) fn words(answer: Response<Body>) -> Words {
    let is_html = media_type(answer.headers()) == "text/html";
    match beginning(answer) {
        Ok(bytes) if is_html => Words(title(&bytes).unwrap_or_default()),
        Ok(bytes) => Words(error_words(&bytes).unwrap_or_default()),
        Err(_) => Words::default(),
    }
}

/// As much of an error's body as is worth reading, and as is there soon.
fn beginning(answer: Response<Body>) -> io::Result<Vec<u8>> {
    let (mut bytes, mut piece) = (Vec::new(), vec![0; PIECE]);
    let mut limited = answer.into_body().into_reader().take(MOST_OF_AN_ERROR);
    let started = Instant::now();
    // Read first: a machine that stands still is no registry that says nothing.
    loop {
        match limited.read(&mut piece)? {
            0 => break,
            read => bytes.extend_from_slice(&piece[..read]),
        }
        if started.elapsed() >= PATIENCE {
            break;
        }
    }
    Ok(bytes)
}

/// The distribution specification's errors, and what token servers write in their place.
#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<OneError>,
    #[serde(default)]
    details: Option<String>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    error_description: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

fn error_words(bytes: &[u8]) -> Option<String> {
    let Ok(errors) = serde_json::from_slice::<Errors>(bytes) else {
        // Some say it in plain text.
        let text = printable(str::from_utf8(bytes).ok()?);
        return (!text.is_empty() && !text.starts_with(['<', '{'])).then_some(text);
    };
    let one = |error: &OneError| match (error.code.as_str(), error.message.as_str()) {
        (code, "") => code.to_owned(),
        ("", message) => message.to_owned(),
        (code, message) => format!("{code}: {message}"),
    };
    let listed: Vec<String> = errors.errors.iter().take(3).map(one).collect();
    let single = errors.error_description.or(errors.details).or(errors.message).or(errors.error);
    let text = if listed.is_empty() { single? } else { listed.join(", ") };
    Some(printable(&text))
}

/// The title of a web page, if it has one at its beginning.
pub(super) fn title(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]);
    // ASCII alone changes its case: positions stay.
    let lower = text.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower[start..].find('>')? + 1;
    let end = start + lower[start..].find('<')?;
    Some(printable(&text[start..end])).filter(|title| !title.is_empty())
}

/// One line without control characters, not too long.
pub(super) fn printable(text: &str) -> String {
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || is_obeyed(c)).collect();
    let line: String = words
        .into_iter()
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(MOST_WORDS)
        .collect();
    line
}

/// Retry-After: seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = header(headers, RETRY_AFTER.as_str())?;
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => http_date(value).map(|date| date.duration_since(now).unwrap_or_default()),
    }
}

/// IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let (_, rest) = text.split_once(", ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, time, "GMT"] = fields.as_slice() else { return None };
    let clock: Vec<u64> = time.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
    let (&[hour, minute, second], Ok(day), Ok(year)) =
        (clock.as_slice(), day.parse::<u64>(), year.parse::<u64>())
    else {
        return None;
    };
    let month = MONTHS.find(month).filter(|at| month.len() == 3 && at % 3 == 0)? as u64 / 3 + 1;
    if !(1970..=9999).contains(&year) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970 by the civil calendar, with March as the year's first month.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    let seconds = (days.checked_sub(719_468)?) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_in_their_own_words() {
        for (body, text) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#,
                "MANIFEST_UNKNOWN: manifest unknown",
            ),
            (r#"{"errors":[{"code":"A"},{"message":"b"}]}"#, "A, b"),
            (r#"{"details":"incorrect username or password"}"#, "incorrect username or password"),
            (r#"{"error":"invalid_grant","error_description":"it is old"}"#, "it is old"),
            ("404 page not\n\tfound \u{1b}[31m\u{202e}x", "404 page not found [31m x"),
        ] {
            assert_eq!(error_words(body.as_bytes()).as_deref(), Some(text));
        }
        for silent in [&b"{}"[..], b"", b"<xml>", b"{\"errors\":7}", b"\xff\xfe", b"{\"errors\":[]}"] {
            assert_eq!(error_words(silent), None, "{silent:?}");
        }
        assert!(error_words(&vec![b'a'; 5000]).is_some_and(|text| text.len() == MOST_WORDS));
    }

    #[test]
    fn a_web_page_is_known_by_its_title() {
        assert_eq!(title(b"<html><TITLE lang=en> Sign\nin </title>").as_deref(), Some("Sign in"));
        for none in [&b""[..], b"<title", b"<title>", b"<title></title>", b"<title>x"] {
            assert_eq!(title(none), None);
        }
    }

    #[test]
    fn waiting_is_asked_for_in_seconds_or_until_a_date() {
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, UNIX_EPOCH + Duration::from_secs(784_111_770)).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(7));
        assert_eq!(wait("Sun, 06 Nov 1983 08:49:37 GMT"), Some(0));
        for bad in [
            "soon",
            "-1",
            "Sun, 06 Nov 1994",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "Sun, 06 ovD 1994 08:49:37 GMT",
        ] {
            assert_eq!(wait(bad), None, "{bad}");
        }
    }
}
