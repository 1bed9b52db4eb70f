//! The Gateway API's own conformance suite: built, run against a cluster, and what came out as a page.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The version of the suite, as in `gateway/go.mod`.
const VERSION: &str = "1.5.1";

/// The profile, and the features of it: those that it calls core, and the others that GatewayClasses claim.
const PROFILE: &str = "GATEWAY-HTTP";
const FEATURES: &str = "Gateway,GatewayPort8080,HTTPRoute,HTTPRouteBackendProtocolH2C,\
    HTTPRouteBackendProtocolWebSocket,HTTPRouteBackendRequestHeaderModification,HTTPRouteBackendTimeout,\
    HTTPRouteHostRewrite,HTTPRouteMethodMatching,HTTPRouteParentRefPort,HTTPRoutePathRedirect,HTTPRoutePathRewrite,\
    HTTPRoutePortRedirect,HTTPRouteQueryParamMatching,HTTPRouteRequestMirror,HTTPRouteRequestMultipleMirrors,\
    HTTPRouteRequestPercentageMirror,HTTPRouteRequestTimeout,HTTPRouteResponseHeaderModification,\
    HTTPRouteSchemeRedirect,ReferenceGrant";

/// How one case ended.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    case: String,
    /// PASS, FAIL or SKIP.
    word: String,
}

/// Runs the suite, or one case of it, against a cluster; writes the page when it was all of it. `false` when a
/// case failed.
pub(crate) fn run(root: &Path, kubeconfig: &Path, logs: &Path, case: Option<&str>) -> Result<bool> {
    let program = logs.join(format!("gateway-{VERSION}.test"));
    let status = Command::new("go")
        .args(["test", "-c", "-vet=off", "-ldflags=-s -w", "-o"])
        .arg(
            fs::canonicalize(logs)
                .context("find the folder of the logs")?
                .join(program.file_name().context("name the suite's program")?),
        )
        .arg(".")
        .current_dir(root.join("tests/conformance/gateway"))
        .status()
        .context("run go: the suite is built with Go 1.25 or newer")?;
    if !status.success() {
        bail!("build the suite: {status}");
    }
    let path = logs.join("gateway.log");
    let log = File::create(&path).context("create the suite's log")?;
    let mut command = Command::new(&program);
    command
        .args(["-test.v", "-test.timeout=1h", "-gateway-class=coracle"])
        .args([
            format!("-conformance-profiles={PROFILE}"),
            format!("-supported-features={FEATURES}"),
        ])
        .args(case.map(|case| format!("-run-test={case}")))
        .env("KUBECONFIG", kubeconfig)
        .env("IMAGE_REGISTRY", "registry.coracle.internal")
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("write the suite's log")?)
        .stderr(log);
    // It ends with an error when a case failed; which one, its log says.
    let _ended = command.status().context("run the suite")?;
    let text = fs::read(&path).context("read the suite's log")?;
    let ended = ended(&String::from_utf8_lossy(&text));
    if ended.is_empty() {
        bail!("the suite ran no case: {} says why", path.display());
    }
    for one in &ended {
        crate::say(&format!("{} {}", one.word, one.case));
    }
    if case.is_none() {
        let page = root.join("specs/gateway-conformance.md");
        fs::write(&page, render(&ended)).with_context(|| format!("write {}", page.display()))?;
    }
    Ok(ended.iter().all(|one| one.word != "FAIL"))
}

/// The cases of a log of `go test -v`, in their order: what is right below the one test.
fn ended(log: &str) -> Vec<Ended> {
    let lines = log.lines().filter_map(|line| line.trim_start().strip_prefix("--- "));
    let cases = lines.filter_map(|line| {
        let (word, rest) = line.split_once(": ")?;
        let name = rest.split_whitespace().next()?;
        let (_, case) = name.split_once('/').filter(|(_, case)| !case.contains('/'))?;
        Some(Ended { case: case.to_owned(), word: word.to_owned() })
    });
    let mut all: Vec<Ended> = cases.collect();
    all.sort_by(|one, other| one.case.cmp(&other.case));
    all
}

fn render(all: &[Ended]) -> String {
    let ran = || all.iter().filter(|one| one.word != "SKIP");
    let passed = ran().filter(|one| one.word == "PASS").count();
    let mut page = format!(
        "# Gateway API conformance\n\n\
        The suite of Gateway API {VERSION}, profile {PROFILE}: its core features, and the others that GatewayClasses\n\
        claim (`supportedFeatures`), without gRPC and TLS routes. `just gateway-conformance` runs it and writes this page.\n\n\
        {passed} of {} cases pass.\n\n| case | |\n|---|---|\n",
        ran().count()
    );
    for one in ran() {
        let word = if one.word == "PASS" { "pass" } else { "**fails**" };
        // Writing to a string cannot fail.
        let _infallible = writeln!(page, "| {} | {word} |", one.case);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_becomes_a_page() {
        let log = "=== RUN   TestGateway/B\n--- FAIL: TestGateway (9.00s)\n    --- PASS: TestGateway/B (1.00s)\n\
            \x20       --- PASS: TestGateway/B/part (0.50s)\n    --- FAIL: TestGateway/A (2.00s)\n\
            \x20   --- SKIP: TestGateway/C (0.00s)\n";
        let page = render(&ended(log));
        assert!(page.contains("\n1 of 2 cases pass.\n"), "{page}");
        assert!(page.ends_with("|---|---|\n| A | **fails** |\n| B | pass |\n"), "{page}");
    }
}
