//! From `coracle new` to an answer, and from an edit to the next one, without losing a request.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use coracle_e2e::{
    Cluster, cache, coracle, eventually, free_port, get, guest_in, javascript_packages,
    python_packages, root, within,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// How long a build may take: it may begin with nothing, beside another one that holds cargo's lock.
const BUILD_PATIENCE: Duration = Duration::from_secs(1200);

/// Seconds that `coracle dev` and `coracle test` wait for pods on a busy machine.
const READY_SECONDS: &str = "600";

/// A folder of projects; Rust ones share the build folder of the examples.
struct Projects(tempfile::TempDir);

impl Projects {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// `coracle new`.
    fn make(&self, template: &str, name: &str) -> PathBuf {
        let made = self.run(&["new", template, name], Path::new("."));
        assert!(made.contains("coracle dev"), "{made}");
        let folder = self.0.path().join(name);
        if template.starts_with("rust") {
            let shared = root().join("examples/target");
            std::fs::create_dir_all(&shared).unwrap();
            std::os::unix::fs::symlink(shared, folder.join("target")).unwrap();
        }
        folder
    }

    fn command(&self, arguments: &[&str], within: &Path) -> Command {
        let mut command = Command::new(coracle());
        command
            .arg("--data-dir")
            .arg(self.0.path().join("data"))
            .args(arguments)
            .current_dir(self.0.path().join(within))
            .env("PATH", self.path_with_zig())
            .env_remove("KUBECONFIG")
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str], within: &Path) -> String {
        let output = self.command(arguments, within).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Zig as PyPI has it is called by Python.
    fn path_with_zig(&self) -> std::ffi::OsString {
        let bin = self.0.path().join("bin");
        if !bin.exists() {
            std::fs::create_dir_all(&bin).unwrap();
            let python = cache().join("languages-python/bin/python");
            let script = format!("#!/bin/sh\nexec {} -m ziglang \"$@\"\n", python.display());
            std::fs::write(bin.join("zig"), script).unwrap();
            let runs = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(bin.join("zig"), runs).unwrap();
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&path))).unwrap()
    }
}

/// A running `coracle dev`, and what it printed.
struct Dev {
    child: Child,
    printed: Arc<Mutex<String>>,
}

impl Dev {
    fn start(projects: &Projects, name: &str) -> Self {
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let range = ["--service-node-port-range", "29000-29999"];
        let mut child = projects
            .command(
                &["dev", name, "--listen", &listen, range[0], range[1], "--timeout", READY_SECONDS],
                Path::new("."),
            )
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let printed = Arc::new(Mutex::new(String::new()));
        let both: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in both {
            let printed = Arc::clone(&printed);
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    *printed.lock().unwrap() += &(line + "\n");
                }
            });
        }
        Self { child, printed }
    }

    /// Waits until it has built and printed something, and gives all that it printed.
    fn prints(&self, what: &str) -> String {
        within(BUILD_PATIENCE, what, || {
            let printed = self.printed.lock().unwrap().clone();
            if printed.contains(what) { Ok(printed) } else { Err(printed) }
        })
    }

    fn interrupt(&mut self) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.printed.lock().unwrap());
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // A test that failed leaves nothing running: `dev` stops its host when it is told to.
        if matches!(self.child.try_wait(), Ok(None)) {
            let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
            let _ = kill_process(pid, Signal::INT);
            let _ = self.child.wait();
        }
    }
}

/// Someone who asks all the time, one request after the other, each of which has to be answered.
struct Asking {
    stop: Arc<AtomicBool>,
    asked: JoinHandle<usize>,
}

impl Asking {
    fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let asked = std::thread::spawn(move || {
            let mut count = 0;
            while !told.load(Ordering::Relaxed) {
                let answer = get(port, "/all");
                assert!(answer.as_ref().is_ok_and(|a| a.status == 200), "{count}: {answer:?}");
                count += 1;
            }
            count
        });
        Self { stop, asked }
    }

    fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.asked.join().unwrap()
    }
}

/// Waits for an answer of what may have to be built first.
fn says(port: u16, text: &str) {
    within(BUILD_PATIENCE, text, || match get(port, "/world") {
        Ok(answer) if answer.body == text => Ok(()),
        other => Err(other),
    });
}

#[test]
fn an_edit_is_a_new_answer_and_no_request_is_lost() {
    let projects = Projects::new();
    let folder = projects.make("rust-http", "hello");
    let mut dev = Dev::start(&projects, "hello");
    let printed = dev.prints("waiting for changes");
    let url = printed.split_whitespace().find(|word| word.starts_with("http://localhost:"));
    let port = url.unwrap().trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
    says(port, "hello from hello, world\n");
    dev.prints("/hello asked for world");

    let asking = Asking::start(port);
    let source = folder.join("src/main.rs");
    let text = std::fs::read_to_string(&source).unwrap();
    std::fs::write(&source, text.replace("{greeting} from", "{greeting} again from")).unwrap();
    says(port, "hello again from hello, world\n");
    dev.prints("ready: built in");

    let manifest = folder.join("app.yaml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("value: hello", "value: welcome")).unwrap();
    says(port, "welcome again from hello, world\n");

    std::fs::write(&source, "this is no program").unwrap();
    dev.prints("the last version that worked goes on");
    says(port, "welcome again from hello, world\n");
    assert!(asking.end() > 0);
    dev.interrupt();
    projects.run(&["down", "--data"], Path::new("."));
}

#[test]
fn templates_build_run_and_pass_their_tests() {
    // Makes Python's tools be there.
    let _ = guest_in("c");
    let projects = Projects::new();
    for template in ["rust-command", "go-command", "go-http"] {
        let folder = projects.make(template, template);
        let built = projects.run(&["build"], &folder);
        assert!(built.starts_with("built registry.coracle.internal/"), "{built}");
    }
    let tests = ["test", "--timeout", READY_SECONDS];
    for template in ["rust-plugin", "c-command"] {
        let folder = projects.make(template, template);
        let told = projects.run(&tests, &folder);
        assert!(told.starts_with(&format!("ok    job-name={template}")), "{told}");
    }
    let told = projects.run(&tests, &projects.make("rust-http", "asked"));
    assert!(told.starts_with("ok    GET /world"), "{told}");
    let script = |template: &str| {
        let folder = projects.make(template, template);
        std::os::unix::fs::symlink(javascript_packages(), folder.join("node_modules")).unwrap();
        folder
    };
    let folder = script("javascript-plugin");
    let told = projects.run(&tests, &folder);
    assert!(told.starts_with("ok    job-name=javascript-plugin"), "{told}");
    let folder = projects.make("python-plugin", "python-plugin");
    std::os::unix::fs::symlink(python_packages(), folder.join(".tools")).unwrap();
    let built = projects.run(&["build"], &folder);
    assert_eq!(
        built.matches("built registry.coracle.internal/python-plugin/").count(),
        2,
        "{built}"
    );
    let imports = projects.run(&["inspect", "plugin.wasm"], &folder);
    assert!(imports.contains("(none)") && imports.contains("example:plugin/text"), "{imports}");
    for template in ["javascript-http", "typescript-command"] {
        let built = projects.run(&["build", "-o", "json"], &script(template));
        let built: serde_json::Value = serde_json::from_str(&built).unwrap();
        let image = format!("registry.coracle.internal/{template}:1");
        assert_eq!(built["images"][0]["image"], image.as_str());
    }

    // A case that does not hold is a failure, and so is a missing tool.
    let folder = projects.0.path().join("c-command");
    let cases = "[[command]]\npods = 'job-name=c-command'\ncontains = 'goodbye'\n";
    std::fs::write(folder.join("requests.toml"), cases).unwrap();
    let output = projects.command(&["test", "-o", "json"], &folder).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!output.status.success());
    assert!(report["cases"][0]["wrong"].as_str().unwrap().contains("goodbye"), "{report}");
    let output = projects.command(&["build"], &folder).env("PATH", "/nowhere").output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("'zig' is missing") && told.contains("https://ziglang.org"), "{told}");
    a_test_that_is_told_to_stop_leaves_nothing(&projects, &folder);
}

/// Neither a process nor a folder, whether its host runs already or is only about to.
fn a_test_that_is_told_to_stop_leaves_nothing(projects: &Projects, folder: &Path) {
    // Nobody is this pod, so the case is waited for.
    let cases = "[[command]]\npods = 'job-name=nobody'\ncontains = 'x'\n";
    std::fs::write(folder.join("requests.toml"), cases).unwrap();
    let place = projects.0.path().join("places");
    std::fs::create_dir(&place).unwrap();
    let inner = || std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path());
    for (signal, after) in [(Signal::TERM, "host.lock"), (Signal::HUP, "host/host.log")] {
        // Whoever runs the tests may have SIGHUP ignored, which is inherited.
        let mut child = Command::new("env")
            .arg("--default-signal=HUP")
            .arg(coracle())
            .args(["test", "--timeout", READY_SECONDS])
            .current_dir(folder)
            .env("PATH", projects.path_with_zig())
            .env("TMPDIR", &place)
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        within(BUILD_PATIENCE, after, || {
            if inner().any(|data| data.join(after).exists()) { Ok(()) } else { Err("not yet") }
        });
        kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert!(!child.wait().unwrap().success(), "{told}");
        assert!(told.contains("stopped before all cases were asked"), "{told}");
        assert_eq!(inner().count(), 0, "{told}");
        eventually("no process of it is left", || {
            let left = processes_that_name(&place);
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
    }
}

/// The command lines of this machine that name a folder.
fn processes_that_name(folder: &Path) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    all.filter(|line| line.contains(folder.to_str().unwrap())).collect()
}

/// What a pipeline outside of the cluster does: build, push and apply with the token of a
/// ServiceAccount that may do this in one namespace, and a Job as a step, judged by its exit code.
#[test]
fn a_pipeline_builds_pushes_and_applies_with_a_token_of_its_own() {
    let _ = guest_in("c");
    let (projects, cluster) = (Projects::new(), Cluster::start());
    let folder = projects.make("c-command", "pipe");
    for file in ["coracle.toml", "app.yaml"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        std::fs::write(folder.join(file), text.replace("internal/pipe", "internal/team/pipe"))
            .unwrap();
    }
    let kubeconfig = account(&cluster);
    let run = |arguments: &[&str]| {
        projects.command(arguments, &folder).env("KUBECONFIG", &kubeconfig).output().unwrap()
    };
    let step = |arguments: &[&str]| {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let first = step(&["build", "-o", "json"]);
    // Its tests have a cluster of their own, so that nothing is pushed that fails them.
    let tested = step(&["test", "--timeout", READY_SECONDS]);
    assert!(tested.starts_with("ok    job-name=pipe"), "{tested}");
    step(&["push", "team/pipe:1", "pipe.wasm"]);
    assert_eq!(step(&["apply", "-f", "app.yaml"]), "job.batch/pipe created\n");
    step(&["wait", "job/pipe", "--for", "condition=complete", "--timeout", "300s"]);
    assert_eq!(step(&["logs", "job/pipe"]), "hello, world\n");

    // The same source is the same component, wherever and whenever it is built.
    std::fs::remove_file(folder.join("pipe.wasm")).unwrap();
    assert_eq!(step(&["build", "-o", "json"]), first);

    // A step that fails says so by its exit code.
    let source = std::fs::read_to_string(folder.join("main.c")).unwrap();
    std::fs::write(folder.join("main.c"), source.replace("return 0", "return 3")).unwrap();
    assert_ne!(step(&["build", "-o", "json"]), first);
    step(&["push", "team/pipe:1", "pipe.wasm"]);
    step(&["delete", "-f", "app.yaml"]);
    let always = std::fs::read_to_string(folder.join("app.yaml")).unwrap();
    let always =
        always.replace("args: [world]", "args: [world]\n          imagePullPolicy: Always");
    std::fs::write(folder.join("app.yaml"), always).unwrap();
    step(&["apply", "-f", "app.yaml"]);
    step(&["wait", "job/pipe", "--for", "condition=failed", "--timeout", "300s"]);
    // The pod of the Job that was there before goes when its owner is missed.
    let codes = "jsonpath={.items[*].status.containerStatuses[0].state.terminated.exitCode}";
    eventually("the pod has failed by its exit code", || {
        let codes = step(&["get", "pods", "-l", "job-name=pipe", "-o", codes]);
        if !codes.is_empty() && codes.split(' ').all(|code| code == "3") {
            Ok(())
        } else {
            Err(codes)
        }
    });

    let elsewhere = run(&["get", "pods", "-n", "default"]);
    assert!(String::from_utf8_lossy(&elsewhere.stderr).contains("(Forbidden)"), "{elsewhere:?}");
    let stranger = run(&["push", "other/pipe:1", "pipe.wasm"]);
    assert!(!stranger.status.success(), "{stranger:?}");
}

/// A kubeconfig of an account that may work in one namespace.
fn account(cluster: &Cluster) -> PathBuf {
    cluster.run(&["create", "namespace", "team"]);
    cluster.run(&["-n", "team", "create", "serviceaccount", "pipeline"]);
    let rules = json!([
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]},
        {"apiGroups": ["registry.coracle.dev"], "resources": ["repositories"], "verbs": ["get", "create"]},
    ]);
    let metadata = json!({"name": "pipeline", "namespace": "team"});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": metadata, "rules": rules});
    cluster.apply(&role.to_string());
    let account = "--serviceaccount=team:pipeline";
    cluster.run(&["-n", "team", "create", "rolebinding", "pipeline", "--role=pipeline", account]);
    let token = cluster.run(&["-n", "team", "create", "token", "pipeline"]);
    let path = cluster.folder().join("pipeline.kubeconfig");
    std::fs::copy(cluster.kubeconfig(), &path).unwrap();
    let config = |arguments: &[&str]| {
        let all = [&["config", "--kubeconfig", path.to_str().unwrap()], arguments].concat();
        cluster.run(&all);
    };
    config(&["set-credentials", "pipeline", &format!("--token={}", token.trim())]);
    config(&["set-context", "--current", "--user=pipeline", "--namespace=team"]);
    path
}
