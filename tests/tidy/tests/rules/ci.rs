//! What is merged has passed every test that there is.

use crate::files::{read, root};

/// Row `ci.tests-first`: the one thing that CI runs is all steps, and the step with real clients (kubectl, Helm, client
/// libraries, browsers) takes every file of theirs.
#[test]
fn ci_runs_every_test_there_is() {
    let run = read(&root().join(".ci/run"));
    let commands: Vec<&str> =
        run.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert_eq!(commands.last(), Some(&"exec ./test"), "CI runs what the README says");

    let test = read(&root().join("test"));
    let steps = test.lines().find_map(|line| line.strip_prefix("steps=(${@:-"));
    let steps: Vec<&str> = steps.unwrap().trim_end_matches("})").split(' ').collect();
    let made = test.lines().filter_map(|line| line.strip_prefix("step_")?.split_once("()"));
    let made: Vec<&str> = made.map(|(name, _)| name).collect();
    assert_eq!(steps, made, "`./test` without words runs every step");
    assert!(test.contains("for file in tests/e2e/tests/*.rs;"), "the step e2e takes every file");
    assert!(
        test.contains("step_test() { cargo test --workspace "),
        "the step test takes every crate"
    );
}
