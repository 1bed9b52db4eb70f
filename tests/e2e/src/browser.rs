//! A real Chromium, driven by a script with Playwright.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::binary::root;
use crate::packages::{npm, run};
use crate::tools::{cache, need, one_at_a_time};

/// Packages beside the browser's own: without any font a page cannot be drawn.
const PACKAGES: [&str; 2] = ["chromium", "fonts-dejavu-core"];

/// Runs a script of `tests/e2e/tools/dashboard` with these parameters, which has to succeed, and gives what it
/// printed. Screenshots go into `dashboard` of cargo's target folder.
#[must_use]
pub fn in_chromium(script: &str, parameters: &Value) -> String {
    let mut command = Command::new("node");
    command.arg(scripts().join(script)).envs(chromium());
    finished(script, command.env("CORACLE_SCREENSHOTS", screenshots()), parameters)
}

/// The same without a browser.
#[must_use]
pub fn in_node(script: &str, parameters: &Value) -> String {
    need("node", "the tests run the dashboard's pure modules");
    let file = root().join("tests/e2e/tools/dashboard").join(script);
    finished(script, Command::new("node").arg(file), parameters)
}

fn finished(script: &str, command: &mut Command, parameters: &Value) -> String {
    let output = command.arg(parameters.to_string()).stdin(Stdio::null()).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{script}: {printed}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}

/// Where screenshots are kept, as artefacts of the build.
fn screenshots() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    // target/<profile>/deps/<test>
    let folder = own.ancestors().nth(3).unwrap().join("dashboard");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A folder with the packages of `package.json` and our scripts.
fn scripts() -> PathBuf {
    let _one = one_at_a_time();
    need("node", "the tests open the dashboard in Chromium, by a script");
    let tools = root().join("tests/e2e/tools/dashboard");
    npm("dashboard", &tools, "the tests drive Chromium with a package of npm")
}

/// How the script finds the browser: the machine's own, else one of Debian's packages, unpacked into the cache.
fn chromium() -> Vec<(&'static str, String)> {
    if let Some(own) = std::env::var_os("CORACLE_CHROMIUM") {
        return vec![("CORACLE_CHROMIUM", own.to_string_lossy().into_owned())];
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("chromium"));
    if let Some(own) = found.into_iter().find(|file| file.exists()) {
        return vec![("CORACLE_CHROMIUM", own.display().to_string())];
    }
    let _one = one_at_a_time();
    let folder = cache().join("chromium");
    let stamp = folder.join("installed");
    if !stamp.exists() {
        unpack(&folder);
        fs::write(&stamp, "").unwrap();
    }
    let files = folder.join("files");
    vec![
        ("CORACLE_CHROMIUM", files.join("usr/lib/chromium/chromium").display().to_string()),
        ("LD_LIBRARY_PATH", libraries(&files).join(":")),
        ("FONTCONFIG_FILE", fonts(&folder).display().to_string()),
    ]
}

/// The folders of the unpacked libraries; some packages keep theirs one level below.
fn libraries(files: &Path) -> Vec<String> {
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    let own = ["usr/lib", "lib"].map(|base| files.join(base).join(&triple));
    let below = own.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let below = below.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let all: Vec<PathBuf> = own.iter().cloned().chain(below).collect();
    all.iter().map(|folder| folder.display().to_string()).collect()
}

/// Fetches what the machine lacks of the browser by apt, in a folder of our own, so that nothing is installed and no
/// rights are needed.
fn unpack(folder: &Path) {
    need("apt-get", "install Chromium, or name it in CORACLE_CHROMIUM");
    need("dpkg-deb", "install Chromium, or name it in CORACLE_CHROMIUM");
    let (lists, archives) = (folder.join("lists"), folder.join("archives"));
    fs::create_dir_all(lists.join("partial")).unwrap();
    fs::create_dir_all(archives.join("archives/partial")).unwrap();
    let apt = || {
        let mut command = Command::new("apt-get");
        command.args(["-qq", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User="]);
        command.arg("-o").arg(format!("Dir::State::Lists={}", lists.display()));
        command.arg("-o").arg(format!("Dir::Cache={}", archives.display()));
        command
    };
    run(apt().arg("update"));
    let mut plan = apt();
    plan.args(["install", "--simulate", "--no-install-recommends"]).args(PACKAGES);
    let plan = plan.output().unwrap();
    let plan = String::from_utf8(plan.stdout).unwrap();
    let wanted = plan.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    let wanted: Vec<&str> = wanted.collect();
    assert!(!wanted.is_empty(), "apt knows no package {PACKAGES:?}: install Chromium");
    run(apt().arg("download").args(&wanted).current_dir(&archives));
    for entry in fs::read_dir(&archives).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(folder.join("files")));
            fs::remove_file(file).unwrap();
        }
    }
}

/// A configuration that finds the unpacked fonts beside the machine's own.
fn fonts(folder: &Path) -> PathBuf {
    let file = folder.join("fonts.conf");
    let own = folder.join("files/usr/share/fonts");
    let text = format!(
        "<?xml version=\"1.0\"?>\n<fontconfig><dir>{}</dir><dir>/usr/share/fonts</dir><cachedir>{}</cachedir></fontconfig>\n",
        own.display(),
        folder.join("fontcache").display()
    );
    fs::write(&file, text).unwrap();
    file
}
