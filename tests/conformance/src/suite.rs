//! The suite's program: built once, asked for its cases, run on some of them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use coracle_e2e::{cache, kubectl_new};
use serde_json::Value;

use crate::case::Case;
use crate::report::{Outcome, outcomes};

/// The version of Kubernetes whose suite it is, as in `suite/go.mod`.
const VERSION: &str = "1.35.4";

/// What marks a case of the conformance suite among all end-to-end cases.
const MARK: &str = r"\[Conformance\]";

/// The built suite.
#[derive(Debug, Clone)]
pub(crate) struct Suite {
    program: PathBuf,
}

/// One call of the suite.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// How the cluster is reached.
    pub(crate) kubeconfig: &'a Path,
    /// Cases to run.
    pub(crate) cases: &'a [Case],
    /// Log, report and list of images are written beside each other, with this stem.
    pub(crate) stem: &'a Path,
    /// Seconds for all of it.
    pub(crate) seconds: u64,
}

impl Suite {
    /// Builds the suite from Kubernetes' module unless the tests' cache has it.
    pub(crate) fn build(root: &Path) -> Result<Self> {
        let program = cache().join(format!("e2e-{VERSION}.test"));
        if !program.exists() {
            let fresh = cache().join(format!("e2e-{VERSION}.{}", std::process::id()));
            let status = Command::new("go")
                .args(["test", "-c", "-ldflags=-s -w", "-o"])
                .arg(&fresh)
                .arg("k8s.io/kubernetes/test/e2e")
                .current_dir(root.join("tests/conformance/suite"))
                .status()
                .context("run go: the suite is built with Go 1.25 or newer")?;
            ensure!(status.success(), "build the suite: {status}");
            fs::rename(&fresh, &program).context("move the built suite into the cache")?;
        }
        Ok(Self { program })
    }

    /// Every conformance case, by a dry run.
    pub(crate) fn cases(&self) -> Result<Vec<Case>> {
        let folder = tempfile::tempdir().context("create a folder for the list of cases")?;
        let report = folder.path().join("cases.json");
        let status = Command::new(&self.program)
            .args(["--ginkgo.dry-run", "--ginkgo.silence-skips", "--provider=skeleton"])
            .args(["--kubeconfig", "none", "--ginkgo.focus", MARK])
            .arg(format!("--ginkgo.json-report={}", report.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("run the suite")?;
        ensure!(status.success(), "list the cases of the suite: {status}");
        Ok(outcomes(&read(&report)?).into_iter().map(|outcome| Case::of(outcome.name)).collect())
    }

    /// Runs cases, one after the other, and gives how they ended, those that the suite did not come to
    /// included.
    pub(crate) fn run(&self, call: &Call<'_>) -> Result<Vec<Outcome>> {
        let with = |extension: &str| call.stem.with_extension(extension);
        let log = File::create(with("log")).context("create the log of a batch")?;
        let images = with("images.yaml");
        fs::write(&images, IMAGES).context("write the list of registries")?;
        let mut command = Command::new(&self.program);
        command
            .args(["--provider=skeleton", "--ginkgo.no-color", "--ginkgo.silence-skips"])
            .args(["--disable-log-dump", "--dump-logs-on-failure=false"])
            .arg(format!("--kubeconfig={}", call.kubeconfig.display()))
            .arg(format!("--kubectl-path={}", kubectl_new().display()))
            .arg(format!("--ginkgo.timeout={}s", call.seconds))
            .arg(format!("--ginkgo.json-report={}", with("json").display()))
            .args(call.cases.iter().map(|case| format!("--ginkgo.focus= {}$", quoted(&case.name))))
            .env("KUBE_TEST_REPO_LIST", &images)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("write the log of a batch")?)
            .stderr(log);
        command.status().context("run the suite")?;
        let ran = read(&with("json")).map(|report| outcomes(&report)).unwrap_or_default();
        Ok(complete(call.cases, &ran))
    }
}

/// The registries of the suite's images: the built-in one, where the stand-ins are; the one that has to
/// be unreachable keeps its name.
const IMAGES: &str = "\
promoterE2eRegistry: registry.coracle.internal/e2e-test-images
buildImageRegistry: registry.coracle.internal/build-image
gcEtcdRegistry: registry.coracle.internal
gcRegistry: registry.coracle.internal
sigStorageRegistry: registry.coracle.internal/sig-storage
privateRegistry: registry.coracle.internal/k8s-authenticated-test
dockerLibraryRegistry: registry.coracle.internal/library
cloudProviderGcpRegistry: registry.coracle.internal/cloud-provider-gcp
invalidRegistry: invalid.registry.k8s.io/invalid
";

/// One outcome for each case, in their order.
fn complete(cases: &[Case], ran: &[Outcome]) -> Vec<Outcome> {
    let outcome = |case: &Case| {
        ran.iter().find(|outcome| outcome.name == case.name).cloned().unwrap_or_else(|| Outcome {
            name: case.name.clone(),
            failure: "not run: the batch ended before it".to_owned(),
            seconds: 0,
        })
    };
    cases.iter().map(outcome).collect()
}

/// A name as a regular expression that matches nothing else.
fn quoted(name: &str) -> String {
    let quote = |c: char| if c.is_alphanumeric() || c == ' ' { vec![c] } else { vec!['\\', c] };
    name.chars().flat_map(quote).collect()
}

fn read(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted() {
        assert_eq!(quoted("[sig-a] b's: c.d"), r"\[sig\-a\] b\'s\: c\.d");
    }

    #[test]
    fn a_case_that_did_not_run_is_a_failure() {
        let cases = [Case::of("a".to_owned())];
        assert!(!complete(&cases, &[])[0].passed());
        let ran = [Outcome { name: "a".to_owned(), failure: String::new(), seconds: 1 }];
        assert!(complete(&cases, &ran)[0].passed());
    }
}
