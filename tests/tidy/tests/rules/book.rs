//! The book's reference lists what the sources have.

use crate::files::{RustFile, own_rust_files, read, root, violations};

/// Where annotations, labels and conditions of our own begin.
const PREFIX: &str = "\"coracle.dev/";

#[test]
fn every_annotation_is_in_the_reference() {
    let page = read(&root().join("docs/src/reference/annotations.md"));
    let unlisted = own_rust_files().into_iter().filter(is_product).flat_map(|file| {
        let names = file.text.split(PREFIX).skip(1).filter_map(|rest| {
            let name: String = rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || ".-".contains(*c))
                .collect();
            let listed = page.contains(&format!("`coracle.dev/{name}"));
            (!listed).then(|| format!("{}: coracle.dev/{name}", file.path))
        });
        names.collect::<Vec<_>>()
    });
    violations(unlisted, "say in docs/src/reference/annotations.md what it means");
}

#[test]
fn every_waiting_reason_is_in_the_reference() {
    let page = read(&root().join("docs/src/reference/reasons.md"));
    let reasons = own_rust_files()
        .into_iter()
        .filter(|file| file.path.starts_with("host/agent/src/") && is_product(file))
        .flat_map(|file| {
            let words = file.text.split('"').map(str::to_owned).collect::<Vec<_>>();
            words
                .into_iter()
                .filter(|word| is_waiting_reason(word))
                .map(move |word| (file.path.clone(), word))
        });
    let unlisted = reasons
        .filter(|(_, reason)| !page.contains(&format!("`{reason}`")))
        .map(|(path, reason)| format!("{path}: {reason}"));
    violations(unlisted, "say in docs/src/reference/reasons.md what happened and what to do");
}

fn is_product(file: &RustFile) -> bool {
    let path = &file.path;
    let in_tests = ["tests/", "/tests/", "bench/", "examples/"]
        .iter()
        .any(|part| path.starts_with(part) || (part.starts_with('/') && path.contains(part)));
    !in_tests && !path.ends_with("tests.rs")
}

/// Whether a word is a reason as kubelet spells those for which a container waits.
fn is_waiting_reason(word: &str) -> bool {
    let is_word = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphabetic());
    let begins = ["ErrImage", "CreateContainer", "RunContainer", "InvalidImage"];
    is_word
        && (begins.iter().any(|begin| word.starts_with(begin)) || word.ends_with("BackOff"))
        && word != "BackOff"
}
