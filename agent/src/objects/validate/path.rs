//! Where a rule is broken: the path to a field is built on the way to it, and written only if there is something to say.

use std::collections::BTreeSet;
use std::fmt;

use super::Invalid;
use super::names::Rule;

/// A place in an object.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    /// The object.
    Object,
    /// A field, or several: `spec.template`.
    Field(&'a At<'a>, &'a str),
    /// An item of a list.
    Item(&'a At<'a>, usize),
    /// A value of a map.
    Key(&'a At<'a>, &'a str),
}

impl<'a> At<'a> {
    pub(super) fn field(&'a self, name: &'a str) -> Self {
        At::Field(self, name)
    }

    pub(super) fn item(&'a self, index: usize) -> Self {
        At::Item(self, index)
    }

    pub(super) fn key(&'a self, key: &'a str) -> Self {
        At::Key(self, key)
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Object => Ok(()),
            At::Field(At::Object, name) => f.write_str(name),
            At::Field(parent, name) => write!(f, "{parent}.{name}"),
            At::Item(parent, index) => write!(f, "{parent}[{index}]"),
            At::Key(parent, key) => write!(f, "{parent}[{key}]"),
        }
    }
}

/// What is broken.
#[derive(Default)]
pub(super) struct Broken(pub(super) Vec<Invalid>);

impl Broken {
    /// Something is wrong at a place.
    pub(super) fn add(&mut self, at: &At<'_>, why: impl Into<String>) {
        self.0.push(Invalid { path: at.to_string(), why: why.into() });
    }

    /// Something has to be so.
    pub(super) fn that(&mut self, so: bool, at: &At<'_>, why: &str) {
        if !so {
            self.add(at, why);
        }
    }

    /// A text has to be something.
    pub(super) fn rule(&mut self, at: &At<'_>, text: &str, rule: fn(&str) -> Rule) {
        if text.is_empty() {
            self.add(at, "it is not set");
        } else if let Err(why) = rule(text) {
            self.add(at, format!("\"{text}\" {why}"));
        }
    }

    /// The same of a text that may be left out.
    pub(super) fn rule_if(&mut self, at: &At<'_>, text: Option<&String>, rule: fn(&str) -> Rule) {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.rule(at, text, rule);
        }
    }

    /// A text has to be there.
    pub(super) fn set(&mut self, at: &At<'_>, text: Option<&String>) {
        self.that(text.is_some_and(|text| !text.is_empty()), at, "it is not set");
    }

    /// A text that is there has to be one of several.
    pub(super) fn one_of(&mut self, at: &At<'_>, text: Option<&String>, allowed: &[&str]) {
        if let Some(text) = text.filter(|text| !allowed.contains(&text.as_str())) {
            self.add(at, format!("\"{text}\" is none of {}", allowed.join(", ")));
        }
    }

    /// A number that is there has to be in a range.
    pub(super) fn range<N: Into<i64>>(&mut self, at: &At<'_>, number: Option<N>, least: i64, most: i64) {
        let Some(number) = number.map(Into::into) else { return };
        if number < least || number > most {
            let range = match most {
                i64::MAX => format!("at least {least}"),
                most => format!("from {least} to {most}"),
            };
            self.add(at, format!("{number}: it must be {range}"));
        }
    }

    /// A number that is there must not be negative.
    pub(super) fn natural<N: Into<i64>>(&mut self, at: &At<'_>, number: Option<N>) {
        self.range(at, number, 0, i64::MAX);
    }

    /// A port.
    pub(super) fn port(&mut self, at: &At<'_>, number: i32) {
        self.range(at, Some(number), 1, 65535);
    }

    /// Exactly one of several has to be there, which are called by their names.
    pub(super) fn exactly_one(&mut self, at: &At<'_>, there: &[(&str, bool)]) {
        let names: Vec<_> = there.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
        let all: Vec<_> = there.iter().map(|(name, _)| *name).collect();
        match names.len() {
            1 => {}
            0 => self.add(at, format!("one of {} is needed", all.join(", "))),
            _ => self.add(at, format!("only one of {} may be there", names.join(", "))),
        }
    }

    /// Something must not be there twice.
    pub(super) fn once<T: Ord + fmt::Display>(&mut self, at: &At<'_>, value: T, seen: &mut BTreeSet<T>) {
        if seen.contains(&value) {
            self.add(at, format!("\"{value}\" is there twice"));
        } else {
            seen.insert(value);
        }
    }
}
