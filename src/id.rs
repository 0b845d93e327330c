//! The container id: parsed once, valid ever after.

use std::fmt;

/// Longest id in bytes. The state directory and the cgroup `rcrun-ID` carry it as one file name
/// (NAME_MAX is 255, path_resolution(7)).
pub const MAX_ID_LENGTH: usize = 249;

/// A container's name on this host: letters, digits and `_+-.`, as runc has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

/// Why a string is no container id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdError {
    /// The empty string.
    #[error("container id is empty: give a name of letters, digits and _+-.")]
    Empty,
    /// `.` and `..` name directories.
    #[error("container id {0:?} names a directory of its own: choose another")]
    Dots(String),
    /// A character outside of letters, digits and `_+-.`.
    #[error("container id {id:?} has a {character:?}: only letters, digits and _+-. are allowed")]
    Character {
        /// The rejected id.
        id: String,
        /// Its first character that is not allowed.
        character: char,
    },
    /// Longer than [`MAX_ID_LENGTH`].
    #[error(
        "container id of {0} bytes is too long: at most {MAX_ID_LENGTH} fit its directory and cgroup names"
    )]
    TooLong(usize),
}

impl ContainerId {
    /// Checks `id` and takes it.
    pub fn parse(id: &str) -> Result<Self, IdError> {
        if id.is_empty() {
            return Err(IdError::Empty);
        }
        if id == "." || id == ".." {
            return Err(IdError::Dots(id.into()));
        }
        let allowed = |c: &char| c.is_ascii_alphanumeric() || "_+-.".contains(*c);
        if let Some(character) = id.chars().find(|c| !allowed(c)) {
            return Err(IdError::Character { id: id.chars().take(80).collect(), character });
        }
        if id.len() > MAX_ID_LENGTH {
            return Err(IdError::TooLong(id.len()));
        }
        Ok(Self(id.into()))
    }

    /// An id nobody chose: `rcrun-` and 12 hexadecimal digits of getrandom(2).
    pub fn random() -> Self {
        let mut bytes = [0; 6];
        crate::sys::random(&mut bytes);
        let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        Self(format!("rcrun-{digits}"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for ContainerId {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        Self::parse(s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_runc_takes_are_taken() {
        for id in ["a", "web-1", "A_b.c+d", "0123", "..a", &"x".repeat(MAX_ID_LENGTH)] {
            assert_eq!(ContainerId::parse(id).unwrap().as_str(), id);
        }
    }

    #[test]
    fn ids_that_could_leave_their_directory_are_refused() {
        for id in ["", ".", "..", "a/b", "../a", "a b", "a\n", "ä", "a\0"] {
            assert!(ContainerId::parse(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn the_limit_is_in_the_message() {
        let error = ContainerId::parse(&"x".repeat(MAX_ID_LENGTH + 1)).unwrap_err();
        assert!(error.to_string().contains("at most 249"), "{error}");
    }

    #[test]
    fn two_random_ids_differ_and_are_valid() {
        let (a, b) = (ContainerId::random(), ContainerId::random());
        assert_ne!(a, b);
        assert!(ContainerId::parse(a.as_str()).is_ok());
    }
}
