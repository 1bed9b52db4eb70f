//! The example does what its page says.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use coracle_e2e::{build_guests, javascript_packages, root};

/// How long the page's commands may take together, in seconds.
const SECONDS: &str = "240";

/// What a call may take on the page, and here.
const SECOND: &str = "\"call_seconds\": 1";
const PATIENT: &str = "\"call_seconds\": 10";

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder like the example's, beside the built plugins in Rust, with the built plugin in JavaScript.
fn built(place: &Path) -> PathBuf {
    build_guests("examples/saas-plugins/plugins");
    symlink(root().join("examples/target"), place.join("target")).unwrap();
    let folder = place.join("saas-plugins");
    let script = folder.join("plugins/javascript");
    fs::create_dir_all(&script).unwrap();
    symlink(here().join("wit"), folder.join("wit")).unwrap();
    for file in ["package.json", "plugin.js"] {
        fs::copy(here().join("plugins/javascript").join(file), script.join(file)).unwrap();
    }
    symlink(javascript_packages(), script.join("node_modules")).unwrap();
    let built =
        Command::new("npm").args(["run", "--silent", "build"]).current_dir(&script).output();
    let built = built.unwrap();
    assert!(built.status.success(), "{built:?}");
    folder
}

/// A shop that is closed when the test ends.
struct Shop {
    child: Child,
    url: String,
}

impl Shop {
    /// Opens a shop as the page does, but with more time for each call: this machine may be busy.
    fn open(place: &Path) -> Self {
        let grants = fs::read_to_string(here().join("tenants.json")).unwrap();
        let (patient, file) = (grants.replace(SECOND, PATIENT), place.join("tenants.json"));
        assert_ne!(patient, grants);
        fs::write(&file, patient).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_saas-plugins"))
            .arg(file)
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let url = said.trim().strip_prefix("the shop is open at ").unwrap();
        Self { child, url: url.trim_end_matches('/').to_owned() }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The page's blocks of a language, in order.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    let parts = page.split(begin.as_str()).skip(1);
    parts.map(|part| part.split("```").next().unwrap()).collect()
}

/// Whether a line is as the page has it, `…` standing for anything.
fn fits(line: &str, wanted: &str) -> bool {
    let pieces: Vec<&str> = wanted.split('…').collect();
    let (first, last) = (pieces[0], pieces[pieces.len() - 1]);
    let mut rest = line;
    let found = pieces.iter().all(|piece| match rest.split_once(piece) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    });
    if pieces.len() == 1 {
        line == wanted
    } else {
        found && line.starts_with(first) && line.ends_with(last)
    }
}

#[test]
fn tenants_customers_and_a_thief_get_what_the_page_shows() {
    let page = fs::read_to_string(here().join("README.md")).unwrap();
    let place = tempfile::tempdir().unwrap();
    let folder = built(place.path());
    let shop = Shop::open(place.path());
    // The first two blocks build the plugins and open the shop, as above.
    let script = format!("set -euo pipefail\n{}", blocks(&page, "sh")[2..].concat());
    assert!(script.contains("http://127.0.0.1:8090"));
    let output = Command::new("timeout")
        .args([SECONDS, "bash", "-c", &script.replace("http://127.0.0.1:8090", &shop.url)])
        .current_dir(folder)
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let shown = blocks(&page, "text").concat();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(printed.lines().count(), shown.lines().count(), "{printed}");
    for (line, wanted) in printed.lines().zip(shown.lines()) {
        assert!(fits(line, wanted), "'{line}' is not '{wanted}'");
    }
}
