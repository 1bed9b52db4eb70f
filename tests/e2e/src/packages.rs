//! Packages of npm and PyPI that tests need, installed once into the cache.
//!
//! Both functions hold the lock of the cache only if their caller does: a caller that works on in the folder
//! takes it first.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::{cache, need};

/// The folder `name` of the cache with the packages of `package.json` in `tools`, and its scripts (`*.mjs`)
/// beside them. Installed again when `package.json` changes.
pub(crate) fn npm(name: &str, tools: &Path, why: &str) -> PathBuf {
    need("npm", why);
    let path = cache().join(name);
    let wanted = fs::read(tools.join("package.json")).unwrap();
    let stamp = path.join("installed.json");
    if !fs::read(&stamp).is_ok_and(|have| have == wanted) {
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("package.json"), &wanted).unwrap();
        let quiet = ["install", "--no-audit", "--no-fund", "--silent"];
        run(Command::new("npm").args(quiet).current_dir(&path));
        fs::write(stamp, wanted).unwrap();
    }
    for entry in fs::read_dir(tools).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "mjs") {
            fs::copy(&file, path.join(file.file_name().unwrap())).unwrap();
        }
    }
    path
}

/// The folder `bin` of a Python environment, `name` in the cache, with the packages of `requirements.txt` in
/// `tools`. Made anew when they change.
pub(crate) fn pip(name: &str, tools: &Path, why: &str) -> PathBuf {
    need("python3", why);
    let requirements = tools.join("requirements.txt");
    let (wanted, path) = (fs::read(&requirements).unwrap(), cache().join(name));
    let (stamp, programs) = (path.join("requirements.txt"), path.join("bin"));
    if !fs::read(&stamp).is_ok_and(|have| have == wanted) {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&path));
        let install = ["-m", "pip", "install", "--quiet", "-r"];
        run(Command::new(programs.join("python")).args(install).arg(requirements));
        fs::write(stamp, wanted).unwrap();
    }
    programs
}

/// Runs a program to its end, which has to be a good one.
pub(crate) fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
