//! Why an archive cannot be read.

use std::io;

use crate::image::{ManifestError, ReferenceError, StoreError};

/// An archive that cannot be read, or says what cannot be. The caller adds the archive's own name.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ArchiveError {
    #[error("read {what}")]
    Read { what: String, source: io::Error },
    #[error("open {path}")]
    Open { path: String, source: io::Error },
    #[error(transparent)]
    Spool(StoreError),
    #[error("it is empty")]
    Empty,
    #[error(
        "it is compressed with {0}, but only gzip and zstd are read: pipe it through {0} -dc into rcrun load"
    )]
    Compression(&'static str),
    #[error("it is no tar archive: the first header's checksum is wrong")]
    NoArchive,
    #[error("the archive is damaged at byte {at}: {what}")]
    Damaged { at: u64, what: &'static str },
    #[error("the archive is cut off: {name:?} goes on after its end")]
    CutOff { name: String },
    #[error("the archive has more than {0} entries: RCRUN_IMAGE_MAX_ARCHIVE_ENTRIES raises the limit")]
    Entries(usize),
    #[error(
        "the archive has {bytes} bytes of names for one entry, more than {most}: RCRUN_IMAGE_MAX_HEADER_BYTES raises the limit"
    )]
    Header { bytes: u64, most: u64 },
    #[error("the archive unpacks to more than {0} times its size: RCRUN_IMAGE_MAX_RATIO raises the limit")]
    Ratio(u64),
    #[error("the archive has two entries called {0:?}")]
    Twice(String),
    #[error("the archive's {name:?} leads out of the archive, by {path:?}")]
    Escape { name: String, path: String },
    #[error("the archive's {0:?} leads in a circle of links")]
    Circle(String),
    #[error("the archive's {name:?} is {kind}, not a file")]
    NoFile { name: String, kind: &'static str },
    #[error("{needed_by} names {name:?}, which is not in the archive")]
    Missing { name: String, needed_by: String },
    #[error("{name} has {size} bytes, more than {most}: RCRUN_IMAGE_MAX_{variable} raises the limit")]
    TooLarge { name: String, size: u64, most: u64, variable: &'static str },
    #[error("{name} is no JSON of its kind: {reason}")]
    Json { name: String, reason: String },
    #[error(
        "manifest.json names the file {0:?}, which no archive of images has: at most 255 bytes, none of them a control character"
    )]
    FileName(String),
    #[error("it is no archive of images: it has neither manifest.json nor index.json with oci-layout")]
    NoImages,
    #[error("it was made by a Docker older than 1.10: load and save it with a newer one")]
    Ancient,
    #[error("oci-layout says version {0:?}, but only 1.x exists")]
    LayoutVersion(String),
    #[error("{name} lists no image")]
    EmptyList { name: &'static str },
    #[error("{name} lists {count} images, more than {most}: RCRUN_IMAGE_MAX_INDEX_ENTRIES raises the limit")]
    Images { name: &'static str, count: usize, most: usize },
    #[error("{within}: {source}")]
    Manifest { within: String, source: ManifestError },
    #[error("{0}: indexes are nested too deeply")]
    Nested(String),
    #[error("{within}: {source}")]
    Name { within: String, source: ReferenceError },
    #[error(
        "{within} names the image {name:?} by its digest: only names with a tag, or without one, are given to images"
    )]
    NameWithDigest { within: String, name: String },
    #[error("{within} calls two images {name}")]
    SameName { within: &'static str, name: String },
    #[error("{name} has the digest {found}, but {expected} was expected: the archive is damaged")]
    Changed { name: String, found: String, expected: String },
    #[error("{name} has {found} bytes, but {needed_by} says {expected}")]
    Size { name: String, found: u64, expected: u64, needed_by: String },
    #[error("{config} lists {diff_ids} layers, but {within} has {layers}")]
    LayerCount { config: String, diff_ids: usize, within: String, layers: usize },
    #[error("{config} says its root file system is {said:?}, but only \"layers\" exists")]
    Rootfs { config: String, said: String },
    #[error("{within} has {count} layers, more than {most}: RCRUN_IMAGE_MAX_LAYERS raises the limit")]
    Layers { within: String, count: usize, most: usize },
    #[error("{within}: the layer {digest} is {media_type:?}, which cannot be unpacked")]
    LayerType { within: String, digest: String, media_type: String },
}
