//! Compresses the files of `web/` and writes the table of them that `src/lib.rs` includes.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").ok_or("run by cargo")?);
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("run by cargo")?);
    let web = here.join("web");
    println!("cargo::rerun-if-changed={}", web.display());
    println!("cargo::rerun-if-changed=build.rs");
    let mut files = Vec::new();
    collect(&web, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for (number, file) in files.iter().enumerate() {
        let bytes = std::fs::read(file)?;
        let packed = out.join(format!("{number}.gz"));
        let mut encoder = GzEncoder::new(std::fs::File::create(&packed)?, Compression::best());
        encoder.write_all(&bytes)?;
        encoder.finish()?;
        let path = file.strip_prefix(&web)?.to_string_lossy().replace('\\', "/");
        let kind = content_type(file)?;
        let tag = format!("\"{:016x}\"", digest(&bytes));
        writeln!(
            table,
            "File {{ path: {path:?}, content_type: {kind:?}, tag: {tag:?}, gzip: include_bytes!({packed:?}) }},"
        )?;
    }
    table.push(']');
    std::fs::write(out.join("files.rs"), table)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn content_type(file: &Path) -> Result<&'static str, Box<dyn Error>> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => Ok("text/html; charset=utf-8"),
        Some("css") => Ok("text/css; charset=utf-8"),
        Some("js") => Ok("text/javascript; charset=utf-8"),
        Some("svg") => Ok("image/svg+xml"),
        Some(_) | None => Err(format!("{}: add its type to build.rs", file.display()).into()),
    }
}

/// FNV-1a with 64 bits: files of one name differ by it, which is all that an entity tag is for.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
