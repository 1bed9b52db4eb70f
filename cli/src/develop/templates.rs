//! `coracle new`: a folder that builds, runs and tests, from a template.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::tools;
use crate::config::NewFlags;
use crate::out;

/// The longest name: a Service's name is a DNS label.
const NAME_MAX: usize = 63;

/// A file of a template: where it goes, and its text.
type File = (&'static str, &'static str);

/// What a folder is made of.
struct Template {
    name: &'static str,
    about: &'static str,
    /// Groups of files, beside those that every template has.
    files: &'static [&'static [File]],
}

/// A file of `sdk/templates`.
macro_rules! text {
    ($path:literal) => {
        include_str!(concat!("../../../sdk/templates/", $path))
    };
}

/// What every template has.
const ALWAYS: [File; 2] =
    [("README.md", text!("common/README.md")), (".gitignore", text!("common/gitignore"))];
const CARGO_RECIPE: File = ("coracle.toml", text!("common/cargo.coracle.toml"));
const CARGO_CONFIG: File = (".cargo/config.toml", text!("common/cargo.config.toml"));
const JOB: File = ("app.yaml", text!("common/command.yaml"));
const JOB_CASES: File = ("requests.toml", text!("common/command.requests.toml"));
const CRON: File = ("app.yaml", text!("common/cron.yaml"));
const CRON_CASES: File = ("requests.toml", text!("common/cron.requests.toml"));
const HTTP: File = ("app.yaml", text!("common/http.yaml"));
const HTTP_CASES: File = ("requests.toml", text!("common/http.requests.toml"));
const RUST: [File; 2] = [CARGO_RECIPE, CARGO_CONFIG];
const RUST_HTTP: [File; 2] =
    [("Cargo.toml", text!("rust-http/Cargo.toml")), ("src/main.rs", text!("rust-http/main.rs"))];
const RUST_COMMAND: [File; 2] = [
    ("Cargo.toml", text!("rust-command/Cargo.toml")),
    ("src/main.rs", text!("rust-command/main.rs")),
];
const RUST_PLUGIN: [File; 8] = [
    CARGO_CONFIG,
    ("coracle.toml", text!("rust-plugin/coracle.toml")),
    ("Cargo.toml", text!("rust-plugin/Cargo.toml")),
    ("app/Cargo.toml", text!("rust-plugin/app/Cargo.toml")),
    ("app/src/main.rs", text!("rust-plugin/app/main.rs")),
    ("plugin/Cargo.toml", text!("rust-plugin/plugin/Cargo.toml")),
    ("plugin/src/lib.rs", text!("rust-plugin/plugin/lib.rs")),
    ("wit/plugin.wit", text!("rust-plugin/wit/plugin.wit")),
];
/// An application with a plugin is the same in every language, but for its sources.
const PLUGIN: [File; 2] = [
    ("app.yaml", text!("rust-plugin/app.yaml")),
    ("requests.toml", text!("rust-plugin/requests.toml")),
];
const JAVASCRIPT_PLUGIN: [File; 5] = [
    ("coracle.toml", text!("javascript-plugin/coracle.toml")),
    ("build.mjs", text!("javascript-plugin/build.mjs")),
    ("app.js", text!("javascript-plugin/app.js")),
    ("plugin.js", text!("javascript-plugin/plugin.js")),
    ("wit/plugin.wit", text!("rust-plugin/wit/plugin.wit")),
];
const PYTHON_PLUGIN: [File; 6] = [
    ("coracle.toml", text!("python-plugin/coracle.toml")),
    ("build.py", text!("python-plugin/build.py")),
    ("app.py", text!("python-plugin/app.py")),
    ("plugin.py", text!("python-plugin/plugin.py")),
    ("wit/plugin.wit", text!("python-plugin/wit/plugin.wit")),
    ("wit/deps/cli/run.wit", text!("python-plugin/wit/run.wit")),
];
const GO_COMMAND: [File; 3] = [
    ("coracle.toml", text!("go-command/coracle.toml")),
    ("go.mod", text!("go-command/go.mod.template")),
    ("main.go", text!("go-command/main.go")),
];
const GO_HTTP: [File; 3] = [
    ("coracle.toml", text!("go-http/coracle.toml")),
    ("go.mod", text!("go-http/go.mod.template")),
    ("main.go", text!("go-http/main.go")),
];
/// The SDK, which is on no proxy.
const GO_SDK: [File; 16] = [
    ("coracle/README.md", text!("../go/README.md")),
    ("coracle/go.mod", text!("../go/go.mod")),
    ("coracle/config/config.go", text!("../go/config/config.go")),
    ("coracle/fetch/fetch.go", text!("../go/fetch/fetch.go")),
    ("coracle/internal/wasi/http.go", text!("../go/internal/wasi/http.go")),
    ("coracle/internal/wasi/io.go", text!("../go/internal/wasi/io.go")),
    ("coracle/internal/wasi/keyvalue.go", text!("../go/internal/wasi/keyvalue.go")),
    ("coracle/internal/wasi/lend.go", text!("../go/internal/wasi/lend.go")),
    ("coracle/internal/wasi/logging.go", text!("../go/internal/wasi/logging.go")),
    ("coracle/internal/wasi/stop.go", text!("../go/internal/wasi/stop.go")),
    ("coracle/internal/wasi/wait.go", text!("../go/internal/wasi/wait.go")),
    ("coracle/kube/kube.go", text!("../go/kube/kube.go")),
    ("coracle/kv/kv.go", text!("../go/kv/kv.go")),
    ("coracle/log/log.go", text!("../go/log/log.go")),
    ("coracle/serve/serve.go", text!("../go/serve/serve.go")),
    ("coracle/stop/stop.go", text!("../go/stop/stop.go")),
];
const C_COMMAND: [File; 2] =
    [("coracle.toml", text!("c-command/coracle.toml")), ("main.c", text!("c-command/main.c"))];
/// The SDK, which is on no registry.
const SCRIPT: [File; 20] = [
    ("package.json", text!("common/package.json")),
    ("coracle/README.md", text!("../javascript/README.md")),
    ("coracle/build.mjs", text!("../javascript/build.mjs")),
    ("coracle/client.js", text!("../javascript/client.js")),
    ("coracle/client.d.ts", text!("../javascript/client.d.ts")),
    ("coracle/command.js", text!("../javascript/command.js")),
    ("coracle/command.d.ts", text!("../javascript/command.d.ts")),
    ("coracle/files.js", text!("../javascript/files.js")),
    ("coracle/files.d.ts", text!("../javascript/files.d.ts")),
    ("coracle/globals.d.ts", text!("../javascript/globals.d.ts")),
    ("coracle/http.js", text!("../javascript/http.js")),
    ("coracle/http.d.ts", text!("../javascript/http.d.ts")),
    ("coracle/kube.js", text!("../javascript/kube.js")),
    ("coracle/kube.d.ts", text!("../javascript/kube.d.ts")),
    ("coracle/src/body.js", text!("../javascript/src/body.js")),
    ("coracle/src/console.js", text!("../javascript/src/console.js")),
    ("coracle/src/fetch.js", text!("../javascript/src/fetch.js")),
    ("coracle/src/files.js", text!("../javascript/src/files.js")),
    ("coracle/src/loop.js", text!("../javascript/src/loop.js")),
    ("coracle/src/text.js", text!("../javascript/src/text.js")),
];
const JAVASCRIPT_HTTP: [File; 2] = [
    ("coracle.toml", text!("javascript-http/coracle.toml")),
    ("app.js", text!("javascript-http/app.js")),
];
const JAVASCRIPT_COMMAND: [File; 2] = [
    ("coracle.toml", text!("javascript-command/coracle.toml")),
    ("app.js", text!("javascript-command/app.js")),
];
const TYPES: File = ("tsconfig.json", text!("typescript-http/tsconfig.json"));
const TYPESCRIPT_HTTP: [File; 3] = [
    ("coracle.toml", text!("typescript-http/coracle.toml")),
    TYPES,
    ("app.ts", text!("typescript-http/app.ts")),
];
const TYPESCRIPT_COMMAND: [File; 3] = [
    ("coracle.toml", text!("typescript-command/coracle.toml")),
    TYPES,
    ("app.ts", text!("typescript-command/app.ts")),
];
const SERVICE: [File; 2] = [HTTP, HTTP_CASES];
const ONCE: [File; 2] = [JOB, JOB_CASES];
const TIMED: [File; 2] = [CRON, CRON_CASES];

/// All templates, by language and kind.
const TEMPLATES: [Template; 17] = [
    Template {
        name: "rust-http",
        about: "an HTTP service in Rust",
        files: &[&SERVICE, &RUST, &RUST_HTTP],
    },
    Template {
        name: "rust-command",
        about: "a Job in Rust",
        files: &[&ONCE, &RUST, &RUST_COMMAND],
    },
    Template {
        name: "rust-cron",
        about: "a CronJob in Rust",
        files: &[&TIMED, &RUST, &RUST_COMMAND],
    },
    Template {
        name: "rust-plugin",
        about: "an application in Rust, and a plugin for it that can touch nothing else",
        files: &[&PLUGIN, &RUST_PLUGIN],
    },
    Template {
        name: "go-http",
        about: "an HTTP service in Go",
        files: &[&SERVICE, &GO_HTTP, &GO_SDK],
    },
    Template { name: "go-command", about: "a Job in Go", files: &[&ONCE, &GO_COMMAND] },
    Template { name: "go-cron", about: "a CronJob in Go", files: &[&TIMED, &GO_COMMAND] },
    Template { name: "c-command", about: "a Job in C", files: &[&ONCE, &C_COMMAND] },
    Template { name: "c-cron", about: "a CronJob in C", files: &[&TIMED, &C_COMMAND] },
    Template {
        name: "javascript-http",
        about: "an HTTP service in JavaScript",
        files: &[&SERVICE, &SCRIPT, &JAVASCRIPT_HTTP],
    },
    Template {
        name: "javascript-command",
        about: "a Job in JavaScript",
        files: &[&ONCE, &SCRIPT, &JAVASCRIPT_COMMAND],
    },
    Template {
        name: "javascript-cron",
        about: "a CronJob in JavaScript",
        files: &[&TIMED, &SCRIPT, &JAVASCRIPT_COMMAND],
    },
    Template {
        name: "javascript-plugin",
        about: "an application in JavaScript, and a plugin for it",
        files: &[&PLUGIN, &SCRIPT, &JAVASCRIPT_PLUGIN],
    },
    Template {
        name: "python-plugin",
        about: "an application in Python, and a plugin for it that can touch nothing else",
        files: &[&PLUGIN, &PYTHON_PLUGIN],
    },
    Template {
        name: "typescript-http",
        about: "an HTTP service in TypeScript",
        files: &[&SERVICE, &SCRIPT, &TYPESCRIPT_HTTP],
    },
    Template {
        name: "typescript-command",
        about: "a Job in TypeScript",
        files: &[&ONCE, &SCRIPT, &TYPESCRIPT_COMMAND],
    },
    Template {
        name: "typescript-cron",
        about: "a CronJob in TypeScript",
        files: &[&TIMED, &SCRIPT, &TYPESCRIPT_COMMAND],
    },
];

impl Template {
    /// All files: what every template has, and its own.
    fn all(&self) -> impl Iterator<Item = &File> {
        ALWAYS.iter().chain(self.files.iter().copied().flatten())
    }
}

/// Writes a folder, or lists the templates.
pub(crate) fn create(flags: &NewFlags) -> anyhow::Result<()> {
    if flags.list {
        for template in &TEMPLATES {
            out::line(format_args!("{:<20}{}", template.name, template.about));
        }
        return Ok(());
    }
    let (Some(template), Some(name)) = (&flags.template, &flags.name) else {
        bail!("say which template and a name: `coracle new rust-http hello`");
    };
    let folder = PathBuf::from(name);
    write(template, name, &folder)?;
    out::line(format_args!("made {}", folder.display()));
    let recipe = crate::images::Recipe::of_folder(&folder)?;
    let program = recipe.build.first().map(String::as_str).unwrap_or_default();
    if tools::find(program, &folder).is_none() {
        out::note(&tools::missing(program));
    }
    out::line(format_args!("next: cd {} && coracle dev", folder.display()));
    Ok(())
}

fn write(template: &str, name: &str, folder: &Path) -> anyhow::Result<()> {
    let Some(found) = TEMPLATES.iter().find(|known| known.name == template) else {
        let names: Vec<&str> = TEMPLATES.iter().map(|known| known.name).collect();
        bail!("there is no template '{template}': choose one of {}", names.join(", "));
    };
    if !is_label(name) {
        bail!(
            "'{name}' must be at most {NAME_MAX} lower-case letters, digits and -, beginning with a letter"
        );
    }
    if folder.exists() {
        bail!("{} is there already: choose another name", folder.display());
    }
    for (path, text) in found.all() {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        let text = text.replace("{{name}}", name).replace("{{module}}", &name.replace('-', "_"));
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// A DNS label that is a crate's name too.
fn is_label(name: &str) -> bool {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= NAME_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(letters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::Manifests;
    use crate::develop::cases::Cases;
    use crate::images::{ImageName, Recipe};

    #[test]
    fn every_template_is_whole() {
        let place = tempfile::tempdir().unwrap();
        for template in &TEMPLATES {
            let folder = place.path().join(template.name);
            write(template.name, "my-app", &folder).unwrap();
            let recipe = Recipe::of_folder(&folder).unwrap();
            assert!(tools::of_program(&recipe.build[0]).is_some(), "{}", recipe.build[0]);
            let manifests = Manifests::read(&folder).unwrap();
            Cases::read(&folder.join("requests.toml")).unwrap();
            let text = format!("{:?}", manifests.objects);
            for image in &recipe.images {
                let name: ImageName = image.name.parse().unwrap();
                assert!(text.contains(&name.to_string()), "{name} is not in {text}");
            }
            for (path, _) in template.all() {
                let text = std::fs::read_to_string(folder.join(path)).unwrap();
                assert!(!text.contains("{{"), "{path}: {text}");
            }
        }
    }

    #[test]
    fn mistakes_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let there = place.path();
        for (template, name, folder, words) in [
            ("perl-http", "a", there.join("a"), "choose one of rust-http"),
            ("rust-http", "Big", there.join("b"), "must be at most 63"),
            ("rust-http", "a-", there.join("c"), "must be at most 63"),
            ("rust-http", "a", there.to_path_buf(), "is there already"),
        ] {
            let error = write(template, name, &folder).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
