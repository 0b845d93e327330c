//! Names of Services and Pods, on the cluster DNS address.
