//! The integration tests: `rcrun` as its users meet it, in containers made for each test.
//!
//! They need root, a cgroup2 mount and busybox-static; a test that cannot run prints a SKIP line.
//! Each bundle checks when it is dropped that nothing of its test is left on the host.

#[path = "../support/mod.rs"]
mod support;

mod added_mounts;
mod bench;
mod binds;
mod cgroups;
mod checkpoint;
mod checkpoint_options;
mod commands;
mod concurrency;
mod configuration;
mod console;
mod credentials;
mod delegation;
mod descriptors;
mod devices;
mod exec;
mod few_descriptors;
mod foreground;
mod hooks;
mod hostile;
mod id_mapped_mounts;
mod lifecycle;
mod listing;
mod mount_options;
mod mounts;
mod names;
mod namespaces;
mod net_devices;
mod plan;
mod process;
mod propagation;
mod refused;
mod refused_process;
mod refused_states;
mod rootless;
mod run;
mod runc_spelling;
mod seccomp;
mod seccomp_agent;
mod seccomp_cache;
mod seccomp_threads;
mod sub_cgroups;
mod syscalls;
mod systemd;
mod targets;
mod tuning;
mod user_namespaces;
