//! The book does what it says: every command block of every page is run, page by page as a reader would,
//! on one cluster, and prints what the page shows.
//!
//! A block of `sh` runs in the page's own folder, all blocks of a page in one shell. A block of `yaml`
//! whose first line is `# name.yaml` is that file. A block of `text` after one of `sh` is what it prints:
//! each of its lines comes, in this order, `…` standing for anything. A block that cannot run beside others
//! (it starts a server of its own, or another machine) names the test that runs it: `sh ci=NAME`.
//!
//! The reader has patience: `kubectl wait` waits for minutes where the page says nothing else, and who is refused
//! by a node port asks again, since a host hears of a ready pod a moment after everybody else.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use coracle_e2e::{Cluster, KUBECTL_NEW, coracle, kubectl, root};

/// Before the output of each block, followed by its number.
const MARK: &str = "@@block ";

/// The time that a page's commands may take together, in seconds.
const PAGE_SECONDS: &str = "900";

/// What comes before the commands of a page.
const READER: &str = "set -euo pipefail\nexec 2>&1\n\
    curl() { command curl --retry 100 --retry-delay 1 --retry-all-errors \"$@\"; }\n";

/// kubectl's own 30 seconds are too few for pods that come with a build or a pull of three pages.
const PREFERENCES: &str = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n\
    defaults: [{command: wait, options: [{name: timeout, default: 10m}]}]\n";

/// Pages that are run at once: they mostly wait.
const AT_ONCE: usize = 3;

/// A page's code blocks, in order.
struct Page {
    name: String,
    blocks: Vec<Block>,
}

#[derive(Debug)]
enum Block {
    Run { script: String, shown: Vec<String> },
    File { name: String, text: String },
    Elsewhere { test: String },
}

/// All pages of the summary, in its order.
fn pages() -> Vec<Page> {
    let folder = root().join("docs/src");
    let summary = fs::read_to_string(folder.join("SUMMARY.md")).unwrap();
    let links = summary.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    links
        .map(|(name, _)| {
            let text = fs::read_to_string(folder.join(name)).unwrap();
            Page { name: name.to_owned(), blocks: blocks(name, &text) }
        })
        .collect()
}

fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    for (info, body) in fences(text) {
        let (language, options) = info.split_once(' ').unwrap_or((&info, ""));
        match (language, options) {
            ("sh", "") => found.push(Block::Run { script: body, shown: Vec::new() }),
            ("sh", _) => {
                let test = options.strip_prefix("ci=").unwrap_or_default().to_owned();
                found.push(Block::Elsewhere { test });
            }
            ("yaml", "") => {
                let first = body.lines().next().unwrap_or_default();
                if let Some(name) = first.strip_prefix("# ").filter(|n| n.ends_with(".yaml")) {
                    found.push(Block::File { name: name.to_owned(), text: body });
                }
            }
            ("text", "") => {
                // A picture stands after no command.
                if let Some(Block::Run { shown, .. }) = found.last_mut() {
                    shown.extend(body.lines().map(str::to_owned));
                }
            }
            ("rust" | "toml" | "json", "") => {}
            _ => assert_eq!(info, "", "{page}: a block of a kind that nothing checks"),
        }
    }
    found
}

/// The fenced blocks of a page: what stands after the fence, and the text.
fn fences(text: &str) -> Vec<(String, String)> {
    let (mut found, mut open): (Vec<(String, String)>, bool) = (Vec::new(), false);
    for line in text.lines() {
        match (line.strip_prefix("```"), open) {
            (Some(info), false) => {
                found.push((info.trim().to_owned(), String::new()));
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => {
                if let Some((_, body)) = found.last_mut() {
                    body.push_str(line);
                    body.push('\n');
                }
            }
            (None, false) => {}
        }
    }
    found
}

impl Page {
    /// Runs it in a folder, with `coracle` and `kubectl` of `bin`; what it complains about comes back.
    fn run(&self, cluster: &Cluster, bin: &Path) -> Result<(), String> {
        let folder = cluster.folder().join(self.name.replace('/', "-"));
        fs::create_dir_all(&folder).unwrap();
        let mut script = READER.to_owned();
        for (number, block) in self.blocks.iter().enumerate() {
            match block {
                Block::Run { script: commands, .. } => {
                    script += &format!("echo; echo '{MARK}{number}'\n{commands}");
                }
                Block::File { name, text } => fs::write(folder.join(name), text).unwrap(),
                Block::Elsewhere { .. } => {}
            }
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let output = Command::new("timeout")
            .args([PAGE_SECONDS, "bash", "-c", &script])
            .current_dir(&folder)
            .env("PATH", path)
            .env("KUBECONFIG", cluster.kubeconfig())
            .env("CORACLE_DATA_DIR", cluster.data())
            .env("CORACLE_SOURCE", root())
            .env("HOME", cluster.folder())
            .env("CARGO_HOME", cargo_home())
            .env("RUSTUP_HOME", rustup_home())
            .env_remove("CARGO_TARGET_DIR")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            return Err(format!("{}: {}\n{printed}", self.name, output.status));
        }
        self.compare(&printed)
    }

    fn compare(&self, printed: &str) -> Result<(), String> {
        for (number, block) in self.blocks.iter().enumerate() {
            let Block::Run { script, shown } = block else { continue };
            let mark = format!("{MARK}{number}\n");
            let part = printed.split_once(&mark).map_or("", |(_, rest)| rest);
            let part = part.split(MARK).next().unwrap_or_default();
            let mut lines = part.lines();
            for wanted in shown {
                if !lines.any(|line| fits(line, wanted)) {
                    return Err(format!(
                        "{}: no line '{wanted}' in what this prints:\n{script}---\n{part}",
                        self.name
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Whether a line is as the page has it, `…` standing for anything and space for any space.
fn fits(line: &str, wanted: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (line, wanted) = (words(line), words(wanted));
    let pieces: Vec<&str> = wanted.split('…').map(str::trim).collect();
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return false };
    if pieces.len() == 1 {
        return line == wanted;
    }
    let mut rest = line.as_str();
    let found = pieces.iter().all(|piece| match rest.split_once(piece) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    });
    found && line.starts_with(first) && line.ends_with(last)
}

fn home(variable: &str, folder: &str) -> std::path::PathBuf {
    let given = std::env::var_os(variable).map(Into::into);
    given.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(folder))
}

fn cargo_home() -> std::path::PathBuf {
    home("CARGO_HOME", ".cargo")
}

fn rustup_home() -> std::path::PathBuf {
    home("RUSTUP_HOME", ".rustup")
}

#[test]
fn every_page_does_what_it_says() {
    let pages = pages();
    let cluster = Cluster::start();
    let bin = cluster.folder().join("bin");
    fs::create_dir_all(&bin).unwrap();
    symlink(coracle(), bin.join("coracle")).unwrap();
    symlink(kubectl(KUBECTL_NEW), bin.join("kubectl")).unwrap();
    fs::create_dir_all(cluster.folder().join(".kube")).unwrap();
    fs::write(cluster.folder().join(".kube/kuberc"), PREFERENCES).unwrap();
    let (first, others): (Vec<_>, Vec<_>) =
        pages.iter().partition(|page| page.name == "quickstart.md");
    // The first page pushes the image that the others use.
    let mut failed: Vec<String> =
        first.iter().filter_map(|page| page.run(&cluster, &bin).err()).collect();
    for some in others.chunks(AT_ONCE) {
        let results = std::thread::scope(|scope| {
            let mut running = Vec::new();
            for page in some {
                let (cluster, bin) = (&cluster, &bin);
                running.push(scope.spawn(move || page.run(cluster, bin)));
            }
            running.into_iter().map(|page| page.join().unwrap()).collect::<Vec<_>>()
        });
        failed.extend(results.into_iter().filter_map(Result::err));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[test]
fn what_runs_elsewhere_names_a_test_that_is_there() {
    let tests = fs::read_dir(root().join("tests/e2e/tests")).unwrap();
    let tests: String =
        tests.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok()).collect();
    for page in pages() {
        for block in page.blocks {
            let Block::Elsewhere { test } = block else { continue };
            // Every test begins with a cluster as these commands make it.
            let known = test == "cluster" || tests.contains(&format!("fn {test}("));
            assert!(known, "{}: no test {test}", page.name);
        }
    }
}

#[test]
fn links_lead_to_pages() {
    let folder = root().join("docs/src");
    for page in pages() {
        let path = folder.join(&page.name);
        let text = fs::read_to_string(&path).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        for (link, _) in links.filter(|(link, _)| !link.contains("://")) {
            let target = path.parent().unwrap().join(link.split('#').next().unwrap_or_default());
            assert!(target.exists(), "{}: {link} leads nowhere", page.name);
        }
    }
}
