//! Compiles the CRI's definition to a client, without protoc. The file is rcrun-cri's; nothing of rcrun is linked.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=../cri/proto/runtime.proto");
    let files = protox::compile(["../cri/proto/runtime.proto"], ["../cri/proto"])?;
    tonic_prost_build::configure().build_server(false).compile_fds(files)?;
    Ok(())
}
