//! What the processes of a test said last, for the messages of tests that fail.

use std::path::Path;

/// Lines of each log that are shown.
const LINES: usize = 40;

/// The last lines of every `.log` file of a folder.
pub(crate) fn last_lines(folder: &Path) -> String {
    // A folder that a process has not made yet holds no logs.
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let logs = entries.map(|entry| entry.path());
    let logs = logs.filter(|path| path.extension().is_some_and(|end| end == "log"));
    logs.map(|path| {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(LINES).collect();
        let lines: Vec<&str> = lines.into_iter().rev().collect();
        format!("--- {}\n{}\n", path.display(), lines.join("\n"))
    })
    .collect()
}

/// Prints them where a test is about to fail: a failure that is seen once in a hundred runs tells why.
#[expect(clippy::print_stderr, reason = "what a test that fails prints")]
pub(crate) fn show_if_failing(folders: &[&Path]) {
    if std::thread::panicking() {
        for folder in folders {
            eprintln!("{}", last_lines(folder));
        }
    }
}
