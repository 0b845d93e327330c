//! User namespaces: the ids of the host that a Pod's ids are.

use crate::cri::api::{IdMapping, NamespaceMode, UserNamespace};

/// 65,536 ids of the host, of which a Pod with `hostUsers: false` has ids 0 to 65,535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserRange {
    /// The host's id of the Pod's root.
    pub first: u32,
}

impl UserRange {
    /// Ids in a range.
    pub const LENGTH: u32 = 65_536;

    /// The mapping, for users and groups.
    pub fn mapping(self) -> IdMapping {
        IdMapping { host_id: self.first, container_id: 0, length: Self::LENGTH }
    }
}

/// The CRI's message; the host's users where there is no range.
pub(super) fn namespace(range: Option<UserRange>) -> UserNamespace {
    let (mode, mappings) = match range {
        Some(range) => (NamespaceMode::Pod, vec![range.mapping()]),
        None => (NamespaceMode::Node, Vec::new()),
    };
    UserNamespace { mode: mode.into(), uids: mappings.clone(), gids: mappings }
}
