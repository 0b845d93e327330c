//! Has the program begin at `src/sys/entry.rs` instead of the C library's `_start`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    if matches!(arch.as_str(), "x86_64" | "aarch64") {
        println!("cargo::rustc-link-arg-bins=-Wl,-e,rcrun_start");
    }
}
