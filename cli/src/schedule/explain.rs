//! `coracle schedule explain POD`: for each node the filter that refuses a pod, or its scores.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use coracle_scheduler::pod_info::{PodInfo, node_name};
use coracle_scheduler::snapshot::Snapshot;
use coracle_scheduler::{Decision, Verdict};
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::ListParams;
use kube::{Api, Client};

use crate::client;
use crate::config::{DataDir, ExplainFlags};
use crate::out;

/// Prints what the scheduler would say now: it reads the same objects and calls the same functions.
/// A pod that has a node is looked at as if it had none.
pub(crate) async fn explain(data: &DataDir, flags: ExplainFlags) -> anyhow::Result<()> {
    let kubeconfig = flags.kubeconfig.unwrap_or_else(|| data.kubeconfig());
    let client = client::of_kubeconfig(&kubeconfig).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &flags.namespace);
    let found = pods.get_opt(&flags.pod).await.context("read the pod")?;
    let Some(mut pod) = found else {
        bail!("there is no pod {} in namespace {}", flags.pod, flags.namespace);
    };
    let mut snapshot = snapshot(&client).await?;
    if let Some(node) = node_name(&pod) {
        out::line(format_args!("{} is on {node}; as if it were not placed yet:", flags.pod));
        snapshot.displace(pod.metadata.uid.as_deref().unwrap_or_default());
        pod.spec.get_or_insert_default().node_name = None;
    }
    let info = PodInfo::new(Arc::new(pod));
    for verdict in coracle_scheduler::explain(&snapshot, &info) {
        out::line(line(&verdict));
    }
    out::line(decision(&coracle_scheduler::schedule(&snapshot, &info, 0)));
    Ok(())
}

async fn snapshot(client: &Client) -> anyhow::Result<Snapshot> {
    let all = ListParams::default();
    let mut snapshot = Snapshot::default();
    for node in Api::<Node>::all(client.clone()).list(&all).await.context("list nodes")? {
        snapshot.set_node(Arc::new(node));
    }
    for namespace in Api::<Namespace>::all(client.clone()).list(&all).await? {
        let labels = namespace.metadata.labels.unwrap_or_default();
        snapshot.namespaces.set(&namespace.metadata.name.unwrap_or_default(), labels);
    }
    for budget in Api::<PodDisruptionBudget>::all(client.clone()).list(&all).await? {
        snapshot.budgets.set(&budget);
    }
    for claim in Api::<PersistentVolumeClaim>::all(client.clone()).list(&all).await? {
        let meta = &claim.metadata;
        let key =
            (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
        snapshot.volumes.claim(key, Some(Arc::new(claim)));
    }
    for volume in Api::<PersistentVolume>::all(client.clone()).list(&all).await? {
        let name = volume.metadata.name.clone().unwrap_or_default();
        snapshot.volumes.volume(name, Some(Arc::new(volume)));
    }
    for class in Api::<StorageClass>::all(client.clone()).list(&all).await? {
        let name = class.metadata.name.clone().unwrap_or_default();
        snapshot.volumes.class(name, Some(&class));
    }
    for pod in Api::<Pod>::all(client.clone()).list(&all).await.context("list pods")? {
        if let Some(node) = node_name(&pod).map(str::to_owned)
            && !coracle_scheduler::pod_info::is_terminal(&pod)
        {
            snapshot.place(&Arc::new(PodInfo::new(Arc::new(pod))), &node);
        }
    }
    Ok(snapshot)
}

fn line(verdict: &Verdict) -> String {
    let node = &verdict.node;
    match &verdict.refusal {
        Some(refusal) => {
            let helps = if refusal.preemption_may_help { " (preemption may help)" } else { "" };
            format!("{node}: refused by {}: {}{helps}", refusal.cause, refusal.reasons.join(", "))
        }
        None => {
            let total: i64 = verdict.scores.iter().map(|(_, score)| score).sum();
            let parts: Vec<String> =
                verdict.scores.iter().map(|(name, score)| format!("{name} {score}")).collect();
            format!("{node}: {total} = {}", parts.join(" + "))
        }
    }
}

fn decision(decision: &Decision) -> String {
    match decision {
        Decision::Assign { node } => format!("decision: {node} (or one that is as good)"),
        Decision::Preempt { preemption, .. } => {
            let names: Vec<&str> = preemption
                .victims
                .iter()
                .filter_map(|victim| victim.pod.metadata.name.as_deref())
                .collect();
            format!("decision: displace {} from {}", names.join(", "), preemption.node)
        }
        Decision::Unschedulable(error) => format!("decision: {error}"),
    }
}
