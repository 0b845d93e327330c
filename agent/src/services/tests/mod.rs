//! Services as packets see them: in network namespaces, with a bridge, Pods on it and a machine outside.

mod names;
mod traffic;
mod updates;
mod world;
