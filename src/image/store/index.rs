//! index.json: OCI image specification, image-layout.md. Also other programs write it (skopeo, umoci), so what is
//! not rcrun's stays as it is.

use std::fs;
use std::io::ErrorKind;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{Store, StoreError, layout};
use crate::image::Descriptor;
use crate::image::manifest::OCI_INDEX;

/// The annotation of the whole with the version of rcrun's annotations.
const SCHEMA_KEY: &str = "org.rcrun.schema";
const SCHEMA: &str = "1";
const CURE: &str =
    "move it away and pull or load the images again; their layers are kept while no garbage is collected";

/// The whole file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct IndexFile {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub manifests: Vec<Entry>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// One image of it, or something that rcrun does not understand and leaves alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Value", into = "Value")]
pub(super) struct Entry {
    descriptor: Option<Descriptor>,
    /// What is written: of another program's entry also what a [`Descriptor`] does not know.
    value: Value,
}

impl From<Value> for Entry {
    fn from(value: Value) -> Self {
        Self { descriptor: Descriptor::deserialize(&value).ok(), value }
    }
}

impl From<Entry> for Value {
    fn from(entry: Entry) -> Self {
        entry.value
    }
}

impl Entry {
    pub(super) fn of(descriptor: Descriptor) -> Self {
        let value = serde_json::to_value(&descriptor).expect("a descriptor's keys are text");
        Self { descriptor: Some(descriptor), value }
    }

    /// None of what has no digest and size.
    pub(super) fn descriptor(&self) -> Option<&Descriptor> {
        self.descriptor.as_ref()
    }

    /// The same without an annotation.
    pub(super) fn without(mut self, annotation: &str) -> Self {
        if let Some(annotations) = self.value.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(annotation);
        }
        Self::from(self.value)
    }
}

/// `null`, which Go writes for an empty list.
fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Entry>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl IndexFile {
    /// All that rcrun understands.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().filter_map(Entry::descriptor)
    }

    fn mark(&mut self) {
        self.rest.insert("schemaVersion".to_owned(), Value::from(2));
        self.rest.entry("mediaType").or_insert_with(|| Value::from(OCI_INDEX));
        let annotations = self.rest.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(annotations) = annotations {
            annotations.insert(SCHEMA_KEY.to_owned(), Value::from(SCHEMA));
        } else {
            *annotations = serde_json::json!({ SCHEMA_KEY: SCHEMA });
        }
    }
}

impl Store {
    /// The images as they are now; a store without the file has none.
    pub(super) fn index(&self) -> Result<IndexFile, StoreError> {
        let path = self.root.join(layout::INDEX);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(IndexFile::default()),
            Err(error) => return Err(StoreError::file("read", &path, error)),
        };
        let damaged = |reason: String| StoreError::Damaged { path: path.clone(), reason, cure: CURE };
        let index: IndexFile = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if index.rest.get("schemaVersion").is_some_and(|version| version.as_u64() != Some(2)) {
            return Err(damaged("its schemaVersion is not 2".to_owned()));
        }
        let schema = index.rest.get("annotations").and_then(|annotations| annotations[SCHEMA_KEY].as_str());
        match schema {
            None | Some(SCHEMA) => Ok(index),
            Some(found) => {
                Err(StoreError::Version { path, found: format!("{SCHEMA_KEY} {found}"), known: SCHEMA })
            }
        }
    }

    /// Replaces index.json by what `change` makes of it; not if that fails.
    pub(super) fn change_index<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&mut IndexFile) -> Result<T, E>,
    ) -> Result<T, E> {
        let _lock = self.changing()?;
        let mut index = self.index()?;
        let result = change(&mut index)?;
        index.mark();
        let json = serde_json::to_vec(&index).expect("an index has no maps with keys that are no text");
        self.ingest.write_whole(&self.root.join(layout::INDEX), &json)?;
        Ok(result)
    }
}
