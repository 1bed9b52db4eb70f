//! `coracle doctor`: what is wrong with a machine or its cluster, and what to do about it.

use std::path::Path;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::ListParams;
use rustix::process::{Resource, getrlimit};

use super::tools;
use crate::config::{DataDir, DoctorFlags};
use crate::findings::{self, Finding, ok, warning, wrong};
use crate::{client, up};

/// Open files that a host of some hundred pods needs.
const FILES_MIN: u64 = 4096;

/// Free bytes below which images and volumes soon have no room.
const DISK_BYTES_MIN: u64 = 1 << 30;

/// Looks at everything, says it, and fails if something is wrong.
pub(crate) async fn doctor(data: &DataDir, flags: &DoctorFlags) -> anyhow::Result<()> {
    let mut findings = machine(data);
    findings.extend(languages());
    let kubeconfig = flags.kubeconfig.clone().unwrap_or_else(|| data.kubeconfig());
    findings.extend(cluster(data, &kubeconfig, flags.kubeconfig.is_some()).await);
    findings::report(&findings, flags.output)
}

fn machine(data: &DataDir) -> Vec<Finding> {
    let mut findings = vec![ok(format!("data directory {}", data.root().display()))];
    findings.push(match rustix::fs::statvfs(data.root()) {
        Ok(disk) => room(disk.f_bavail.saturating_mul(disk.f_frsize)),
        Err(error) => wrong(format!("room on disk: {error}"), "look at the file system"),
    });
    findings.push(files(getrlimit(Resource::Nofile).maximum));
    findings.push(match Path::new("/dev/shm").is_dir() {
        true => ok("/dev/shm keeps Secrets in memory"),
        false => wrong("there is no /dev/shm", "mount a tmpfs there: Secrets are kept in memory"),
    });
    let confined = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    findings.push(match confined.split(',').any(|module| module.trim() == "landlock") {
        true => ok("Landlock confines compilers and workers"),
        false => warning(
            "Landlock is not told of by this kernel",
            "boot with lsm=…,landlock (Linux 5.13 or newer) for the second wall around workers",
        ),
    });
    findings
}

fn room(bytes: u64) -> Finding {
    let mebibytes = bytes >> 20;
    if bytes < DISK_BYTES_MIN {
        return warning(
            format!("{mebibytes} MiB are free on disk"),
            "make room: images and volumes need some, and the host evicts pods when it is gone",
        );
    }
    ok(format!("{mebibytes} MiB are free on disk"))
}

fn files(most: Option<u64>) -> Finding {
    match most {
        Some(most) if most < FILES_MIN => warning(
            format!("at most {most} files may be open"),
            "raise the hard limit (`ulimit -Hn`, LimitNOFILE= in the unit)",
        ),
        Some(most) => ok(format!("{most} files may be open")),
        None => ok("any number of files may be open"),
    }
}

/// Languages whose tools are missing are no fault: one needs those that one writes.
fn languages() -> Vec<Finding> {
    let here = Path::new(".");
    let mut findings = Vec::new();
    for tool in &tools::TOOLS {
        findings.push(match tools::find(tool.program, here) {
            Some(path) => ok(format!("{} for {}: {}", tool.program, tool.builds, path.display())),
            None => warning(format!("no {} for {}", tool.program, tool.builds), tool.install),
        });
    }
    if tools::find("rustc", here).is_some() && !has_rust_target() {
        findings.push(warning(
            "Rust has no target wasm32-wasip2",
            "run `rustup target add wasm32-wasip2`",
        ));
    }
    findings
}

fn has_rust_target() -> bool {
    let arguments = ["--print", "target-libdir", "--target", "wasm32-wasip2"];
    let output = std::process::Command::new("rustc").args(arguments).output();
    output.is_ok_and(|output| {
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success() && Path::new(&path).is_dir()
    })
}

async fn cluster(data: &DataDir, kubeconfig: &Path, named: bool) -> Vec<Finding> {
    if !named && data.holder("server").is_none() {
        return vec![ok("no server runs with this data directory")];
    }
    let client = match client::of_kubeconfig(kubeconfig).await {
        Ok(client) => client,
        Err(error) => return vec![wrong(format!("{error:#}"), "name the cluster by --kubeconfig")],
    };
    let version = match client.apiserver_version().await {
        Ok(version) => version.git_version,
        Err(error) => {
            let cure = "start it with `coracle server`, or look into its log";
            return vec![wrong(format!("the server does not answer: {error}"), cure)];
        }
    };
    let mut findings = vec![ok(format!("the server answers: {version}"))];
    let all = ListParams::default();
    match Api::<Node>::all(client.clone()).list(&all).await {
        Ok(nodes) => findings.extend(judge_nodes(&nodes.items)),
        Err(error) => findings.push(wrong(format!("nodes: {error}"), "look into the server's log")),
    }
    let pods = Api::<Pod>::all(client.clone()).list(&all).await;
    let deployments = Api::<Deployment>::all(client).list(&all).await;
    if let (Ok(pods), Ok(deployments)) = (pods, deployments) {
        findings.extend(judge_pods(&deployments.items, &pods.items));
    }
    findings
}

fn judge_nodes(nodes: &[Node]) -> Vec<Finding> {
    if nodes.is_empty() {
        return vec![wrong(
            "the cluster has no node",
            "start a host: `coracle host`, or join one by `coracle token create`",
        )];
    }
    let judge = |node: &Node| {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
        let bad: Vec<String> = conditions
            .filter(|c| (c.type_ == "Ready") != (c.status == "True"))
            .map(|c| format!("{}={} {}", c.type_, c.status, c.message.as_deref().unwrap_or("")))
            .collect();
        if bad.is_empty() {
            return ok(format!("node {name} is Ready"));
        }
        let cure = "look into host/host.log of its data directory, and at its disk and memory";
        wrong(format!("node {name}: {}", bad.join("; ").trim_end()), cure)
    };
    nodes.iter().map(judge).collect()
}

fn judge_pods(deployments: &[Deployment], pods: &[Pod]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = up::missing(deployments, pods)
        .into_iter()
        .map(|what| wrong(what, "see why with `coracle describe` and `coracle logs`"))
        .collect();
    findings.extend(up::reasons(pods).into_iter().map(|reason| {
        warning(reason, "the reason is the container's own; `coracle events` tells more")
    }));
    if findings.is_empty() {
        findings.push(ok(format!("all of {} pods are as they should be", pods.len())));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::findings::State;

    #[test]
    fn findings_say_what_to_do() {
        assert_eq!(room(2 << 30).state, State::Ok);
        assert_eq!(room(1 << 20).state, State::Warning);
        assert_eq!(files(Some(1024)).state, State::Warning);
        assert_eq!(files(None).state, State::Ok);
        assert_eq!(judge_nodes(&[])[0].state, State::Wrong);
        let node = |ready: &str, pressure: &str| -> Node {
            serde_json::from_value(json!({"metadata": {"name": "n"}, "status": {"conditions": [
                {"type": "Ready", "status": ready}, {"type": "DiskPressure", "status": pressure}]}}))
            .unwrap()
        };
        for (node, state) in [
            (node("True", "False"), State::Ok),
            (node("False", "False"), State::Wrong),
            (node("Unknown", "False"), State::Wrong),
            (node("True", "True"), State::Wrong),
        ] {
            assert_eq!(judge_nodes(&[node])[0].state, state);
        }
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}})).unwrap();
        assert_eq!(judge_pods(&[], &[pod])[0].state, State::Wrong);
        assert_eq!(judge_pods(&[], &[])[0].state, State::Ok);
    }
}
