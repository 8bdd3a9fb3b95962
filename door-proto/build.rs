//! Compiles the contract with `protox`, so that no protobuf compiler has to be installed.
use std::path::PathBuf;

use prost::Message as _;

fn main() -> anyhow::Result<()> {
    let root = PathBuf::from("proto");
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["penstock/pool/v1/pool.proto"], [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    // Served by the reflection service.
    std::fs::write(out.join("penstock_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().codec_path("crate::codec::SmallBuffers").compile_fds(descriptors)?;
    Ok(())
}
