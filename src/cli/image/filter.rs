//! `--filter` of `images` and `image prune`, with docker's meanings.

use std::time::Duration;

use anyhow::{Context as _, bail};
use rcrun::image::store::{Image, Store};
use rcrun::state::parse_rfc3339;

use super::find;
use crate::cli::human;
use crate::cli::words::boolean;

/// Conditions that an image must meet: of references one, of all else every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    references: Vec<String>,
    pub dangling: Option<bool>,
    labels: Vec<(String, Option<String>)>,
    without_labels: Vec<(String, Option<String>)>,
    before: Vec<String>,
    since: Vec<String>,
    until: Option<i64>,
}

impl Filter {
    /// Of words `KEY=VALUE`.
    pub fn parse(words: &[String]) -> anyhow::Result<Self> {
        let mut filter = Self::default();
        for word in words {
            let Some((key, value)) = word.split_once('=') else {
                bail!("--filter {word:?}: expected KEY=VALUE");
            };
            match key.trim() {
                "reference" => filter.references.push(value.to_owned()),
                "dangling" => match boolean(value.as_ref()) {
                    Some(dangling) => filter.dangling = Some(dangling),
                    None => bail!("--filter dangling={value}: expected true or false"),
                },
                "label" => filter.labels.push(label(value)),
                "label!" => filter.without_labels.push(label(value)),
                "before" => filter.before.push(value.to_owned()),
                "since" => filter.since.push(value.to_owned()),
                "until" => filter.until = Some(moment(value).context("--filter until")?),
                other => bail!(
                    "--filter {other}: there are reference, dangling, label, label!, before, since and until"
                ),
            }
        }
        Ok(filter)
    }

    /// Also this pattern of names.
    pub fn and_reference(mut self, pattern: Option<&str>) -> Self {
        self.references.extend(pattern.map(str::to_owned));
        self
    }

    /// Those of `images` that meet it.
    pub fn chosen<'i>(&self, store: &Store, images: &'i [Image]) -> anyhow::Result<Vec<&'i Image>> {
        let moments = |names: &[String]| -> anyhow::Result<Vec<i64>> {
            let found = names.iter().map(|name| Ok(created(&find(store, name)?)));
            found.collect()
        };
        let (before, since) = (moments(&self.before)?, moments(&self.since)?);
        let mut chosen = Vec::new();
        for image in images {
            let time = created(image);
            let in_time = before.iter().all(|moment| time < *moment)
                && since.iter().all(|moment| time > *moment)
                && self.until.is_none_or(|until| time < until);
            let dangling = images.iter().filter(|other| other.id == image.id).all(Image::is_untagged);
            if in_time
                && self.dangling.is_none_or(|wanted| wanted == dangling)
                && self.is_called(image)
                && self.has_labels(store, image)?
            {
                chosen.push(image);
            }
        }
        Ok(chosen)
    }

    fn is_called(&self, image: &Image) -> bool {
        let called = |pattern: &String| {
            image.name.as_ref().is_some_and(|name| {
                matches(pattern, &name.familiar()) || matches(pattern, &name.familiar_name())
            })
        };
        self.references.is_empty() || self.references.iter().any(called)
    }

    fn has_labels(&self, store: &Store, image: &Image) -> anyhow::Result<bool> {
        if self.labels.is_empty() && self.without_labels.is_empty() {
            return Ok(true);
        }
        let facts = store.contents(image)?.facts.unwrap_or_default();
        let labels = facts.labels();
        let has = |(key, value): &(String, Option<String>)| {
            let is =
                |known: &(String, String)| known.0 == *key && value.as_ref().is_none_or(|v| known.1 == *v);
            labels.iter().any(is)
        };
        Ok(self.labels.iter().all(has) && !self.without_labels.iter().any(has))
    }
}

fn created(image: &Image) -> i64 {
    image.created.as_deref().and_then(parse_rfc3339).unwrap_or(i64::MIN)
}

fn label(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    }
}

/// An RFC 3339 time, a date, seconds since 1970, or a Go duration before now: `24h`, `1h30m`.
pub fn moment(text: &str) -> anyhow::Result<i64> {
    let date = || parse_rfc3339(&format!("{text}T00:00:00Z"));
    let local = || parse_rfc3339(&format!("{text}Z"));
    let ago = || Some(human::now() - i64::try_from(go_duration(text)?.as_secs()).ok()?);
    let found = parse_rfc3339(text).or_else(date).or_else(local);
    match found.or_else(|| text.parse().ok()).or_else(ago) {
        Some(moment) => Ok(moment),
        None => bail!("{text:?}: expected a time such as 2026-01-02T03:04:05Z, or an age such as 24h"),
    }
}

fn go_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|at| *at > 0)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let seconds = match &tail[..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        rest = &tail[unit..];
    }
    (!text.is_empty()).then_some(total)
}

/// Go's path.Match without classes of characters: `*` and `?` do not stand for a slash.
fn matches(pattern: &str, text: &str) -> bool {
    let mut characters = pattern.chars();
    match characters.next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = characters.as_str();
            let ends = text.char_indices().map(|(at, c)| (at, Some(c))).chain([(text.len(), None)]);
            for (at, c) in ends {
                if matches(rest, &text[at..]) {
                    return true;
                }
                if c == Some('/') {
                    return false;
                }
            }
            false
        }
        Some(wanted) => {
            let mut rest = text.chars();
            let same = rest.next().is_some_and(|c| c == wanted || (wanted == '?' && c != '/'));
            same && matches(characters.as_str(), rest.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stop_at_slashes() {
        for (pattern, text, expected) in [
            ("busybox", "busybox", true),
            ("busy*:1.?", "busybox:1.2", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("*/*:l*", "a/b:latest", true),
            ("b*x", "busybox:1", false),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn filters_are_read_and_others_refused() {
        let parse =
            |words: &[&str]| Filter::parse(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        let filter = parse(&["dangling=true", "label=a=b=c", "label=x", "until=2000-01-01"]).unwrap();
        assert_eq!(filter.dangling, Some(true));
        assert_eq!(filter.labels, [("a".into(), Some("b=c".into())), ("x".into(), None)]);
        assert_eq!(filter.until, Some(946_684_800));
        assert!(parse(&["until=1h30m"]).unwrap().until.unwrap() < human::now() - 5000);
        for words in ["dangling=maybe", "nothing", "colour=red", "until=soon"] {
            assert!(parse(&[words]).is_err(), "{words}");
        }
    }
}
