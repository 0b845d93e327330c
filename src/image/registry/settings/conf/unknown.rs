//! Keys without a meaning: often ones that are misspelt.

use std::path::Path;

use toml::{Table, Value};

/// Keys with a meaning at the top. The last is of another program.
const TOP: &[&str] = &[
    "unqualified-search-registries",
    "credential-helpers",
    "short-name-mode",
    "registry",
    "aliases",
    "additional-layer-store-auth-helper",
];
/// Of a `[[registry]]`.
const REGISTRY: &[&str] = &["prefix", "location", "insecure", "blocked", "mirror-by-digest-only", "mirror"];
/// Of a `[[registry.mirror]]`.
const MIRROR: &[&str] = &["location", "insecure", "pull-from-mirror"];

/// A line for each such key in `text`, the content of `path`.
pub fn keys(path: &Path, text: &str) -> Vec<String> {
    let Ok(top) = text.parse::<Table>() else { return Vec::new() };
    let registries = tables(&top, "registry");
    let mirrors: Vec<&Table> = registries.iter().flat_map(|registry| tables(registry, "mirror")).collect();
    let kinds = [
        (vec![&top], TOP, ""),
        (registries, REGISTRY, " of [[registry]]"),
        (mirrors, MIRROR, " of [[registry.mirror]]"),
    ];
    let unknown = kinds.iter().flat_map(|(tables, known, of)| {
        let keys = tables.iter().flat_map(|table| table.keys());
        keys.filter(|key| !known.contains(&key.as_str())).map(move |key| (key, of))
    });
    unknown
        .map(|(key, of)| format!("{}: the key {key:?}{of} has no meaning and is ignored", path.display()))
        .collect()
}

fn tables<'a>(table: &'a Table, key: &str) -> Vec<&'a Table> {
    let array = table.get(key).and_then(Value::as_array).into_iter().flatten();
    array.filter_map(Value::as_table).collect()
}
