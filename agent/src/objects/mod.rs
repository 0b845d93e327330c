//! Kubernetes' objects, as far as the agent has them: kinds, keys, and all objects by their keys.
//!
//! In: a manifest's text ([`yaml`]), checked field by field ([`fields`]), completed ([`defaults`]), judged ([`validate`]) and counted
//! ([`usage`]).
//! Out: [`Object`]s, whose types are k8s-openapi's. No effects.

pub mod defaults;
pub mod fields;
mod kind;
mod object;
pub mod pod;
pub mod quantity;
pub mod selector;
pub mod usage;
pub mod validate;
pub mod yaml;

use std::collections::BTreeMap;
use std::ops::Bound;

pub use kind::Kind;
pub use object::{Key, Object, Typed};

/// All objects of the machine.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    all: BTreeMap<Key, Object>,
}

impl Objects {
    /// The object of a key.
    pub fn get(&self, key: &Key) -> Option<&Object> {
        self.all.get(key)
    }

    /// The object of a type; `namespace` is "" where the kind has none.
    pub fn find<T: Typed>(&self, namespace: &str, name: &str) -> Option<&T> {
        T::of(self.get(&Key::new(T::KIND, namespace, name))?)
    }

    /// Objects of a kind, in the order of their namespaces and names.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Object> {
        let start = Bound::Included(Key::new(kind, "", ""));
        self.all
            .range((start, Bound::Unbounded))
            .take_while(move |(key, _)| key.kind == kind)
            .map(|(_, object)| object)
    }

    /// Objects of a type, of all namespaces.
    pub fn list<'a, T: Typed + 'a>(&'a self) -> impl Iterator<Item = &'a T> + use<'a, T> {
        self.of_kind(T::KIND).filter_map(T::of)
    }

    /// Objects of a type in a namespace.
    pub fn list_in<'a, T: Typed + 'a>(&'a self, namespace: &str) -> impl Iterator<Item = &'a T> + use<'a, T> {
        let start = Key::new(T::KIND, namespace, "");
        let (kind, namespace) = (start.kind, start.namespace.clone());
        self.all
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(move |(key, _)| key.kind == kind && key.namespace == namespace)
            .filter_map(|(_, object)| T::of(object))
    }

    /// Objects of a kind in a namespace.
    pub fn of_kind_in(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = &Object> {
        let start = Key::new(kind, namespace, "");
        let namespace = start.namespace.clone();
        self.all
            .range((Bound::Included(start), Bound::Unbounded))
            .take_while(move |(key, _)| key.kind == kind && key.namespace == namespace)
            .map(|(_, object)| object)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Object)> {
        self.all.iter()
    }

    /// Puts an object, and returns the one that was there.
    pub fn insert(&mut self, object: Object) -> Option<Object> {
        self.all.insert(object.key(), object)
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &Key) -> Option<Object> {
        self.all.remove(key)
    }
}

impl FromIterator<Object> for Objects {
    fn from_iter<I: IntoIterator<Item = Object>>(objects: I) -> Self {
        Self { all: objects.into_iter().map(|object| (object.key(), object)).collect() }
    }
}
