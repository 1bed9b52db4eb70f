//! The example does what its page says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Builds the plugins as the page says, and gives their folder.
fn plugins() -> PathBuf {
    let workspace = here().join("plugins");
    let mut build = Command::new(env!("CARGO"));
    for name in ["CARGO_TARGET_DIR", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WRAPPER"] {
        build.env_remove(name);
    }
    build.args(["build", "--release", "--quiet"]).current_dir(&workspace);
    assert!(build.status().unwrap().success(), "{build:?}");
    workspace.join("target/wasm32-wasip2/release")
}

/// Runs a program of the example, which has to succeed, and gives what it printed.
fn run(program: &str, arguments: &[&Path]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_host_application_prints_what_its_page_shows() {
    let page = fs::read_to_string(here().join("README.md")).unwrap();
    let shown = page.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(run(env!("CARGO_BIN_EXE_embed-plugins"), &[&plugins()]), shown);
}

#[test]
fn one_call_of_a_plugin_takes_fewer_than_thirty_lines() {
    let text = fs::read_to_string(here().join("src/bin/first.rs")).unwrap();
    assert!(text.lines().count() < 30, "{} lines", text.lines().count());
    let plugin = plugins().join("shout.wasm");
    let said = run(env!("CARGO_BIN_EXE_first"), &[&plugin, Path::new("hello")]);
    assert_eq!(said, "Ok(\"HELLO\")\n");
}
