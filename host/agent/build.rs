//! Builds the toolbox component from `sdk/toolbox`, so that the binary holds it.
//!
//! The component has a target folder of its own beside its sources, so that it is built once for
//! all profiles, and again only when its sources change.

use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Variables of the outer build that would change the inner one.
fn is_of_outer_build(name: &str) -> bool {
    let kept = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_"];
    let is_cargo = name.starts_with("CARGO") && !kept.iter().any(|kept| name.starts_with(kept));
    is_cargo || name.starts_with("RUSTC") || name.starts_with("RUSTFLAGS") || name == "TARGET"
}

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").ok_or("run by cargo")?);
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("run by cargo")?);
    let toolbox = here.join("../../sdk/toolbox");
    for input in ["src", "Cargo.toml", "Cargo.lock", "tools.txt"] {
        println!("cargo::rerun-if-changed={}", toolbox.join(input).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    build(&toolbox)?;
    let component = std::fs::read(toolbox.join("target/wasm32-wasip2/release/toolbox.wasm"))?;
    let file = File::create(out.join("toolbox.wasm.gz"))?;
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::best());
    packed.write_all(&component)?;
    packed.finish()?;
    Ok(())
}

fn build(toolbox: &Path) -> Result<(), Box<dyn Error>> {
    let cargo = std::env::var_os("CARGO").ok_or("run by cargo")?;
    let mut command = Command::new(cargo);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_outer_build) {
            command.env_remove(name);
        }
    }
    command.args(["build", "--release", "--locked", "--quiet", "--target", "wasm32-wasip2"]);
    let status = command.current_dir(toolbox).status()?;
    if status.success() {
        return Ok(());
    }
    Err("the toolbox was not built; `rustup target add wasm32-wasip2` if the target is missing"
        .into())
}
