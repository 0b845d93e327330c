//! Objects as they are.

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::answer::{self, Answer, Failure};
use super::path::List;
use super::select::Selection;
use crate::api::Api;
use crate::objects::{Key, Object};

/// One object.
pub fn get(api: &Api, key: &Key) -> Result<Answer, Failure> {
    Ok(answer::json(&object(api, key)?.to_value()))
}

/// The same, before it is JSON.
pub fn object(api: &Api, key: &Key) -> Result<Object, Failure> {
    api.store.read(|objects| objects.get(key).cloned()).ok_or_else(|| Failure::not_found(key))
}

/// Those of a kind that are selected, and the revision that watching may go on from.
pub fn list(api: &Api, list: &List) -> Result<Answer, Failure> {
    let selection = Selection::of(list)?;
    let (mut objects, revision) = (Vec::new(), api.store.revision());
    // Copies share what they hold; JSON is made when the store is free again.
    api.store.read(|all| {
        let of_kind = all.of_kind(list.kind).filter(|object| selection.selects(object));
        objects.extend(of_kind.cloned());
    });
    Ok(answer::json(&ListOf {
        api_version: list.kind.api_version(),
        kind: format!("{}List", list.kind),
        metadata: json!({"resourceVersion": revision.to_string()}),
        items: objects,
    }))
}

/// A list as it goes out: each object becomes JSON in its turn, for all of them at once are many times as large.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListOf {
    api_version: &'static str,
    kind: String,
    metadata: Value,
    #[serde(serialize_with = "one_by_one")]
    items: Vec<Object>,
}

fn one_by_one<S: Serializer>(objects: &[Object], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(objects.iter().map(Object::to_value))
}

/// Who answers.
pub fn version() -> Answer {
    answer::json(&json!({"name": "rcrun-agent", "gitVersion": format!("v{}", env!("CARGO_PKG_VERSION"))}))
}
