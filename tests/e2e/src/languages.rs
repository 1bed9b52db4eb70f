//! Guests in other languages, each built by its own tools, which are installed once into the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binary::root;
use crate::packages::{npm, pip, run};
use crate::tools::{cache, one_at_a_time};

/// Builds a guest of `tests/languages` and gives its file: `c`, `go`, `go-http`, `python` or `javascript`.
///
/// Built again when its sources or its tools' versions change.
#[must_use]
pub fn guest_in(language: &str) -> PathBuf {
    let _one = one_at_a_time();
    let sources = root().join("tests/languages");
    let folder = cache().join("languages");
    fs::create_dir_all(&folder).unwrap();
    let wasm = folder.join(format!("{language}.wasm"));
    let stamp = folder.join(format!("{language}.stamp"));
    let wanted = stamp_of(&sources.join(language));
    if wasm.exists() && fs::read(&stamp).is_ok_and(|have| have == wanted) {
        return wasm;
    }
    match language {
        "c" => run(Command::new(python())
            .args(["-m", "ziglang", "cc", "-target", "wasm32-wasi", "-Os", "-o"])
            .arg(&wasm)
            .arg(sources.join("c/hello.c"))),
        "go" => run(Command::new("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-o"])
            .arg(&wasm)
            .arg(".")
            .envs([("GOOS", "wasip1"), ("GOARCH", "wasm")])
            .current_dir(sources.join("go"))),
        "go-http" => run(Command::new("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-buildmode=c-shared", "-o"])
            .arg(&wasm)
            .arg(".")
            .envs([("GOOS", "wasip1"), ("GOARCH", "wasm")])
            .current_dir(sources.join("go-http"))),
        "python" => run(Command::new(python().with_file_name("componentize-py"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg("-d")
            .arg(wit(&folder))
            .args(["-w", "coracle-test:languages/http", "componentize", "-p", ".", "-p"])
            .arg(root().join("sdk/python"))
            .args(["app", "-o"])
            .arg(&wasm)
            .current_dir(sources.join("python"))),
        "javascript" => run(Command::new("node")
            .arg(javascript_tools().join("build.mjs"))
            .arg(sources.join("javascript/app.js"))
            .arg(wit(&folder))
            .arg("http")
            .arg(&wasm)),
        other => panic!("no guest in {other}"),
    }
    fs::write(stamp, wanted).unwrap();
    wasm
}

/// All that a guest depends on.
fn stamp_of(sources: &Path) -> Vec<u8> {
    let tools = root().join("tests/e2e/tools/languages");
    let mut folders = vec![sources.to_owned(), root().join("tests/languages/wit"), tools];
    folders.extend(sources.ends_with("python").then(|| root().join("sdk/python/coracle")));
    let packages = ["config", "fetch", "internal/wasi", "kube", "kv", "log", "serve"];
    let packages = packages.map(|package| root().join("sdk/go").join(package));
    folders.extend(sources.ends_with("go-http").then_some(packages).into_iter().flatten());
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.is_file());
    files.sort();
    files.iter().flat_map(|file| fs::read(file).unwrap()).collect()
}

/// The Python of an environment with what builds guests.
fn python() -> PathBuf {
    let tools = root().join("tests/e2e/tools/languages");
    let why = "the tests build guests in Python and C with packages of PyPI";
    pip("languages-python", &tools, why).join("python")
}

/// The environment of Python with what builds guests.
#[must_use]
pub fn python_packages() -> PathBuf {
    let _one = one_at_a_time();
    let program = python();
    // bin/python
    program.ancestors().nth(2).unwrap().to_owned()
}

/// The folder `node_modules` with what builds guests in JavaScript.
#[must_use]
pub fn javascript_packages() -> PathBuf {
    let _one = one_at_a_time();
    javascript_tools().join("node_modules")
}

/// Builds a program in JavaScript (its path relative to the root) with `sdk/javascript`, as a `command` or for
/// `http`, and gives its component.
#[must_use]
pub fn javascript(kind: &str, source: &str) -> PathBuf {
    let _one = one_at_a_time();
    let tools = javascript_tools();
    let folder = cache().join("languages");
    fs::create_dir_all(&folder).unwrap();
    let wasm = folder.join(source.replace('/', "-")).with_extension("wasm");
    run(Command::new("node")
        .arg(root().join("sdk/javascript/build.mjs"))
        .arg(kind)
        .arg(root().join(source))
        .arg(&wasm)
        .current_dir(tools));
    wasm
}

/// A folder with the packages of `package.json` and our script.
fn javascript_tools() -> PathBuf {
    let tools = root().join("tests/e2e/tools/languages");
    npm(
        "languages-javascript",
        &tools,
        "the tests build a guest in JavaScript with packages of npm",
    )
}

/// A folder with our world and the WIT packages of WASI, which come with jco.
fn wit(folder: &Path) -> PathBuf {
    let wit = folder.join("wit");
    let packages = javascript_tools().join("node_modules/@bytecodealliance/jco/lib/wit/builtin");
    fs::create_dir_all(wit.join("deps")).unwrap();
    fs::copy(root().join("tests/languages/wit/world.wit"), wit.join("world.wit")).unwrap();
    for package in fs::read_dir(packages.join("0.2.12")).unwrap() {
        let package = package.unwrap();
        let to = wit.join("deps").join(package.file_name());
        fs::create_dir_all(&to).unwrap();
        for file in fs::read_dir(package.path()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    wit
}
