//! Paths in buffers of fixed size, for code that must not allocate.

use std::ffi::CStr;

use rustix::io::Errno;

/// Longest path, as the kernel has it, with its NUL.
pub(super) const PATH_MAX: usize = 4096;

/// Longest name, as the kernel has it, with its NUL.
pub(super) const NAME_MAX: usize = 256;

/// Room for nearly all paths, in a fraction of a page.
pub(super) const SHORT: usize = 128;

/// A relative path without links: names joined by single slashes; empty for the directory itself.
pub(super) struct Names<const SIZE: usize = PATH_MAX> {
    bytes: [u8; SIZE],
    /// Below SIZE, so that a NUL follows.
    len: usize,
}

impl<const SIZE: usize> Names<SIZE> {
    pub(super) fn new() -> Self {
        Self { bytes: [0; SIZE], len: 0 }
    }

    pub(super) fn from(path: &[u8]) -> Result<Self, Errno> {
        let mut names = Self::new();
        names.append(path)?;
        Ok(names)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// For a system call: `.` where empty.
    pub(super) fn as_c_str(&self) -> &CStr {
        if self.is_empty() {
            return c".";
        }
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c".")
    }

    pub(super) fn push(&mut self, name: &[u8]) -> Result<(), Errno> {
        if !self.is_empty() {
            self.append(b"/")?;
        }
        self.append(name)
    }

    /// Drops the last name; false where there is none.
    pub(super) fn pop(&mut self) -> bool {
        let cut = self.as_bytes().iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        let had = !self.is_empty();
        self.truncate(cut);
        had
    }

    pub(super) fn truncate(&mut self, len: usize) {
        if let Some(tail) = self.bytes.get_mut(len..self.len) {
            tail.fill(0);
            self.len = len;
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let end = self.len.saturating_add(bytes.len());
        if end >= SIZE || bytes.contains(&0) {
            return Err(Errno::NAMETOOLONG);
        }
        let room = self.bytes.get_mut(self.len..end).ok_or(Errno::NAMETOOLONG)?;
        room.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

/// What of a path is still to be walked: names are taken from its front, links put before it.
pub(super) struct Pending {
    bytes: [u8; PATH_MAX],
    start: usize,
}

impl Pending {
    pub(super) fn new(path: &[u8]) -> Result<Self, Errno> {
        let mut pending = Self { bytes: [0; PATH_MAX], start: PATH_MAX };
        pending.prepend(path)?;
        Ok(pending)
    }

    /// Puts a link's target before what is left.
    pub(super) fn prepend(&mut self, path: &[u8]) -> Result<(), Errno> {
        let start = self.start.checked_sub(path.len() + 1).ok_or(Errno::NAMETOOLONG)?;
        let room = self.bytes.get_mut(start..self.start).ok_or(Errno::NAMETOOLONG)?;
        for (to, from) in room.iter_mut().zip(path.iter().chain(b"/")) {
            *to = *from;
        }
        self.start = start;
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == PATH_MAX
    }

    /// The next name, perhaps `.`, `..` or nothing between two slashes.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        let left = self.bytes.get(self.start..)?;
        let length = left.iter().position(|&byte| byte == b'/')?;
        self.start += length + 1;
        left.get(..length)
    }
}

/// `path` without leading and trailing slashes.
pub(super) fn trimmed(path: &CStr) -> &[u8] {
    let mut path = path.to_bytes();
    while let Some(rest) = path.strip_prefix(b"/") {
        path = rest;
    }
    while let Some(rest) = path.strip_suffix(b"/") {
        path = rest;
    }
    path
}

/// `path` without leading slashes, `.` for the root itself; None where it ends in a slash, which the
/// kernel would take for a wish.
pub(super) fn relative(path: &CStr) -> Option<&CStr> {
    let bytes = path.to_bytes_with_nul();
    let slashes = bytes.iter().take_while(|byte| **byte == b'/').count();
    let names = CStr::from_bytes_with_nul(bytes.get(slashes..)?).ok()?;
    match names.to_bytes().last() {
        None => Some(c"."),
        Some(b'/') => None,
        Some(_) => Some(names),
    }
}

/// The last name of a path that ends in an entry's name.
pub(super) fn last_name(path: &CStr) -> Option<&CStr> {
    let bytes = path.to_bytes_with_nul();
    let start = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    CStr::from_bytes_with_nul(bytes.get(start..)?).ok().filter(|name| is_entry(name.to_bytes()))
}

/// Splits at the last slash: the directory (empty for none) and the name in it.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => {
            let mut directory = path.get(..slash).unwrap_or_default();
            while let Some(rest) = directory.strip_suffix(b"/") {
                directory = rest;
            }
            (directory, path.get(slash + 1..).unwrap_or_default())
        }
        None => (b"", path),
    }
}

/// Is this the name of an entry, rather than of the directory itself or of its parent?
pub(super) fn is_entry(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_grow_and_shrink() {
        let mut names = Names::<SHORT>::from(b"a/b").unwrap();
        names.push(b"c").unwrap();
        assert_eq!(names.as_c_str(), c"a/b/c");
        assert!(names.pop() && names.pop());
        assert_eq!(names.as_c_str(), c"a");
        assert!(names.pop());
        assert_eq!((names.as_c_str(), names.is_empty()), (c".", true));
        assert!(!names.pop());
        names.push(b"d").unwrap();
        assert_eq!(names.as_c_str(), c"d");
    }

    #[test]
    fn names_end_at_path_max() {
        assert!(<Names>::from(&[b'a'; PATH_MAX - 1]).is_ok());
        assert_eq!(<Names>::from(&[b'a'; PATH_MAX]).err(), Some(Errno::NAMETOOLONG));
        assert_eq!(Names::<SHORT>::from(&[b'a'; SHORT]).err(), Some(Errno::NAMETOOLONG));
    }

    #[test]
    fn links_are_walked_before_the_rest() {
        let mut pending = Pending::new(b"x/y").unwrap();
        assert_eq!(pending.next(), Some(&b"x"[..]));
        pending.prepend(b"../z").unwrap();
        assert_eq!(pending.next(), Some(&b".."[..]));
        assert_eq!(pending.next(), Some(&b"z"[..]));
        assert_eq!(pending.next(), Some(&b"y"[..]));
        assert_eq!(pending.next(), None);
        assert_eq!(Pending::new(&[b'a'; PATH_MAX]).err(), Some(Errno::NAMETOOLONG));
    }

    #[test]
    fn names_are_parts_of_the_path_itself() {
        for (path, names, last) in [
            (c"//a/b", Some(c"a/b"), Some(c"b")),
            (c"b", Some(c"b"), Some(c"b")),
            (c"/", Some(c"."), None),
            (c"/a/..", Some(c"a/.."), None),
            (c"/a/", None, None),
        ] {
            assert_eq!((relative(path), last_name(path)), (names, last), "{path:?}");
        }
    }

    #[test]
    fn paths_split_at_their_last_name() {
        assert_eq!(trimmed(c"//a/b//"), b"a/b");
        assert_eq!(trimmed(c"/"), b"");
        assert_eq!(split(b"a//b"), (&b"a"[..], &b"b"[..]));
        assert_eq!(split(b"b"), (&b""[..], &b"b"[..]));
        assert!(is_entry(b"b") && !is_entry(b"") && !is_entry(b".") && !is_entry(b".."));
    }
}
