//! What is claimed to work names the test that proves it; every guest and example has a test.

use std::collections::BTreeMap;
use std::fs;

use crate::files::{own_rust_files, read, root, violations};

#[test]
fn every_covered_row_names_a_test_that_exists() {
    let rows: BTreeMap<String, String> =
        toml::from_str(&read(&root().join("specs/coverage.toml"))).unwrap();
    let wrong = rows.into_iter().filter_map(|(row, test)| {
        let Some((path, name)) = test.split_once("::") else {
            return Some(format!("{row}: '{test}' is not of the form path::test"));
        };
        let Ok(text) = fs::read_to_string(root().join(path)) else {
            return Some(format!("{row}: there is no file {path}"));
        };
        let name = name.rsplit("::").next().unwrap_or(name);
        let lines: Vec<&str> = text.lines().collect();
        let is_there = lines.iter().enumerate().any(|(number, line)| {
            line.contains(&format!("fn {name}("))
                && lines[number.saturating_sub(6)..number]
                    .iter()
                    .any(|above| above.contains("test"))
        });
        (!is_there).then(|| format!("{row}: {path} has no test {name}"))
    });
    violations(wrong, "a row works only with a test that proves it");
}

#[test]
fn every_guest_is_driven_by_a_test() {
    let tests: String = own_rust_files()
        .into_iter()
        .filter(|file| file.path.contains("/tests/") || file.path.contains("bench/"))
        .map(|file| file.text)
        .collect();
    let silent = folders("tests/guests").into_iter().filter(|guest| {
        !tests.contains(guest.as_str()) && !tests.contains(&guest.replace('-', "_"))
    });
    violations(silent, "drive the guest from a test or delete it");
}

#[test]
fn every_example_has_a_manifest_a_page_and_a_test() {
    let tests: String = own_rust_files()
        .into_iter()
        .filter(|file| file.path.starts_with("tests/e2e/"))
        .map(|file| file.text)
        .collect();
    let wrong = folders("examples").into_iter().flat_map(|example| {
        let folder = root().join("examples").join(&example);
        let mut missing = Vec::new();
        if !folder.join("README.md").exists() {
            missing.push(format!("{example}: README.md"));
        }
        // A program of its own is tested where it is; what runs on a cluster, with real clients.
        let has_own = folder.join("tests").is_dir();
        if !has_own && !tests.contains(&format!("examples/{example}")) {
            missing.push(format!("{example}: a test in tests/e2e"));
        }
        missing
    });
    violations(wrong, "an example that nothing runs is broken already");
}

fn folders(parent: &str) -> Vec<String> {
    let entries =
        fs::read_dir(root().join(parent)).unwrap_or_else(|error| panic!("{parent}: {error}"));
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    names.sort();
    names
}
