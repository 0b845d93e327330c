//! What the linker is told of the program: where it begins, and the order of its functions.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/order.ld");
    let arch = var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    // At src/sys/entry.rs instead of the C library's `_start`.
    if matches!(arch.as_str(), "x86_64" | "aarch64") {
        println!("cargo::rustc-link-arg-bins=-Wl,-e,rcrun_start");
    }
    // What a start executes side by side: fewer pages to map. docs/decisions/0007
    if arch == "x86_64" && var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo::rustc-link-arg-bins=-T");
        println!("cargo::rustc-link-arg-bins={}/src/order.ld", var("CARGO_MANIFEST_DIR").unwrap_or_default());
    }
}
