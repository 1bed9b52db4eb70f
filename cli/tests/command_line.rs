//! What the binary says to someone who types it wrong, without any cluster.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::process::Command;

/// Runs the binary on an own data directory: whether it succeeded, and what it said.
fn check(arguments: &[&str]) -> (bool, String) {
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
    let output = command
        .arg("--data-dir")
        .arg(place.path())
        .args(arguments)
        .env_remove("KUBECONFIG")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn help_names_every_command() {
    let (ok, said) = check(&["--help"]);
    assert!(ok);
    for command in ["up", "down", "server", "host", "push"] {
        assert!(said.lines().any(|line| line.trim_start().starts_with(command)), "{said}");
    }
}

#[test]
fn mistakes_are_named_with_their_cure() {
    for (arguments, words) in [
        (&["push", "ghcr.io/x/y", "f.wasm"][..], &["names another registry", "write NAME:TAG"][..]),
        (&["push", "hello:1", "f.wasm"], &["kubeconfig", "is a server running"]),
        (&["up", "nosuch"], &["read nosuch"]),
        (&["server", "--service-node-port-range", "9-1"], &["30000-32767"]),
        (&["--log", "=", "down"], &["--log '='"]),
    ] {
        let (ok, said) = check(arguments);
        assert!(!ok, "{arguments:?} succeeded");
        for word in words {
            assert!(said.contains(word), "{arguments:?}: '{word}' is not in: {said}");
        }
    }
}

#[test]
fn there_is_nothing_to_take_down() {
    let (ok, said) = check(&["down"]);
    assert!(ok, "{said}");
}

#[test]
fn it_says_of_itself_what_shells_and_manuals_need() {
    let (ok, script) = check(&["completion", "bash"]);
    assert!(ok && script.contains("port-forward"), "{script}");
    let place = tempfile::tempdir().unwrap();
    let (ok, said) = check(&["man", place.path().to_str().unwrap()]);
    assert!(ok, "{said}");
    for page in ["coracle.1", "coracle-dev.1", "coracle-rollout-undo.1"] {
        assert!(place.path().join(page).exists(), "{page}");
    }
}

#[test]
fn a_doctor_without_a_cluster_looks_at_the_machine() {
    let (ok, said) = check(&["doctor", "-o", "json"]);
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    let findings = report["findings"].as_array().unwrap();
    assert!(
        ok && findings
            .iter()
            .any(|finding| finding["what"] == "no server runs with this data directory"),
        "{said}"
    );
    let (ok, said) = check(&["new", "perl-http", "x"]);
    assert!(!ok && said.contains("choose one of rust-http"), "{said}");
    let (ok, said) = check(&["get", "pods"]);
    assert!(!ok && said.contains("start a server with `coracle server`"), "{said}");
}
