//! What the tree looks like: file sizes, function lengths, module docs, marks of unfinished work.

use crate::files::{RustFile, own_rust_files, read, root, violations};

/// A file this long has a second noun in it (`CONTRIBUTING.md`).
const FILE_LINES_MAX: usize = 600;

/// The end of the screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Marks of work that is not finished.
const MARKS: [&str; 6] = ["todo!(", "unimplemented!(", "#[ignore", "FIXME", "XXX", "HACK"];

#[test]
fn files_have_one_noun() {
    let long = own_rust_files().into_iter().filter_map(|file| {
        let lines = file.text.lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines", file.path))
    });
    violations(long, "split the file by its second noun");
}

#[test]
fn functions_fit_on_a_screen() {
    let long = own_rust_files().into_iter().flat_map(|file| long_functions(&file));
    violations(long, "split the function: the caller holds the `if`, the leaf computes");
}

/// A function's length is from its `fn` line to the first `}` at the same depth of indentation,
/// which is where rustfmt puts it.
fn long_functions(file: &RustFile) -> Vec<String> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let is_fn = line.trim_start().split(['(', '<']).next().is_some_and(|head| {
            head.split_whitespace().any(|word| word == "fn") && !head.trim_start().starts_with("//")
        });
        if !is_fn {
            continue;
        }
        let end = lines.iter().skip(start + 1).position(|later| {
            later.len() > indent
                && later.trim() == "}"
                && later.len() - later.trim_start().len() == indent
        });
        let length = end.map_or(1, |offset| offset + 2);
        let next_fn_first =
            lines.iter().skip(start + 1).take(length.saturating_sub(1)).any(|later| {
                later.trim_end().ends_with(';') && lines[start].trim_end().ends_with(';')
            });
        if length > FUNCTION_LINES_MAX && !next_fn_first {
            found.push(format!("{}:{}: {length} lines", file.path, start + 1));
        }
    }
    found
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = own_rust_files().into_iter().filter_map(|file| {
        let first = file.text.lines().find(|line| !line.trim().is_empty())?;
        (!first.starts_with("//!")).then_some(file.path)
    });
    violations(silent, "start the file with a `//!` line");
}

#[test]
fn nothing_is_left_unfinished() {
    let marked = own_rust_files()
        .into_iter()
        .filter(|file| !file.path.starts_with("tests/tidy/"))
        .flat_map(|file| {
            let path = file.path.clone();
            file.text
                .lines()
                .enumerate()
                .filter(|(_, line)| MARKS.iter().any(|mark| line.contains(mark)))
                .map(|(number, line)| format!("{path}:{}: {}", number + 1, line.trim()))
                .collect::<Vec<_>>()
        });
    violations(marked, "finish it, or open an issue and take the mark out");
}

#[test]
fn every_module_file_is_part_of_a_crate() {
    let files = own_rust_files();
    let dead = files.iter().filter_map(|file| {
        let path = std::path::Path::new(&file.path);
        let stem = path.file_stem()?.to_str()?;
        let in_src = file.path.contains("/src/");
        if !in_src || ["lib", "main", "mod"].contains(&stem) || file.path.contains("/src/bin/") {
            return None;
        }
        let folder = path.parent()?;
        let is_test_of = stem == "tests";
        let declared = files.iter().any(|other| {
            let other_path = std::path::Path::new(&other.path);
            let beside = other_path.parent() == Some(folder);
            let above = Some(other_path.with_extension("")) == folder.to_path_buf().into();
            (beside || above || is_test_of)
                && (other.text.contains(&format!("mod {stem};"))
                    || other.text.contains(&format!("{stem}.rs")))
        });
        (!declared).then(|| file.path.clone())
    });
    violations(dead.collect::<Vec<_>>(), "declare the module or delete the file");
}

#[test]
fn the_manifest_names_no_registry_host_and_no_machine_path() {
    let manifests = ["Cargo.toml", "deny.toml", "justfile", ".ci/run", "README.md"];
    let found = manifests.iter().filter(|name| {
        let text = read(&root().join(name));
        text.contains("/work/") || text.contains("/root/")
    });
    violations(found.map(|name| (*name).to_owned()), "use relative paths");
}
