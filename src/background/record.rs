//! `background.json`: what is known of a container in the background beside its shim's settings.

use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::network::Network;
use super::{BackgroundError, write_whole};
use crate::image::Digest;

/// The file in the container's directory.
pub(super) const FILE: &str = "background.json";
const SCHEMA: u32 = 1;

/// A container in the background.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of the file.
    pub schema: u32,
    /// 64 hexadecimal digits.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The image as it was called.
    pub image: String,
    /// The image's id.
    pub image_id: Digest,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// When its program ran last, in nanoseconds since 1970; None: it never did.
    #[serde(default)]
    pub started: Option<i64>,
    /// It goes away with its process: `--rm`.
    #[serde(default)]
    pub remove: bool,
    /// The signal that stops it.
    pub stop_signal: i32,
    /// Seconds that it then has; None: 10.
    #[serde(default)]
    pub stop_timeout: Option<i64>,
    /// With a bridge.
    #[serde(default)]
    pub network: Option<Network>,
}

impl Record {
    /// The version of records that are made now.
    pub(super) const SCHEMA: u32 = SCHEMA;

    /// That of a container's directory; None where there is none.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, BackgroundError> {
        let path = directory.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(BackgroundError::file("read", &path, error)),
        };
        let damaged = |reason| BackgroundError::Damaged { path: path.clone(), reason };
        let record: Self = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        match record.schema {
            SCHEMA => Ok(Some(record)),
            other => Err(damaged(format!("schema {other}; this version of rcrun knows {SCHEMA}"))),
        }
    }

    pub(super) fn write(&self, directory: &Path) -> Result<(), BackgroundError> {
        let json = serde_json::to_vec(self).expect("a record has no maps with keys that are no text");
        write_whole(&directory.join(FILE), &json)
    }
}
