//! Programs that run containers by rcrun: podman, buildah, each Debian's, started here. What they need is below
//! target/clients (tests/clients/fetch); `make test-clients` fetches it and runs all of it.

#[path = "../support/mod.rs"]
mod support;

mod podman;
mod view;
