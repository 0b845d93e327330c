//! Programs that run containers by rcrun: podman, buildah, containerd, docker, each Debian's, started here. What they
//! need is below target/clients (tests/clients/fetch); `make test-clients` fetches it and runs all of it
//! but the modules called `in_vm`, which `make test-vm` runs.

#[path = "../support/mod.rs"]
mod support;

mod archives;
mod buildah;
mod containerd;
mod daemon;
mod docker;
mod image;
mod podman;
mod view;
