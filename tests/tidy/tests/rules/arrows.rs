//! Which crate may know which: the picture in `ARCHITECTURE.md`, and where effects may be.

use crate::files::{own_rust_files, read, root, violations};

/// Folder and the crates of ours that it may depend on. `cli`, `tests` and `bench` may know all.
const ARROWS: [(&str, &[&str]); 14] = [
    ("allocator", &[]),
    ("api", &["coracle-descriptions"]),
    ("store", &[]),
    ("telemetry", &[]),
    ("dashboard", &[]),
    ("host/vnet", &[]),
    ("host/runtime", &["coracle-telemetry", "coracle-vnet"]),
    ("client", &["coracle-api"]),
    ("apiserver", &["coracle-api", "coracle-dashboard", "coracle-store", "coracle-telemetry"]),
    ("scheduler", &["coracle-api", "coracle-client"]),
    ("controllers", &["coracle-api", "coracle-client"]),
    ("network", &["coracle-api", "coracle-client", "coracle-telemetry", "coracle-vnet"]),
    (
        "host/agent",
        &[
            "coracle-api",
            "coracle-client",
            "coracle-network",
            "coracle-runtime",
            "coracle-telemetry",
            "coracle-vnet",
        ],
    ),
    (
        "simulate",
        &[
            "coracle-api",
            "coracle-apiserver",
            "coracle-client",
            "coracle-controllers",
            "coracle-scheduler",
            "coracle-store",
        ],
    ),
];

/// Crates that must never be known to a room, whatever the arrows say.
const STRANGERS: [(&str, &[&str]); 6] = [
    ("telemetry", &["wasmtime", "k8s-openapi", "kube"]),
    ("host/vnet", &["wasmtime", "k8s-openapi", "kube"]),
    ("host/runtime", &["k8s-openapi", "kube"]),
    ("store", &["serde_json", "k8s-openapi", "kube"]),
    ("network", &["wasmtime"]),
    ("api", &["tokio", "hyper", "kube"]),
];

fn dependencies(folder: &str) -> Vec<String> {
    let manifest: toml::Table = read(&root().join(folder).join("Cargo.toml")).parse().unwrap();
    let table = manifest.get("dependencies").and_then(toml::Value::as_table);
    table.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn dependencies_follow_the_arrows() {
    let wrong = ARROWS.iter().flat_map(|(folder, allowed)| {
        dependencies(folder)
            .into_iter()
            .filter(|name| name.starts_with("coracle-") && !allowed.contains(&name.as_str()))
            .map(|name| format!("{folder} -> {name}"))
            .collect::<Vec<_>>()
    });
    violations(wrong, "a part meets another only at the API server (ARCHITECTURE.md)");
}

#[test]
fn no_room_knows_a_stranger() {
    let wrong = STRANGERS.iter().flat_map(|(folder, strangers)| {
        dependencies(folder)
            .into_iter()
            .filter(|name| strangers.contains(&name.as_str()))
            .map(|name| format!("{folder} -> {name}"))
            .collect::<Vec<_>>()
    });
    violations(wrong, "keep what needs this crate in another room");
}

/// The files and folders that may await, from `edges.txt`.
fn edges() -> Vec<String> {
    read(&root().join("tests/tidy/edges.txt"))
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (path, reason) =
                line.split_once(' ').unwrap_or_else(|| panic!("edges.txt: '{line}' has no reason"));
            assert!(!reason.trim().is_empty(), "edges.txt: '{line}' has no reason");
            path.to_owned()
        })
        .collect()
}

/// Whether `path` is the edge or lies in it.
fn is_in(path: &str, edge: &str) -> bool {
    path == edge
        || path.strip_prefix(edge.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
}

#[test]
fn effects_stay_at_the_edges() {
    let edges = edges();
    let marks = [".await", "async fn", "tokio::spawn", "async move"];
    let wrong = own_rust_files().into_iter().filter_map(|file| {
        let is_test = file.path.contains("/tests/") || file.path.ends_with("/tests.rs");
        if is_test || edges.iter().any(|edge| is_in(&file.path, edge)) {
            return None;
        }
        let product = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        let line = product.lines().position(|line| {
            !line.trim_start().starts_with("//") && marks.iter().any(|mark| line.contains(mark))
        })?;
        Some(format!("{}:{}", file.path, line + 1))
    });
    violations(
        wrong,
        "move the effect to the room's edge file, or list the file in tests/tidy/edges.txt with its reason",
    );
}

#[test]
fn every_edge_exists() {
    let gone = edges().into_iter().filter(|edge| !root().join(edge).exists());
    violations(gone, "take the line out of tests/tidy/edges.txt");
}
