//! One object of any kind.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1 as apps, batch::v1 as batch, core::v1 as core, networking::v1 as networking, node::v1 as node,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::Kind;

/// What names an object. Keys are ordered by kind, then namespace, then name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// "" where the kind has no namespaces.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// A key; `namespace` is "" where the kind has none.
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

/// `deployment web/front`, or `namespace web`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.name().to_ascii_lowercase();
        match self.namespace.as_str() {
            "" => write!(f, "{kind} {}", self.name),
            namespace => write!(f, "{kind} {namespace}/{}", self.name),
        }
    }
}

/// A type of k8s-openapi that is one of the kinds.
pub trait Typed: Sized + Clone {
    /// Its kind.
    const KIND: Kind;
    /// The typed object, if it is of this type.
    fn of(object: &Object) -> Option<&Self>;
    /// The same, to change it. What others hold of it stays as it is.
    fn of_mut(object: &mut Object) -> Option<&mut Self>;
    /// Any object of it.
    fn wrap(self) -> Object;
    /// Its metadata.
    fn meta(&self) -> &ObjectMeta;

    /// Its namespace, or "".
    fn namespace(&self) -> &str {
        self.meta().namespace.as_deref().unwrap_or_default()
    }

    /// Its name.
    fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    /// Its uid, which the store gives.
    fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    /// Its key.
    fn key(&self) -> Key {
        Key::new(Self::KIND, self.namespace(), self.name())
    }
}

macro_rules! objects {
    ($($kind:ident($type:ty))*) => {
        /// An object; what it holds is shared by its copies.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Object { $($kind(Arc<$type>)),* }

        impl Object {
            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind),* }
            }

            /// Its metadata.
            pub fn metadata(&self) -> &ObjectMeta {
                match self { $(Self::$kind(object) => &object.metadata),* }
            }

            /// Its metadata, to change it.
            pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
                match self { $(Self::$kind(object) => &mut Arc::make_mut(object).metadata),* }
            }

            /// Of a manifest without fields that are unknown: those are ignored here.
            pub fn from_value(kind: Kind, value: Value) -> Result<Self, serde_json::Error> {
                Ok(match kind { $(Kind::$kind => Self::$kind(Arc::new(serde_json::from_value(value)?))),* })
            }

            /// The same, with the path of what is of a wrong type; slower.
            pub fn from_value_with_path(kind: Kind, value: Value) -> Result<Self, (String, String)> {
                let wrong = |error: serde_path_to_error::Error<serde_json::Error>| {
                    (error.path().to_string(), error.into_inner().to_string())
                };
                Ok(match kind {
                    $(Kind::$kind => Self::$kind(Arc::new(serde_path_to_error::deserialize(value).map_err(wrong)?))),*
                })
            }

            /// As JSON, with `apiVersion` and `kind`.
            pub fn to_value(&self) -> Value {
                let value = match self { $(Self::$kind(object) => serde_json::to_value(&**object)),* };
                value.unwrap_or_default()
            }
        }

        $(impl Typed for $type {
            const KIND: Kind = Kind::$kind;
            fn of(object: &Object) -> Option<&Self> {
                match object { Object::$kind(object) => Some(object), _ => None }
            }
            fn of_mut(object: &mut Object) -> Option<&mut Self> {
                match object { Object::$kind(object) => Some(Arc::make_mut(object)), _ => None }
            }
            fn wrap(self) -> Object {
                Object::$kind(Arc::new(self))
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
        })*
    };
}

objects! {
    Namespace(core::Namespace)
    ResourceQuota(core::ResourceQuota)
    LimitRange(core::LimitRange)
    RuntimeClass(node::RuntimeClass)
    PersistentVolume(core::PersistentVolume)
    PersistentVolumeClaim(core::PersistentVolumeClaim)
    ConfigMap(core::ConfigMap)
    Secret(core::Secret)
    Service(core::Service)
    Endpoints(core::Endpoints)
    Ingress(networking::Ingress)
    Deployment(apps::Deployment)
    StatefulSet(apps::StatefulSet)
    DaemonSet(apps::DaemonSet)
    CronJob(batch::CronJob)
    Job(batch::Job)
    ReplicaSet(apps::ReplicaSet)
    Pod(core::Pod)
    Event(core::Event)
}

impl Object {
    /// What names it.
    pub fn key(&self) -> Key {
        let of = |text: &Option<String>| text.clone().unwrap_or_default();
        Key { kind: self.kind(), namespace: of(&self.metadata().namespace), name: of(&self.metadata().name) }
    }

    /// Its uid, which the store gives.
    pub fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }

    /// Whether its deletion has begun.
    pub fn is_deleted(&self) -> bool {
        self.metadata().deletion_timestamp.is_some()
    }

    /// The uid of the object that controls it, as a ReplicaSet does its Pods.
    pub fn controller(&self) -> Option<&str> {
        let owners = self.metadata().owner_references.as_deref().unwrap_or_default();
        owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
    }
}
