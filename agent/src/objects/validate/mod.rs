//! Whether an object is right in itself: names, ranges, references within it. And whether it may replace another.

pub mod names;

use super::Object;

/// A rule that is broken: at which path, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct Invalid {
    /// `spec.selector`.
    pub path: String,
    /// For people.
    pub why: String,
}

/// All rules that a completed object breaks.
pub fn check(object: &Object) -> Vec<Invalid> {
    let _ = object;
    Vec::new()
}

/// All rules that a change breaks: fields that cannot be changed, for one.
pub fn check_change(before: &Object, after: &Object) -> Vec<Invalid> {
    let _ = (before, after);
    Vec::new()
}
