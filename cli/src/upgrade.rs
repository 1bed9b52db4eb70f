//! `coracle upgrade --check`: whether servers and hosts of a cluster may be replaced by this binary now.

use anyhow::{Context as _, bail};
use coracle_apiserver::version::GIT_VERSION;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::ListParams;

use crate::client;
use crate::config::{DataDir, UpgradeFlags};
use crate::findings::{self, Finding, ok, warning, wrong};

/// Names that a finding spells out before it only counts.
const NAMES_MAX: usize = 5;

/// The annotation of a pod that a node runs from its own files.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Looks at a cluster as this binary would meet it, says what it saw, and fails if it should stay where it is.
pub(crate) async fn check(data: &DataDir, flags: &UpgradeFlags) -> anyhow::Result<()> {
    if !flags.check {
        bail!(
            "nothing was done: programs are replaced by whatever installed them; see first with \
             `coracle upgrade --check`, then restart the server and, one at a time, the hosts"
        );
    }
    let kubeconfig = flags.kubeconfig.clone().unwrap_or_else(|| data.kubeconfig());
    let client = client::of_kubeconfig(&kubeconfig).await?;
    let server = client.apiserver_version().await.context("ask the server for its version")?;
    let all = ListParams::default();
    let nodes = Api::<Node>::all(client.clone()).list(&all).await.context("list nodes")?;
    let pods = Api::<Pod>::all(client.clone()).list(&all).await.context("list pods")?;
    let budgets = Api::<PodDisruptionBudget>::all(client).list(&all).await;
    let budgets = budgets.context("list poddisruptionbudgets")?;

    let mut findings = vec![judge_server(&server.git_version, GIT_VERSION)];
    findings.extend(nodes.items.iter().map(|node| judge_node(node, GIT_VERSION)));
    findings.extend(judge_budgets(&budgets.items));
    findings.extend(judge_pods(&pods.items));
    findings::report(&findings, flags.output)
}

/// The minor of `v1.35.4+coracle`: 35.
fn minor(version: &str) -> Option<u32> {
    let mut parts = version.strip_prefix('v')?.split('.');
    if parts.next()? != "1" {
        return None;
    }
    parts.next()?.parse().ok()
}

/// A server goes on by one minor at a time and never back: what it keeps may have another form then.
/// *Source:* Kubernetes version skew policy, "Supported component upgrade order".
fn judge_server(server: &str, own: &str) -> Finding {
    let what = format!("the server is {server}, this binary {own}");
    match (minor(server), minor(own)) {
        (Some(server), Some(own)) if own == server || own == server.saturating_add(1) => ok(what),
        (Some(server), Some(own)) if own < server => {
            wrong(what, "a server does not go back: restore a backup of the older version instead")
        }
        (Some(server), Some(_)) => wrong(
            what,
            format!("go by one minor at a time: install v1.{} first", server.saturating_add(1)),
        ),
        (None, _) | (_, None) => wrong(what, "this is no Coracle server: check --kubeconfig"),
    }
}

/// A host may be one minor away from its server.
fn judge_node(node: &Node, own: &str) -> Finding {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let version = node.status.as_ref().and_then(|status| status.node_info.as_ref());
    let version = version.map(|info| info.kubelet_version.as_str()).unwrap_or_default();
    let what = format!("host {name} is {version}");
    match (minor(version), minor(own)) {
        (Some(host), Some(own)) if host.abs_diff(own) > 1 => {
            wrong(what, "hosts may be one minor away from their server: upgrade this host first")
        }
        (None, _) | (_, None) => warning(what, "its version is not understood: see to it yourself"),
        (Some(_), Some(_)) if !is_ready(node) => {
            warning(format!("{what} and not Ready"), "mend it first: `coracle doctor`")
        }
        (Some(_), Some(_)) => ok(what),
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|c| c.type_ == "Ready").any(|c| c.status == "True")
}

/// Budgets that allow nothing now hold up the drain of a host.
fn judge_budgets(budgets: &[PodDisruptionBudget]) -> Option<Finding> {
    let holds_up = |budget: &&PodDisruptionBudget| {
        let status = budget.status.as_ref();
        status.is_some_and(|status| status.expected_pods > 0 && status.disruptions_allowed == 0)
    };
    let held = names(budgets.iter().filter(holds_up).map(|budget| &budget.metadata));
    held.map(|names| {
        warning(
            format!("budgets that allow no disruption now: {names}"),
            "`kubectl drain` will wait for them: give their workloads another replica",
        )
    })
}

/// Pods that nothing makes again when their host is drained.
fn judge_pods(pods: &[Pod]) -> Option<Finding> {
    let is_bare = |pod: &&Pod| {
        let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let annotations = pod.metadata.annotations.as_ref();
        owners.iter().all(|owner| owner.controller != Some(true))
            && !matches!(phase, Some("Succeeded" | "Failed"))
            && !annotations.is_some_and(|annotations| annotations.contains_key(MIRROR))
    };
    let bare = names(pods.iter().filter(is_bare).map(|pod| &pod.metadata));
    bare.map(|names| {
        warning(
            format!("pods that no controller makes again: {names}"),
            "they end with the drain of their host: make them a Deployment's, or start them again",
        )
    })
}

/// `ns/a, ns/b and 3 more`; `None` for none.
fn names<'a>(metas: impl Iterator<Item = &'a ObjectMeta>) -> Option<String> {
    let name = |meta: &ObjectMeta| {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        format!("{}/{}", part(&meta.namespace), part(&meta.name))
    };
    let mut all: Vec<_> = metas.map(name).collect();
    let more = all.len().saturating_sub(NAMES_MAX);
    all.truncate(NAMES_MAX);
    let listed = all.join(", ");
    match (all.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(listed),
        (false, more) => Some(format!("{listed} and {more} more")),
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;
    use crate::findings::State;

    fn read<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_server_goes_on_by_one_minor() {
        let own = "v1.35.4+coracle";
        for (server, state, words) in [
            ("v1.35.4+coracle", State::Ok, ""),
            ("v1.34.9+coracle", State::Ok, ""),
            ("v1.33.0+coracle", State::Wrong, "install v1.34 first"),
            ("v1.36.0+coracle", State::Wrong, "does not go back"),
            ("2.0", State::Wrong, "no Coracle server"),
        ] {
            let finding = judge_server(server, own);
            assert_eq!(finding.state, state, "{server}");
            assert!(finding.cure.contains(words), "{finding:?}");
        }
    }

    #[test]
    fn hosts_are_one_minor_away_at_most() {
        for (version, ready, state) in [
            ("v1.35.0+coracle", "True", State::Ok),
            ("v1.34.0+coracle", "True", State::Ok),
            ("v1.36.0+coracle", "True", State::Ok),
            ("v1.35.0+coracle", "False", State::Warning),
            ("v1.33.0+coracle", "True", State::Wrong),
            ("", "True", State::Warning),
        ] {
            let info = json!({"kubeletVersion": version, "architecture": "", "bootID": "",
                "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "",
                "machineID": "", "operatingSystem": "", "osImage": "", "systemUUID": ""});
            let node = read(json!({"metadata": {"name": "a"}, "status": {"nodeInfo": info,
                "conditions": [{"type": "Ready", "status": ready}]}}));
            assert_eq!(judge_node(&node, "v1.35.4+coracle").state, state, "{version} {ready}");
        }
    }

    #[test]
    fn what_holds_up_a_drain_is_named() {
        let budget = |name: &str, allowed: i32, expected: i32| -> PodDisruptionBudget {
            read(json!({"metadata": {"namespace": "n", "name": name}, "status": {
                "disruptionsAllowed": allowed, "expectedPods": expected,
                "currentHealthy": 0, "desiredHealthy": 0}}))
        };
        let budgets = [budget("a", 0, 1), budget("b", 1, 2), budget("c", 0, 0)];
        let found = judge_budgets(&budgets).unwrap();
        assert!(found.what.ends_with(": n/a"), "{found:?}");
        assert_eq!(judge_budgets(&budgets[1..]), None);

        let pod = |name: usize, owner: Value, phase: &str| -> Pod {
            read(json!({"metadata": {"namespace": "n", "name": name.to_string(),
                "ownerReferences": owner}, "status": {"phase": phase}}))
        };
        let set = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u",
            "controller": true}]);
        let kept = [pod(1, set, "Running"), pod(2, json!([]), "Succeeded")];
        assert_eq!(judge_pods(&kept), None);
        let bare: Vec<_> = (0..7).map(|number| pod(number, json!([]), "Running")).collect();
        let found = judge_pods(&bare).unwrap();
        assert!(found.what.ends_with("n/0, n/1, n/2, n/3, n/4 and 2 more"), "{found:?}");
    }
}
