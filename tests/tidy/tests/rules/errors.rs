//! The book's page of errors: every error type of the sources, its sentences, and how `docs/errors.toml` mends them.

use std::fmt::Write as _;

use expect_test::expect_file;

use crate::files::{RustFile, read, root, violations};
use crate::source::{arguments, cell, literals, product, room};

/// The rooms in the order in which readers look for them.
const ROOMS: [(&str, &str); 15] = [
    ("cli", "The command `coracle`"),
    ("client", "Clients of the API"),
    ("api", "Objects and what is written in them"),
    ("apiserver", "The API server"),
    ("store", "The store"),
    ("controllers", "Controllers"),
    ("scheduler", "The scheduler"),
    ("host/agent", "The host's agent"),
    ("host/runtime", "The runtime"),
    ("host/vnet", "Pods' networks"),
    ("network", "The network"),
    ("telemetry", "Telemetry"),
    ("simulate", "The simulation"),
    ("dashboard", "The dashboard"),
    ("sdk", "The SDK"),
];

/// One error type.
struct Type {
    /// `room/Name`, as in `docs/errors.toml`.
    key: String,
    about: String,
    variants: Vec<Variant>,
}

struct Variant {
    name: String,
    /// What it says, as a template; none where it hands on what another one says.
    says: Option<String>,
    about: String,
}

/// The error types of a file: what `thiserror` derives.
fn types(file: &RustFile) -> Vec<Type> {
    let lines: Vec<&str> = file.text.lines().collect();
    let derives = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("#[derive(")
            && line.split(['(', ',', ')', ':', ' ']).any(|word| word == "Error")
    };
    let begins = (0..lines.len()).filter(|at| lines.get(*at).is_some_and(derives));
    begins.filter_map(|at| one(&file.path, &lines, at)).collect()
}

fn one(path: &str, lines: &[&str], derive: usize) -> Option<Type> {
    let head = (derive..lines.len()).find(|at| {
        lines.get(*at).is_some_and(|line| line.contains("enum ") || line.contains("struct "))
    })?;
    let name = named(lines.get(head)?)?;
    let is_end = |line: &&str| *line == "}" || line.ends_with(';');
    let end = (head..lines.len()).find(|at| lines.get(*at).is_some_and(is_end))?;
    let about = (0..derive).rev().map_while(|at| lines.get(at).map(|line| line.trim()));
    let mut about: Vec<&str> =
        about.take_while(|line| line.starts_with("///") || line.starts_with("#[")).collect();
    about.reverse();
    let variants = if lines.get(head)?.contains("enum ") {
        variants(lines.get(head + 1..end)?)
    } else {
        let says = message(&lines.get(derive..=head)?.join("\n"));
        vec![Variant { name: name.clone(), says: says?, about: String::new() }]
    };
    Some(Type { key: format!("{}/{name}", room(path)), about: sentence(&about), variants })
}

/// The name that a line declares.
fn named(line: &str) -> Option<String> {
    let rest = line.split_once("enum ").or_else(|| line.split_once("struct "))?.1;
    Some(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
}

/// The variants of an enum's body: documentation, then `#[error(…)]`, then the name.
fn variants(body: &[&str]) -> Vec<Variant> {
    let (mut docs, mut attribute, mut found) = (Vec::new(), String::new(), Vec::new());
    let mut goes_on = false;
    for line in body {
        let (is_field, line) = (line.starts_with("        "), line.trim());
        if goes_on || (line.starts_with("#[") && !is_field) {
            attribute = attribute + line + "\n";
            goes_on = !line.ends_with(']');
            continue;
        }
        if is_field {
            continue;
        }
        if line.starts_with("///") {
            docs.push(line);
        } else if line.starts_with(|c: char| c.is_ascii_uppercase()) {
            let name: String = line.chars().take_while(char::is_ascii_alphanumeric).collect();
            if let Some(says) = message(&attribute) {
                found.push(Variant { name, says, about: sentence(&docs) });
            }
            (docs, attribute) = (Vec::new(), String::new());
        }
    }
    found
}

/// What `#[error(…)]` says; none within for `transparent`, and nothing without that attribute.
fn message(attributes: &str) -> Option<Option<String>> {
    let (_, given) = attributes.split_once("#[error(")?;
    let first = arguments(given).into_iter().next().unwrap_or_default().to_owned();
    let Some(text) = literals(&first).into_iter().next().map(str::to_owned) else {
        return Some(None);
    };
    // A line's end with `\` joins it with the next.
    let joined: Vec<&str> = text.split("\\\n").map(str::trim_start).collect();
    let plain = joined.concat().replace("\\\"", "\"").replace("\\\\", "\\");
    Some(Some(shown(&plain)))
}

/// A template without what only Rust reads: `{0}` becomes an ellipsis, `{path:?}` becomes `{path}`.
fn shown(text: &str) -> String {
    let mut parts = text.split('{');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (hole, rest) = part.split_once('}').unwrap_or((part, ""));
        let name = hole.split(':').next().unwrap_or_default();
        let named = name.starts_with(|c: char| c.is_ascii_lowercase());
        out += &if named { format!("{{{name}}}") } else { "…".to_owned() };
        out += rest;
    }
    out
}

/// The first paragraph of documentation, without the brackets of its links.
fn sentence(docs: &[&str]) -> String {
    let lines = docs.iter().filter_map(|line| line.strip_prefix("///")).map(str::trim);
    let first: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    first.join(" ").replace("[`", "`").replace("`]", "`")
}

#[test]
fn the_page_of_errors_has_every_type_and_how_to_mend_it() {
    let mends: toml::Table = read(&root().join("docs/errors.toml")).parse().unwrap();
    let types: Vec<Type> = product().iter().flat_map(types).collect();
    assert!(types.len() > 50, "the sources have moved: {} types", types.len());
    let mend = |of: &Type, variant: &Variant| {
        let entry = mends.get(&of.key)?;
        entry.get(&variant.name).or_else(|| entry.get("all"))?.as_str().map(str::to_owned)
    };
    let unsaid = types.iter().flat_map(|of| {
        let open = of.variants.iter().filter(|variant| mend(of, variant).is_none());
        open.map(|variant| format!("{}: {}", of.key, variant.name)).collect::<Vec<_>>()
    });
    violations(unsaid, "say in docs/errors.toml how it is mended");
    let gone = mends.iter().flat_map(|(key, entry)| {
        let of = types.iter().find(|of| of.key == *key);
        let names = entry.as_table().into_iter().flat_map(toml::Table::keys);
        let is_there = |name: &String| {
            of.is_some_and(|of| name == "all" || of.variants.iter().any(|one| one.name == *name))
        };
        names
            .filter(|name| !is_there(name))
            .map(|name| format!("{key}: {name}"))
            .collect::<Vec<_>>()
    });
    violations(gone, "these are no errors any more: take them out of docs/errors.toml");
    let page = page(&types, mend);
    expect_file![root().join("docs/src/reference/errors.md")].assert_eq(&page);
}

fn page(types: &[Type], mend: impl Fn(&Type, &Variant) -> Option<String>) -> String {
    let mut page = "# Errors\n\n\
        What can go wrong, part by part: every error type of the sources, what it says, and how it is mended. A name\n\
        in `{}` or an ellipsis stands for what differs. The command prints an error on a line that begins with\n\
        `error:`, and what lies below it behind `because:`; the API answers with a `Status`; hosts and controllers\n\
        tell [events](events.md) and conditions.\n"
        .to_owned();
    for (folder, title) in ROOMS {
        let own =
            types.iter().filter(|of| of.key.rsplit_once('/').is_some_and(|(at, _)| at == folder));
        let own: Vec<&Type> = own.collect();
        if own.is_empty() {
            continue;
        }
        let _infallible = write!(page, "\n## {title}\n");
        for of in own {
            let name = of.key.rsplit('/').next().unwrap_or_default();
            let _infallible = write!(
                page,
                "\n### {name}\n\n{}\n\n| it says | when | what to do |\n|---|---|---|\n",
                of.about
            );
            for variant in &of.variants {
                let says = variant.says.as_ref().map_or_else(
                    || "what lies below says".to_owned(),
                    |says| format!("``{}``", says.replace('|', "\\|")),
                );
                let mend = mend(of, variant).unwrap_or_default();
                let _infallible =
                    writeln!(page, "| {says} | {} | {} |", cell(&variant.about), cell(&mend));
            }
        }
    }
    page
}

#[test]
fn sentences_are_read_as_they_are_written() {
    let text = "/// Why not.\n#[derive(Debug, thiserror::Error)]\npub enum Odd {\n    /// Gone.\n    ///\n    /// More.\n    \
                #[error(\"no {0:?} at \\\"{path}\\\"\")]\n    None(String),\n    /// Below.\n    #[error(transparent)]\n    \
                Io(#[from] io::Error),\n    /// Long.\n    #[error(\n        \"a \\\n         b\"\n    )]\n    Long {\n        \
                /// Its field.\n        path: String,\n    },\n}\n";
    let file = RustFile { path: "cli/src/a.rs".to_owned(), text: text.to_owned() };
    let found = types(&file);
    let found: Vec<_> = found
        .iter()
        .flat_map(|of| of.variants.iter().map(move |one| (of, one)))
        .map(|(of, one)| {
            format!("{} {} {}: {:?} {}", of.key, of.about, one.name, one.says, one.about)
        })
        .collect();
    assert_eq!(
        found,
        [
            "cli/Odd Why not. None: Some(\"no … at \\\"{path}\\\"\") Gone.",
            "cli/Odd Why not. Io: None Below.",
            "cli/Odd Why not. Long: Some(\"a b\") Long.",
        ]
    );
}
