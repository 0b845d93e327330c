//! Images from end to end: rcrun pulls them from Debian's docker-registry, with our own servers in between that do wrong.
//! What the tests need beside rcrun is below target/clients/images (tests/clients/fetch); `make test-images` fetches it.

#[path = "../support/mod.rs"]
mod support;

mod access;
mod archives;
mod background;
mod clients;
mod fixtures;
mod hostile;
mod login;
mod network;
mod pull;
mod real;
mod registries;
mod run;
mod run_options;
mod self_test;
mod signatures;
mod store;
mod targets;
mod together;
mod unpack_bundle;
mod userns;
mod wrong;
