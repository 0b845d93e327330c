//! Pods' networks: CNI plugins where there is a configuration, else the built-in bridge.

/// All networks that this server knows.
#[derive(Debug, Default)]
pub struct Networks {}
