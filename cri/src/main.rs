//! The `rcrun-cri` program.

fn main() {}
