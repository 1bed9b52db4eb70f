//! What the binary says to someone who types it wrong, without any cluster.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::process::Command;

/// Runs the binary on an own data directory: whether it succeeded, and what it said.
fn check(arguments: &[&str]) -> (bool, String) {
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
    let output = command.arg("--data-dir").arg(place.path()).args(arguments).output().unwrap();
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
