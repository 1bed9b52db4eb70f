//! The reference pages of the book that the program itself can tell: the kinds that are served, and the
//! commands with their flags. `UPDATE_EXPECT=1` writes them anew.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

use coracle_api::registry::{self, Kind};
use expect_test::expect_file;

/// Headings of the groups in the order in which readers look for them; the others follow by name.
const FIRST: [&str; 4] = ["", "apps", "batch", "networking.k8s.io"];

/// What the verbs of a resource are called together when all are there.
const ALL: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

fn verbs(verbs: &[&str]) -> String {
    if verbs == ALL { "all".to_owned() } else { verbs.join(", ") }
}

fn row(kind: &Kind) -> String {
    let scope = if kind.namespaced { "namespace" } else { "cluster" };
    let subresources: Vec<_> = kind
        .subresources
        .iter()
        .map(|each| format!("`{}` ({})", each.name, each.verbs.join(", ")))
        .collect();
    let Kind { kind: name, plural, version, .. } = kind;
    format!(
        "| {name} | `{plural}` | {version} | {scope} | {} | {} |\n",
        verbs(kind.verbs),
        subresources.join(", ")
    )
}

#[test]
fn kinds() {
    let mut groups: BTreeMap<(usize, &str), Vec<&Kind>> = BTreeMap::new();
    for kind in registry::kinds() {
        let place = FIRST.iter().position(|group| *group == kind.group).unwrap_or(FIRST.len());
        groups.entry((place, kind.group)).or_default().push(kind);
    }
    let mut page = "# Kinds and verbs\n\n\
        Every built-in kind that the API serves, with its verbs and subresources. *all* verbs are create,\n\
        delete, deletecollection, get, list, patch, update and watch; patch takes JSON patch, merge patch,\n\
        strategic merge patch and server-side apply. `kubectl api-resources -o wide` says the same of a\n\
        running cluster, with the kinds of its users.\n\n\
        What a field of a Pod means when its containers are components: [Pods of\n\
        components](../concepts/pods.md).\n"
        .to_owned();
    for ((_, group), mut kinds) in groups {
        kinds.sort_by_key(|kind| (kind.kind, kind.version));
        let group = if group.is_empty() { "core" } else { group };
        write!(page, "\n## {group}\n\n").unwrap();
        page += "| kind | resource | version | scope | verbs | subresources |\n|---|---|---|---|---|---|\n";
        for kind in kinds {
            page += &row(kind);
        }
    }
    expect_file!["../../docs/src/reference/kinds.md"].assert_eq(&page);
}

/// What a command says of itself in an empty environment, whose values it would show.
fn help(path: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_coracle"))
        .args(path)
        .arg("--help")
        .env_clear()
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The names below `Commands:`, without `help`.
fn names(help: &str) -> Vec<String> {
    let Some((_, rest)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    rest.lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

fn describe(page: &mut String, path: &[&str]) {
    let said = help(path);
    let title = [&["coracle"], path].concat().join(" ");
    let said: Vec<_> = said.lines().map(str::trim_end).collect();
    let depth = "#".repeat(path.len() + 1);
    write!(page, "\n{depth} {title}\n\n```\n{}\n```\n", said.join("\n").trim_end()).unwrap();
    for name in names(&said.join("\n")) {
        describe(page, &[path, &[name.as_str()]].concat());
    }
}

#[test]
fn commands() {
    let mut page = "# Commands\n\n\
        What `coracle COMMAND --help` says of each command. `coracle man` prints the same as manual pages,\n\
        `coracle completion` teaches it to a shell.\n"
        .to_owned();
    for name in names(&help(&[])) {
        describe(&mut page, &[&name]);
    }
    expect_file!["../../docs/src/reference/commands.md"].assert_eq(&page);
}
