//! What extended headers add to an entry: pax(1), "pax Extended Header", and the keys of star, GNU tar and
//! libarchive.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::super::error::{EntryName, UnpackError};
use super::header::Header;
use super::sparse::{self, Map};
use super::{Entry, Kind, Time};

const INVALID: &str = "an extended header is invalid";
/// Of one file. The names of more do not fit into what listxattr(2) returns, or only just.
const MOST_XATTRS: usize = 1000;
/// libarchive leaves the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// All that precedes an entry's header.
#[derive(Default)]
pub struct Extended {
    /// GNU's `L`.
    pub long_name: Option<Vec<u8>>,
    /// GNU's `K`.
    pub long_link: Option<Vec<u8>>,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<i64>,
    gid: Option<i64>,
    mtime: Option<Time>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: Sparse,
}

#[derive(Default)]
struct Sparse {
    major: Option<u64>,
    minor: Option<u64>,
    name: Option<Vec<u8>>,
    size: Option<u64>,
    numbers: Vec<u64>,
}

/// Why an entry is refused.
pub enum Refused {
    /// Its header is damaged.
    Damaged(&'static str),
    /// It is not what may be in a layer.
    Entry(Vec<u8>, &'static str),
}

impl Refused {
    /// Why.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Damaged(reason) | Self::Entry(_, reason) => reason,
        }
    }

    /// At byte `at` of the archive.
    pub fn at(self, header: &Header, at: u64) -> UnpackError {
        match self {
            Self::Damaged(reason) if header.path().is_empty() => UnpackError::Archive { reason, at },
            Self::Damaged(reason) => {
                UnpackError::Entry { entry: EntryName::from(&header.path()[..]), reason }
            }
            Self::Entry(path, reason) => UnpackError::entry(&path, reason),
        }
    }
}

impl Extended {
    /// Reads the records of a header: `LENGTH KEY=VALUE\n`, of which a later one counts.
    pub fn read(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        // Some writers fill up with zeros.
        while bytes.first().is_some_and(|&byte| byte != 0) {
            let (record, rest) = split_record(bytes)?;
            let equals = record.iter().position(|&byte| byte == b'=').ok_or(INVALID)?;
            self.set(&record[..equals], &record[equals + 1..])?;
            bytes = rest;
        }
        Ok(())
    }

    /// The header's entry with all of this.
    pub fn apply(&self, header: &Header) -> Result<Entry, Refused> {
        let names = [&self.sparse.name, &self.long_name, &self.path];
        let path = names.into_iter().flatten().next().cloned().unwrap_or_else(|| header.path());
        let refuse = |reason| Refused::Entry(path.clone(), reason);
        let links = [&self.long_link, &self.link];
        let link = links.into_iter().flatten().next().cloned().unwrap_or_else(|| header.link());
        if path.contains(&0) || link.contains(&0) {
            return Err(refuse("its name has a NUL"));
        }
        let kind = header.makes(&path).map_err(Refused::Damaged)?;
        let kind = kind.ok_or_else(|| refuse("it is of a kind that layers do not have"))?;
        let owner = |id: i64| match u32::try_from(id) {
            Ok(id) if id < u32::MAX => Ok(id),
            _ => Err(refuse("its owner is none of 0 to 4294967294")),
        };
        let or = |pax: Option<i64>, header: Result<i64, _>| pax.map_or(header, Ok).map_err(Refused::Damaged);
        Ok(Entry {
            mode: header.mode().map_err(Refused::Damaged)?,
            uid: owner(or(self.uid, header.uid())?)?,
            gid: owner(or(self.gid, header.gid())?)?,
            mtime: self.mtime.map_or_else(|| header.mtime(), Ok).map_err(Refused::Damaged)?,
            size: self.size.map_or_else(|| header.size(), Ok).map_err(Refused::Damaged)?,
            link: if matches!(kind, Kind::HardLink | Kind::SymbolicLink) { link } else { Vec::new() },
            xattrs: self.xattrs.clone(),
            sparse: None,
            kind,
            path,
        })
    }

    /// Does it say that the file has holes?
    pub fn is_sparse(&self) -> bool {
        self.sparse.major.is_some() || self.sparse.size.is_some() || !self.sparse.numbers.is_empty()
    }

    /// A sparse file's map in PAX format 0.0, 0.1 or 1.0; None for other files.
    pub fn sparse_map(&self, entry: &[u8]) -> Result<Option<Map>, UnpackError> {
        let refuse = |reason| UnpackError::entry(entry, reason);
        let follows = match (self.sparse.major, self.sparse.minor) {
            (Some(1), Some(0)) => true,
            (None | Some(0), None | Some(0 | 1)) => false,
            _ => return Err(refuse("it is a sparse file in an unknown format")),
        };
        match self.sparse.size {
            None if follows || !self.sparse.numbers.is_empty() => Err(refuse(sparse::INVALID)),
            None => Ok(None),
            Some(size) => {
                let segments = sparse::pairs(&self.sparse.numbers).map_err(refuse)?;
                Ok(Some(Map { size, segments, follows }))
            }
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let given = (!value.is_empty()).then_some(value);
        match key {
            // An empty value takes back what an earlier record said.
            b"path" => self.path = given.map(<[u8]>::to_vec),
            b"linkpath" => self.link = given.map(<[u8]>::to_vec),
            b"size" => self.size = given.map(size).transpose()?,
            b"uid" => self.uid = given.map(signed).transpose()?,
            b"gid" => self.gid = given.map(signed).transpose()?,
            b"mtime" => self.mtime = given.map(time).transpose()?,
            b"GNU.sparse.major" => self.sparse.major = Some(decimal(value)?),
            b"GNU.sparse.minor" => self.sparse.minor = Some(decimal(value)?),
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.size = Some(decimal(value)?),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.sparse.numbers.push(decimal(value)?),
            b"GNU.sparse.map" => {
                let numbers = value.split(|&byte| byte == b',').map(decimal);
                self.sparse.numbers =
                    if value.is_empty() { Vec::new() } else { numbers.collect::<Result<_, _>>()? };
            }
            _ => return self.set_xattr(key, value),
        }
        Ok(())
    }

    fn set_xattr(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if self.xattrs.len() >= MOST_XATTRS {
            return Err("an entry has more than 1000 extended attributes");
        }
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            self.xattrs.retain(|(other, _)| other != name);
            self.xattrs.push((name.to_vec(), value.to_vec()));
        } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            let name = percent_decoded(name);
            // Archives have both; star's is the one that all read.
            if !self.xattrs.iter().any(|(other, _)| *other == name) {
                self.xattrs.push((name, BASE64.decode(value).map_err(|_| INVALID)?));
            }
        }
        Ok(())
    }
}

/// The first record without its length and newline, and what follows it. Values may hold newlines.
fn split_record(bytes: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let space = bytes.iter().take(20).position(|&byte| byte == b' ').ok_or(INVALID)?;
    let length = usize::try_from(decimal(&bytes[..space])?).map_err(|_| INVALID)?;
    match bytes.get(space + 1..length) {
        Some([record @ .., b'\n']) => Ok((record, &bytes[length..])),
        _ => Err(INVALID),
    }
}

fn decimal(text: &[u8]) -> Result<u64, &'static str> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.filter(|_| digits).ok_or(INVALID)
}

/// As many bytes as a file can have.
fn size(text: &[u8]) -> Result<u64, &'static str> {
    decimal(text).and_then(|size| i64::try_from(size).map(|_| size).map_err(|_| INVALID))
}

fn signed(text: &[u8]) -> Result<i64, &'static str> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let number = i64::try_from(decimal(digits)?).map_err(|_| INVALID)?;
    Ok(if negative { -number } else { number })
}

/// Seconds with a fraction; what is finer than nanoseconds is cut off.
fn time(text: &[u8]) -> Result<Time, &'static str> {
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let (whole, fraction) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(INVALID);
    }
    let digit = |index| fraction.get(index).map_or(0, |byte| u32::from(byte - b'0'));
    let nanoseconds = (0..9).fold(0, |sum, index| sum * 10 + digit(index));
    let seconds = signed(whole)?;
    match whole.starts_with(b"-") && nanoseconds > 0 {
        true => Ok(Time {
            seconds: seconds.checked_sub(1).ok_or(INVALID)?,
            nanoseconds: 1_000_000_000 - nanoseconds,
        }),
        false => Ok(Time { seconds, nanoseconds }),
    }
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let code = after.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code.filter(|_| *first == b'%') {
            Some(byte) => {
                decoded.push(byte);
                rest = &after[2..];
            }
            None => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let mut length = key.len() + value.len() + 3;
        length += length.to_string().len();
        if (length - 1).to_string().len() < length.to_string().len() && length.to_string().len() > 1 {
            let shorter = key.len() + value.len() + 3 + (length - 1).to_string().len();
            length =
                if shorter.to_string().len() == (length - 1).to_string().len() { shorter } else { length };
        }
        [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
    }

    #[test]
    fn values_may_hold_anything() {
        let mut extended = Extended::default();
        let bytes = [
            record("SCHILY.xattr.user.a", b"x\n7 a=b\n\0"),
            record("LIBARCHIVE.xattr.user.a", b"AAAA"),
            record("LIBARCHIVE.xattr.user.b%3d%zz", b"AQI"),
            record("path", b"name"),
            record("path", b""),
            record("linkpath", b"\xff"),
        ]
        .concat();
        extended.read(&bytes).unwrap();
        assert_eq!(extended.xattrs[0], (b"user.a".to_vec(), b"x\n7 a=b\n\0".to_vec()));
        assert_eq!(extended.xattrs[1], (b"user.b=%zz".to_vec(), vec![1, 2]));
        assert_eq!((extended.path, extended.link), (None, Some(vec![0xff])));
    }

    #[test]
    fn times_are_counted_forward_from_whole_seconds() {
        assert_eq!(time(b"1.5").unwrap(), Time { seconds: 1, nanoseconds: 500_000_000 });
        assert_eq!(time(b"-1.25").unwrap(), Time { seconds: -2, nanoseconds: 750_000_000 });
        assert_eq!(time(b"7.0000000019").unwrap(), Time { seconds: 7, nanoseconds: 1 });
        assert_eq!(time(b"7").unwrap(), Time { seconds: 7, nanoseconds: 0 });
        assert!(time(b"1.x").is_err() && time(b"").is_err() && time(b"99999999999999999999").is_err());
    }

    #[test]
    fn records_that_are_not_well_formed_are_refused() {
        for bytes in [
            &b"x"[..],
            b"5 a=b",
            b"99 a=b\n",
            b"6 ab\n\n",
            b"0 a=b\n",
            b"-6 a=b\n",
            b"6 a=bc\n",
            b"13 size=1e3x\n",
            b"29 size=18446744073709551615\n",
        ] {
            assert_eq!(Extended::default().read(bytes), Err(INVALID), "{bytes:?}");
        }
        assert!(Extended::default().read(b"6 a=b\n\0\0").is_ok());
    }
}
