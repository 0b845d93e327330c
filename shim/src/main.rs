//! The `rcrun-shim` program.

fn main() {}
