//! `coracle up examples/guestbook`: the README's first command, and what it promises; and the README's first manifest.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use coracle_e2e::{KUBECTL_NEW, build_guests, coracle, eventually, get, kubectl, request, root};
use rustix::process::{Pid, Signal, kill_process};

/// The node port that the example's manifest asks for.
const PORT: u16 = 30080;

/// The node port that the README's manifest asks for.
const README_PORT: u16 = 30081;

/// A running `coracle up`. Dropping it stops it, whatever became of the test.
struct Up<'a> {
    child: Child,
    data: &'a Path,
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = Command::new(coracle()).arg("--data-dir").arg(self.data).arg("down").output();
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl<'a> Up<'a> {
    fn start(data: &'a Path) -> (Self, String) {
        let mut child = Command::new(coracle())
            .arg("--data-dir")
            .arg(data)
            .args(["up", "examples/guestbook", "--no-build", "--listen", "127.0.0.1:16443"])
            // Patience for a busy machine: what is asked for is the same.
            .args(["--timeout", "600"])
            .current_dir(root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut printed = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            printed += &(line.unwrap() + "\n");
            if printed.contains("Ctrl-C") {
                return (Self { child, data }, printed);
            }
        }
        panic!("up ended: {:?}\n{printed}", child.wait());
    }

    fn interrupt(mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(kubectl(KUBECTL_NEW));
        command.arg("--kubeconfig").arg(self.data.join("kubeconfig")).args(arguments);
        printed_by(&mut command)
    }

    fn down(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(coracle());
        printed_by(command.arg("--data-dir").arg(self.data).arg("down").args(arguments))
    }
}

fn printed_by(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn page() -> Result<String, String> {
    let answer = get(PORT, "/")?;
    if answer.status == 200 { Ok(answer.body) } else { Err(format!("{answer:?}")) }
}

fn field<'a>(page: &'a str, name: &str) -> &'a str {
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).trim_start_matches(':').trim()
}

/// Every part of the page came by the way that the manifest names.
fn check_page(page: &str) {
    assert!(page.starts_with("The Coracle guestbook\n"), "ConfigMap key by valueFrom: {page}");
    assert!(field(page, "pod").starts_with("web-"), "downward API: {page}");
    assert_eq!(field(page, "colour"), "sea green", "envFrom with a prefix");
    assert!(field(page, "notice").starts_with("Edit the ConfigMap"), "ConfigMap file: {page}");
    assert_eq!(field(page, "owner"), "known", "Secret by valueFrom");
    assert!(field(page, "quote").contains("(quotes-"), "other Deployment by Service name: {page}");
    assert!(page.contains("opened this book"), "init container, emptyDir, side-car: {page}");
}

/// The pods that sixty requests reach; each page is whole.
fn pods_that_answer() -> Result<BTreeSet<String>, String> {
    (0..60)
        .map(|_| page().inspect(|page| check_page(page)).map(|page| field(&page, "pod").to_owned()))
        .collect()
}

#[test]
fn guestbook() {
    build_guests("examples/guestbook");
    let place = tempfile::tempdir().unwrap();
    let (up, printed) = Up::start(place.path());
    assert!(printed.contains("deployment.apps/web created"), "{printed}");
    assert!(printed.contains(&format!("http://localhost:{PORT}/")), "{printed}");
    // The host hears of the pods' readiness a moment after the server, of one Service after the other.
    check_page(&eventually("the page and its quote are there", || {
        page().and_then(|page| if page.contains("(quotes-") { Ok(page) } else { Err(page) })
    }));
    eventually("the requests are spread over the pods", || match pods_that_answer() {
        Ok(pods) if pods.len() == 3 => Ok(()),
        other => Err(other),
    });

    let took = printed.lines().find(|line| line.starts_with("ready after ")).unwrap();
    for step in ["server ", "images and objects ", "pods "] {
        assert!(took.contains(step), "how long each step took: {took}");
    }
    the_readmes_manifest_runs(&up);
    sign_the_book();
    edit_the_notice(&up);
    let up = interrupt_and_come_back(up);

    let printed = up.down(&[]);
    for line in ["namespace/guestbook deleted", "host stopped", "server stopped"] {
        assert!(printed.contains(line), "{printed}");
    }
    assert!(up.data.join("store.redb").exists());
    up.down(&["--data"]);
    assert!(!up.data.exists());
}

/// What the README shows line by line does what it says there.
fn the_readmes_manifest_runs(up: &Up<'_>) {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("```yaml\n").unwrap();
    let (manifest, after) = rest.split_once("```").unwrap();
    let url = format!("curl http://localhost:{README_PORT}/");
    assert!(after.contains(&url), "the README asks at another port");
    let file = up.data.with_extension("yaml");
    std::fs::write(&file, manifest).unwrap();
    let wasm = build_guests("tests/guests").join("hello_http.wasm");
    let mut push = Command::new(coracle());
    printed_by(push.arg("--data-dir").arg(up.data).args(["push", "hello:1"]).arg(wasm));
    let file = file.to_str().unwrap();
    assert_eq!(up.kubectl(&["apply", "-f", file]).lines().count(), 2);
    up.kubectl(&["rollout", "status", "deployment", "hello", "--timeout=300s"]);
    eventually("the README's service answers", || match get(README_PORT, "/") {
        Ok(answer) if answer.body == "hello\n" => Ok(()),
        other => Err(other),
    });
    up.kubectl(&["delete", "-f", file]);
    std::fs::remove_file(file).unwrap();
}

fn sign_the_book() {
    let signed = request(PORT, "POST", "/", "hello from the test").unwrap();
    assert_eq!(signed.status, 201, "{signed:?}");
    // Each pod has a book of its own: the entry shows on one of the three.
    eventually("the entry is in one pod's book", || {
        let page = page()?;
        if page.contains("hello from the test") { Ok(()) } else { Err(page) }
    });
}

/// A change of the ConfigMap shows in the mounted file of every pod, without a restart.
fn edit_the_notice(up: &Up<'_>) {
    let patch = r#"{"data":{"notice":"changed by the test"}}"#;
    let patched = up.kubectl(&[
        "patch",
        "configmap",
        "guestbook",
        "-n",
        "guestbook",
        "--type=merge",
        "-p",
        patch,
    ]);
    assert_eq!(patched, "configmap/guestbook patched\n");
    eventually("the notice follows the ConfigMap", || {
        let pages: Vec<String> = (0..12).filter_map(|_| page().ok()).collect();
        let all = pages.iter().all(|page| field(page, "notice") == "changed by the test");
        if all && !pages.is_empty() { Ok(()) } else { Err(pages) }
    });
    let path = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    let restarts = up.kubectl(&["get", "pods", "-n", "guestbook", "-l", "app=web", "-o", path]);
    assert_eq!(restarts, "0 0 0 0 0 0");
}

/// Ctrl-C stops everything and keeps the data; the next `up` changes nothing, with the same pods.
fn interrupt_and_come_back(up: Up<'_>) -> Up<'_> {
    let uids = |up: &Up<'_>| {
        let path = "jsonpath={.items[*].metadata.uid}";
        up.kubectl(&["get", "pods", "-n", "guestbook", "-o", path])
    };
    let before = uids(&up);
    let data = up.data;
    up.interrupt();
    assert!(get(PORT, "/").is_err(), "the host still serves after Ctrl-C");
    let (up, printed) = Up::start(data);
    assert!(printed.contains("deployment.apps/web unchanged"), "{printed}");
    assert_eq!(uids(&up), before);
    eventually("the page is back", page);
    up
}
