//! The kinds: their names in manifests and on command lines.

use std::fmt;

/// What a kind is called, and whether namespaces scope it.
struct Names {
    kind: &'static str,
    api_version: &'static str,
    plural: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
}

macro_rules! kinds {
    ($($kind:ident $api_version:literal $plural:literal $short:tt $namespaced:literal)*) => {
        /// A kind of objects.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum Kind { $($kind),* }

        impl Kind {
            /// All of them, in the order in which they are made and printed.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            fn names(self) -> Names {
                match self {
                    $(Self::$kind => Names {
                        kind: stringify!($kind), api_version: $api_version, plural: $plural, short: &$short, namespaced: $namespaced,
                    }),*
                }
            }
        }
    };
}

kinds! {
    Namespace "v1" "namespaces" ["ns"] false
    ResourceQuota "v1" "resourcequotas" ["quota"] true
    LimitRange "v1" "limitranges" ["limits"] true
    RuntimeClass "node.k8s.io/v1" "runtimeclasses" [] false
    PersistentVolume "v1" "persistentvolumes" ["pv"] false
    PersistentVolumeClaim "v1" "persistentvolumeclaims" ["pvc"] true
    ConfigMap "v1" "configmaps" ["cm"] true
    Secret "v1" "secrets" [] true
    Service "v1" "services" ["svc"] true
    Endpoints "v1" "endpoints" ["ep"] true
    Ingress "networking.k8s.io/v1" "ingresses" ["ing"] true
    Deployment "apps/v1" "deployments" ["deploy"] true
    StatefulSet "apps/v1" "statefulsets" ["sts"] true
    DaemonSet "apps/v1" "daemonsets" ["ds"] true
    CronJob "batch/v1" "cronjobs" ["cj"] true
    Job "batch/v1" "jobs" [] true
    ReplicaSet "apps/v1" "replicasets" ["rs"] true
    Pod "v1" "pods" ["po"] true
    Event "v1" "events" ["ev"] true
}

impl Kind {
    /// As in a manifest's `kind`: `ConfigMap`.
    pub fn name(self) -> &'static str {
        self.names().kind
    }

    /// As in a manifest's `apiVersion`: `apps/v1`.
    pub fn api_version(self) -> &'static str {
        self.names().api_version
    }

    /// As on a command line and in paths: `configmaps`.
    pub fn plural(self) -> &'static str {
        self.names().plural
    }

    /// What it is called for short: `cm`.
    pub fn short(self) -> &'static [&'static str] {
        self.names().short
    }

    /// Whether its objects are in namespaces.
    pub fn namespaced(self) -> bool {
        self.names().namespaced
    }

    /// As somebody may write it: `cm`, `configmap`, `ConfigMap`, `configmaps`, `deployments.apps`, `deployments.v1.apps`.
    pub fn parse(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        Self::ALL.iter().copied().find(|kind| {
            let names = kind.names();
            let (group, version) = names.api_version.split_once('/').unwrap_or(("", names.api_version));
            let plain = match word.split_once('.') {
                Some((plain, of)) if group == of || group.split('.').next() == Some(of) => plain,
                Some((plain, of)) if of.split_once('.') == Some((version, group)) => plain,
                Some(_) => return false,
                None => &word,
            };
            plain == names.plural || plain == names.kind.to_ascii_lowercase() || names.short.contains(&plain)
        })
    }

    /// The kind of a manifest.
    pub fn of_manifest(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.name() == kind && k.api_version() == api_version)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
