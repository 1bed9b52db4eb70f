//! The binary under test and the guests, built once for each run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The `coracle` binary: the one that `CORACLE_BIN` names, else built as the tests were (debug or
/// release).
#[must_use]
pub fn coracle() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = std::env::var_os("CORACLE_BIN") {
            return PathBuf::from(given);
        }
        let own = std::env::current_exe().unwrap();
        // target/<profile>/deps/<test>, or target/<profile>/<program>.
        let profile = own.ancestors().find(|p| p.ends_with("debug") || p.ends_with("release"));
        let profile = profile.expect("the test runs from cargo's target folder").to_path_buf();
        let mut build = cargo();
        build.args(["build", "--quiet", "-p", "coracle"]);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        run(build.arg("--target-dir").arg(profile.parent().unwrap()).current_dir(root()));
        profile.join("coracle")
    })
}

/// Builds a workspace of guests (relative to the root) and gives the folder of its components.
pub fn build_guests(workspace: &str) -> PathBuf {
    let folder = root().join(workspace);
    run(cargo().args(["build", "--release", "--quiet"]).current_dir(&folder));
    folder.join("target/wasm32-wasip2/release")
}

/// Cargo without what the outer cargo put into the environment for this build.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for name in ["CARGO_TARGET_DIR", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WRAPPER"] {
        command.env_remove(name);
    }
    command
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
