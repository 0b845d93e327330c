//! Compiles proto/runtime.proto: services and messages of the CRI, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/runtime.proto");
    let files = protox::compile(["proto/runtime.proto"], ["proto"])?;
    // The client is for the tests.
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
