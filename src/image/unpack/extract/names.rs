//! What the names of an archive's entries mean.

use super::super::error::UnpackError;

const NAME_MAX: usize = 255;
/// PATH_MAX without the NUL.
pub const PATH_MAX: usize = 4095;

const WHITEOUT: &[u8] = b".wh.";
/// AUFS's own files begin so; all but the mark of an opaque directory mean nothing to others.
const AUFS: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What an entry is to the layer.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// Something of this name in the directory; None: the root itself.
    Make(Option<&'a [u8]>),
    /// Whatever lower layers have of this name is hidden.
    Hide(&'a [u8]),
    /// Whatever lower layers have in the directory is hidden.
    Opaque,
    /// Nothing.
    Nothing,
}

/// A name taken apart: the directory's names from the root, and what is meant in it.
pub fn parse(path: &[u8]) -> Result<(Vec<&[u8]>, Meaning<'_>), UnpackError> {
    let refuse = |reason| Err(UnpackError::entry(path, reason));
    let mut names = split(path)?;
    if names.iter().any(|name| name.starts_with(AUFS) && *name != OPAQUE) {
        return Ok((names, Meaning::Nothing));
    }
    let Some(last) = names.pop() else { return Ok((names, Meaning::Make(None))) };
    if names.iter().any(|name| name.starts_with(WHITEOUT)) {
        return refuse("it is below a whiteout");
    }
    let meaning = match last.strip_prefix(WHITEOUT) {
        None => Meaning::Make(Some(last)),
        Some(_) if last == OPAQUE => Meaning::Opaque,
        Some(b"" | b"." | b"..") => return refuse("it is a whiteout of no name"),
        Some(hidden) => Meaning::Hide(hidden),
    };
    Ok((names, meaning))
}

/// The names of a path from the root, where leading and doubled slashes and `.` mean nothing.
pub fn split(path: &[u8]) -> Result<Vec<&[u8]>, UnpackError> {
    let refuse = |reason| Err(UnpackError::entry(path, reason));
    if path.len() > PATH_MAX {
        return refuse("its name has more than 4095 bytes");
    }
    let mut names = Vec::with_capacity(16);
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => return refuse("its name has .. in it"),
            _ if name.len() > NAME_MAX => return refuse("its name has a part of more than 255 bytes"),
            _ => names.push(name),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_relative_to_the_root() {
        let parsed = |path: &'static str| parse(path.as_bytes()).unwrap();
        for path in ["a/b/c", "/a/b/c", "./a/./b//c", "a/b/c/", "//a/b/c/."] {
            assert_eq!(parsed(path), (vec![&b"a"[..], b"b"], Meaning::Make(Some(b"c"))), "{path}");
        }
        for path in ["", "/", ".", "./", "/./"] {
            assert_eq!(parsed(path), (vec![], Meaning::Make(None)), "{path:?}");
        }
    }

    #[test]
    fn whiteouts_hide_names_and_directories() {
        let meaning = |path: &'static str| parse(path.as_bytes()).unwrap().1;
        assert_eq!(meaning("a/.wh.b"), Meaning::Hide(b"b"));
        assert_eq!(meaning("a/.wh..b"), Meaning::Hide(b".b"));
        assert_eq!(meaning("a/.wh..wh..opq"), Meaning::Opaque);
        assert_eq!(meaning(".wh..wh..opq"), Meaning::Opaque);
        assert_eq!(meaning(".wh..wh.plnk/1.2"), Meaning::Nothing);
        assert_eq!(meaning(".wh..wh.aufs"), Meaning::Nothing);
        assert_eq!(meaning("a/b.wh.c"), Meaning::Make(Some(b"b.wh.c")));
    }

    #[test]
    fn names_that_lead_out_or_are_too_long_are_refused() {
        let (part, whole) = ("p".repeat(256), "a/".repeat(2048));
        for (path, reason) in [
            ("../a", ".."),
            ("a/../../b", ".."),
            ("a/..", ".."),
            ("/..", ".."),
            ("a/.wh...", "no name"),
            ("a/.wh..", "no name"),
            ("a/.wh.", "no name"),
            ("a/.wh.b/c", "below a whiteout"),
            (&part, "255"),
            (&whole, "4095"),
        ] {
            let error = parse(path.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains('\n'), "{path}: {error}");
        }
    }
}
