//! Compiles `proto/*.proto` with a protobuf compiler written in Rust; the machine needs no protoc.

use std::path::PathBuf;

const FILES: [&str; 5] = ["enroll", "firewall", "link", "metrics", "shell"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files: Vec<PathBuf> = FILES.iter().map(|name| PathBuf::from(format!("proto/{name}.proto"))).collect();
    let descriptors = protox::compile(&files, ["proto"])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
