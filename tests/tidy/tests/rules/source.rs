//! Reading Rust sources by their text, for pages of the book that are made of them: what a call is given, which
//! literals stand there, and what is no test.

use crate::files::{RustFile, own_rust_files};

/// Files of the product, without their tests, and without the modules of tests at their ends.
pub(crate) fn product() -> Vec<RustFile> {
    let files = own_rust_files().into_iter().filter(|file| {
        let path = &file.path;
        path.contains("/src/")
            && !path.starts_with("tests/")
            && !path.starts_with("bench/")
            && !path.contains("/tests/")
            && !path.ends_with("tests.rs")
    });
    let cut = files.map(|file| {
        let text = file.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        RustFile { text: text.to_owned(), path: file.path }
    });
    cut.collect()
}

/// The room of a path: what stands before its `src`.
pub(crate) fn room(path: &str) -> &str {
    path.split("/src/").next().unwrap_or(path)
}

/// What stands between an opening bracket, which `text` follows, and the one that closes it, cut at the commas between.
pub(crate) fn arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut found) = (0_usize, 0, Vec::new());
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => {
                found.push(text.get(begin..at).unwrap_or_default().trim());
                break;
            }
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(text.get(begin..at).unwrap_or_default().trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    found.retain(|each| !each.is_empty());
    found
}

/// The string literals of a piece of source, as they are written there.
pub(crate) fn literals(source: &str) -> Vec<&str> {
    let (mut begin, mut escaped, mut found) = (None, false, Vec::new());
    for (at, c) in source.char_indices() {
        match (c, begin) {
            _ if escaped => escaped = false,
            ('\\', Some(_)) => escaped = true,
            ('"', None) => begin = Some(at + 1),
            ('"', Some(from)) => {
                found.push(source.get(from..at).unwrap_or_default());
                begin = None;
            }
            _ => {}
        }
    }
    found
}

/// Whether a word is written as Kubernetes' reasons are: `FailedMount`, `OutOfephemeral-storage`.
pub(crate) fn is_reason(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphabetic() || c == '-';
    word.len() > 3 && word.starts_with(|c: char| c.is_ascii_uppercase()) && word.chars().all(plain)
}

/// A sentence as a cell of a table.
pub(crate) fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[test]
fn arguments_and_literals_are_found() {
    let call = r#"pod, format!("a, {b}"), "FailedMount", [1, 2]); more(x)"#;
    assert_eq!(arguments(call), ["pod", r#"format!("a, {b}")"#, r#""FailedMount""#, "[1, 2]"]);
    assert_eq!(literals(call), ["a, {b}", "FailedMount"]);
    assert_eq!(literals(r#"say("a \"b\"", 'x')"#), [r#"a \"b\""#]);
    assert!(is_reason("OutOfephemeral-storage") && !is_reason("v1") && !is_reason("Job completed"));
}
