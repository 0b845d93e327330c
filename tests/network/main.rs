//! Networks that the library makes, on real kernels: each test is a host of its own, a network and a mount namespace that its
//! thread enters, so that the machine's are untouched. Root; no program is needed.

mod bridge;
mod crash;
mod host;
mod namespaces;
mod ports;
mod timing;
