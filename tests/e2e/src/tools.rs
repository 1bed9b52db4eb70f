//! Clients that the tests need, built once into a cache folder that outlives the checkout.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use crate::binary::root;
use crate::packages::pip;

/// The newest kubectl that the API is served for.
pub const KUBECTL_NEW: &str = "1.35.4";

/// The oldest kubectl that has to work.
pub const KUBECTL_OLD: &str = "1.32.4";

/// One build at a time in this process; other processes are kept out by the rename at the end.
static BUILDING: Mutex<()> = Mutex::new(());

/// The path of kubectl in a version of [`KUBECTL_NEW`] or [`KUBECTL_OLD`], built from its Go module
/// if it is not in the cache.
#[must_use]
pub fn kubectl(version: &str) -> PathBuf {
    let path = cache().join(format!("kubectl-{version}"));
    let _one = one_at_a_time();
    if !path.exists() {
        let minor = version.rsplit_once('.').unwrap().0;
        let fresh = cache().join(format!("kubectl-{version}.{}", std::process::id()));
        let set =
            |name: &str, value: &str| format!("-X k8s.io/component-base/version.{name}={value}");
        let flags = [
            "-s -w".to_owned(),
            set("gitVersion", &format!("v{version}")),
            set("gitMajor", "1"),
            set("gitMinor", minor.trim_start_matches("1.")),
        ];
        let status = Command::new("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-ldflags", &flags.join(" "), "-o"])
            .arg(&fresh)
            .arg(".")
            .env("CGO_ENABLED", "0")
            .current_dir(root().join(format!("tests/e2e/tools/kubectl-{minor}")))
            .status()
            .unwrap_or_else(|error| {
                panic!("go: {error}: the tests build kubectl with Go 1.25 or newer")
            });
        assert!(status.success(), "build kubectl {version}: {status}");
        fs::rename(fresh, &path).unwrap();
    }
    path
}

/// The newest kubectl, as [`kubectl`] gives it.
#[must_use]
pub fn kubectl_new() -> PathBuf {
    kubectl(KUBECTL_NEW)
}

/// The Helm that has to work.
const HELM: &str = "3.19.5";

/// The path of Helm, built from its Go module if it is not in the cache.
#[must_use]
pub fn helm() -> PathBuf {
    let path = cache().join(format!("helm-{HELM}"));
    let _one = one_at_a_time();
    if !path.exists() {
        let fresh = cache().join(format!("helm-{HELM}.{}", std::process::id()));
        let flags = format!("-s -w -X helm.sh/helm/v3/internal/version.version=v{HELM}");
        let status = Command::new("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-ldflags", &flags, "-o"])
            .arg(&fresh)
            .arg("helm.sh/helm/v3/cmd/helm")
            .env("CGO_ENABLED", "0")
            .current_dir(root().join("tests/e2e/tools/helm"))
            .status()
            .unwrap_or_else(|error| {
                panic!("go: {error}: the tests build Helm with Go 1.25 or newer")
            });
        assert!(status.success(), "build Helm {HELM}: {status}");
        fs::rename(fresh, &path).unwrap();
    }
    path
}

/// The oras that has to work.
const ORAS: &str = "1.2.3";

/// The path of oras, built from its Go module if it is not in the cache.
#[must_use]
pub fn oras() -> PathBuf {
    let path = cache().join(format!("oras-{ORAS}"));
    let _one = one_at_a_time();
    if !path.exists() {
        let fresh = cache().join(format!("oras-{ORAS}.{}", std::process::id()));
        let status = Command::new("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o"])
            .arg(&fresh)
            .arg("oras.land/oras/cmd/oras")
            .env("CGO_ENABLED", "0")
            .current_dir(root().join("tests/e2e/tools/oras"))
            .status()
            .unwrap_or_else(|error| {
                panic!("go: {error}: the tests build oras with Go 1.25 or newer")
            });
        assert!(status.success(), "build oras {ORAS}: {status}");
        fs::rename(fresh, &path).unwrap();
    }
    path
}

/// Runs a script of ours with the Python packages of `tools/python/requirements.txt`, which has to
/// succeed, and gives what it printed.
#[must_use]
pub fn python(script: &str, arguments: &[&str]) -> String {
    let output = Command::new(python_environment().join("python"))
        .arg(root().join(script))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The programs of a Python environment with the clients.
fn python_environment() -> PathBuf {
    let _one = one_at_a_time();
    let tools = root().join("tests/e2e/tools/python");
    pip("python", &tools, "the tests drive the Python client")
}

/// Waits for whoever builds something into the cache in this process.
pub(crate) fn one_at_a_time() -> std::sync::MutexGuard<'static, ()> {
    // A test that failed while it built has left nothing that counts as built.
    BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Fails with what a missing program is for.
pub(crate) fn need(program: &str, why: &str) {
    let found = Command::new(program).arg("--version").output();
    assert!(found.is_ok(), "{program} is missing: {why}");
}

/// The folder of what tests build once: `$XDG_CACHE_HOME/coracle-tests`, by default in the home's
/// `.cache`.
#[must_use]
pub fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache")
    });
    let path = base.join("coracle-tests");
    fs::create_dir_all(&path).unwrap();
    path
}
