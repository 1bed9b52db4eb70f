//! The languages' own tools: which program is for what, whether it is there, and where to get it.

use std::path::{Path, PathBuf};

/// A program that builds guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tool {
    /// As it is called.
    pub(crate) program: &'static str,
    /// What it builds.
    pub(crate) builds: &'static str,
    /// How to get it.
    pub(crate) install: &'static str,
}

/// The programs that templates call.
pub(crate) const TOOLS: [Tool; 6] = [
    Tool {
        program: "cargo",
        builds: "Rust",
        install: "install Rust from https://rustup.rs, then `rustup target add wasm32-wasip2`",
    },
    Tool { program: "go", builds: "Go", install: "install Go from https://go.dev/dl" },
    Tool {
        program: "npm",
        builds: "JavaScript and TypeScript",
        install: "install Node.js from https://nodejs.org",
    },
    Tool {
        program: "node",
        builds: "JavaScript and TypeScript",
        install: "install Node.js from https://nodejs.org",
    },
    Tool {
        program: "python3",
        builds: "Python",
        install: "install Python from https://www.python.org/downloads",
    },
    Tool {
        program: "zig",
        builds: "C and C++",
        install: "install Zig from https://ziglang.org/download, or by `pip install ziglang`",
    },
];

/// What is known about a program.
pub(crate) fn of_program(program: &str) -> Option<&'static Tool> {
    TOOLS.iter().find(|tool| tool.program == program)
}

/// The file of a program: one with a path is looked for from `folder`, others on `PATH`.
pub(crate) fn find(program: &str, folder: &Path) -> Option<PathBuf> {
    use rustix::fs::{Access, access};
    let runs = |path: &PathBuf| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        return Some(folder.join(program)).filter(runs);
    }
    let places = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&places).map(|place| place.join(program)).find(runs)
}

/// Why a program that is not there is needed, with the way to get it.
pub(crate) fn missing(program: &str) -> String {
    match of_program(program) {
        Some(tool) => {
            format!("'{program}' is missing: it builds {}; {}", tool.builds, tool.install)
        }
        None => format!("'{program}' is missing: install it, or change `build` in coracle.toml"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_told_with_its_source() {
        assert!(missing("zig").contains("https://ziglang.org"));
        assert!(missing("frobnicate").contains("coracle.toml"));
        let here = Path::new("/");
        assert!(find("sh", here).is_some());
        assert!(find("no-such-program", here).is_none());
        assert!(find("./etc", here).is_none(), "a folder is no program");
    }
}
