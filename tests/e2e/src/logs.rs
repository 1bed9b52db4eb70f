//! What the processes of a test said last, for the messages of tests that fail.

use std::path::Path;

/// Lines of each log that are shown.
const LINES: usize = 25;

/// The last lines of every `.log` file of a folder.
pub(crate) fn last_lines(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().extension().is_some_and(|end| end == "log") {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(LINES).collect();
            let lines: Vec<&str> = lines.into_iter().rev().collect();
            all += &format!("--- {}\n{}\n", entry.path().display(), lines.join("\n"));
        }
    }
    all
}
