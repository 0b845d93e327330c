//! Pods and containers as records: in memory to be listed, on disk before anybody is told of a change.
//!
//! `STATE/pods/ID/record.json`, `STATE/containers/ID/record.json`: each written whole (a temporary file, rename), with a
//! schema version. A directory without a record is one that was not finished.

mod container;
mod lock;
mod pod;
mod table;

pub use container::{Askers, Container, Exit, Handler, Live};
pub use lock::Lock;
pub use pod::{Pod, PodInit, PodNetwork, PodState};
pub use table::{Entry, Found, NotThere, Record, Reservation, Table, TableError};

/// The version of all records here; others are refused.
pub const SCHEMA: u32 = 1;

/// 64 hexadecimal digits of getrandom(2), as other runtimes' ids have.
pub fn new_id() -> String {
    let mut bytes = [0; 32];
    rcrun::sys::random(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Nanoseconds since 1970, as the CRI has times.
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// A message of the CRI in a record: its wire bytes as base64.
pub(crate) mod message {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<M: prost::Message, S: Serializer>(message: &M, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(message.encode_to_vec()))
    }

    pub fn deserialize<'de, M: prost::Message + Default, D: Deserializer<'de>>(
        from: D,
    ) -> Result<M, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = STANDARD.decode(text).map_err(D::Error::custom)?;
        M::decode(bytes.as_slice()).map_err(D::Error::custom)
    }
}
