//! What the cluster's objects say, as metrics: kube-state-metrics' names, served by the server itself at
//! [`PATH`], so that the common dashboards and alerts (kubernetes-mixin) find what they rest on.
//!
//! Comes in: the watch cache. Goes out: text, kind by kind and family by family, in chunks made when the client takes
//! them: a page costs the memory of one kind's fields and of one chunk, however many lines it has. Pure.
//!
//! *Source:* the metrics of kube-state-metrics 2, in names, labels, values and meaning; its pages say what each is.
//!
//! Words: a *row* is what an object tells, decoded; a *family* is a metric with a line for each row or for parts of it.

mod nodes;
mod page;
mod pods;
mod rows;
mod storage;
mod workloads;

pub(crate) use page::CONTENT_TYPE;

use crate::cache::{Caches, Object, Selection};
use bytes::Bytes;
use page::{Family, Pages};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Where the page is.
pub(crate) const PATH: &str = "/metrics/kube-state";

type Chunks = Box<dyn Iterator<Item = Bytes> + Send>;

/// The page, as it is at this moment; each kind's objects are those of one revision.
pub(crate) fn chunks(caches: &Caches) -> impl Iterator<Item = Bytes> + Send + use<> {
    let all: Vec<Chunks> = vec![
        of(caches, ("", "nodes"), nodes::NODES),
        of(caches, ("", "namespaces"), nodes::NAMESPACES),
        of(caches, ("", "services"), nodes::SERVICES),
        of(caches, ("", "resourcequotas"), storage::QUOTAS),
        of(caches, ("", "persistentvolumes"), storage::VOLUMES),
        of(caches, ("", "persistentvolumeclaims"), storage::CLAIMS),
        of(caches, ("apps", "deployments"), workloads::DEPLOYMENTS),
        of(caches, ("apps", "replicasets"), workloads::REPLICA_SETS),
        of(caches, ("apps", "statefulsets"), workloads::STATEFUL_SETS),
        of(caches, ("apps", "daemonsets"), workloads::DAEMON_SETS),
        of(caches, ("batch", "jobs"), workloads::JOBS),
        of(caches, ("batch", "cronjobs"), workloads::CRON_JOBS),
        of(caches, ("autoscaling", "horizontalpodautoscalers"), workloads::AUTOSCALERS),
        of(caches, ("policy", "poddisruptionbudgets"), workloads::BUDGETS),
        of(caches, ("", "pods"), pods::PODS),
    ];
    all.into_iter().flatten()
}

/// The families of one kind; nothing for one that is not served.
fn of<T>(caches: &Caches, resource: (&str, &str), families: &'static [Family<T>]) -> Chunks
where
    T: DeserializeOwned + Send + 'static,
{
    let (group, plural) = resource;
    let Some(cache) = caches.by_resource(group, plural) else {
        return Box::new(std::iter::empty());
    };
    let objects: Vec<Arc<Object>> = cache.select(&Selection::all(cache.kind()));
    // Decoded when their turn comes, and dropped when it is over.
    let pages = move || Pages::new(decoded(&objects), families);
    Box::new(std::iter::once_with(pages).flatten())
}

/// What the objects tell; one that cannot be read tells nothing, and the log says which.
fn decoded<T: DeserializeOwned>(objects: &[Arc<Object>]) -> Vec<T> {
    let row = |object: &Arc<Object>| match serde_json::from_slice(&object.json) {
        Ok(row) => Some(row),
        Err(error) => {
            let key = String::from_utf8_lossy(&object.key);
            tracing::warn!(%key, %error, "an object is left out of the metrics");
            None
        }
    };
    objects.iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn shown<T: DeserializeOwned + 'static>(
        families: &'static [Family<T>],
        objects: &[Value],
    ) -> String {
        let rows = objects.iter().map(|o| serde_json::from_value(o.clone()).unwrap()).collect();
        let bytes: Vec<u8> = Pages::<T>::new(rows, families).flatten().collect();
        String::from_utf8(bytes).unwrap()
    }

    fn check<T: DeserializeOwned + 'static>(
        families: &'static [Family<T>],
        object: Value,
        wanted: &[&str],
        expected: Expect,
    ) {
        let text = shown(families, &[object]);
        let keeps = |line: &&str| wanted.iter().any(|name| line.starts_with(name));
        let lines: Vec<&str> = text.lines().filter(keeps).collect();
        expected.assert_eq(&format!("{}\n", lines.join("\n")));
    }

    #[test]
    fn a_pod_tells_its_state() {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z",
                "ownerReferences": [{"kind": "ReplicaSet", "name": "web-1", "controller": true}]},
            "spec": {"nodeName": "host", "containers": [{"name": "c", "image": "a\"b",
                "resources": {"requests": {"cpu": "250m", "memory": "1Mi"}, "limits": {"memory": "2Mi"}}}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "hostIP": "1.2.3.4",
                "conditions": [{"type": "Ready", "status": "False"}],
                "containerStatuses": [{"name": "c", "ready": false, "restartCount": 3, "image": "a",
                    "imageID": "a@sha256:1", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"reason": "Error", "exitCode": 3}}}]},
        });
        check(
            pods::PODS,
            pod,
            &["kube_pod"],
            expect![[r#"
                kube_pod_info{namespace="n",pod="p",uid="u",host_ip="1.2.3.4",pod_ip="10.0.0.1",node="host",created_by_kind="ReplicaSet",created_by_name="web-1",priority_class="",host_network="false"} 1
                kube_pod_owner{namespace="n",pod="p",uid="u",owner_kind="ReplicaSet",owner_name="web-1",owner_is_controller="true"} 1
                kube_pod_created{namespace="n",pod="p",uid="u"} 1767225600
                kube_pod_restart_policy{namespace="n",pod="p",uid="u",type="Always"} 1
                kube_pod_status_phase{namespace="n",pod="p",uid="u",phase="Pending"} 0
                kube_pod_status_phase{namespace="n",pod="p",uid="u",phase="Succeeded"} 0
                kube_pod_status_phase{namespace="n",pod="p",uid="u",phase="Failed"} 0
                kube_pod_status_phase{namespace="n",pod="p",uid="u",phase="Unknown"} 0
                kube_pod_status_phase{namespace="n",pod="p",uid="u",phase="Running"} 1
                kube_pod_status_ready{namespace="n",pod="p",uid="u",condition="true"} 0
                kube_pod_status_ready{namespace="n",pod="p",uid="u",condition="false"} 1
                kube_pod_status_ready{namespace="n",pod="p",uid="u",condition="unknown"} 0
                kube_pod_status_reason{namespace="n",pod="p",uid="u",reason="Evicted"} 0
                kube_pod_status_reason{namespace="n",pod="p",uid="u",reason="NodeAffinity"} 0
                kube_pod_status_reason{namespace="n",pod="p",uid="u",reason="NodeLost"} 0
                kube_pod_status_reason{namespace="n",pod="p",uid="u",reason="Shutdown"} 0
                kube_pod_status_reason{namespace="n",pod="p",uid="u",reason="UnexpectedAdmissionError"} 0
                kube_pod_container_info{namespace="n",pod="p",uid="u",container="c",image_spec="a\"b",image="a",image_id="a@sha256:1",container_id=""} 1
                kube_pod_container_resource_requests{namespace="n",pod="p",uid="u",container="c",node="host",resource="cpu",unit="core"} 0.25
                kube_pod_container_resource_requests{namespace="n",pod="p",uid="u",container="c",node="host",resource="memory",unit="byte"} 1048576
                kube_pod_container_resource_limits{namespace="n",pod="p",uid="u",container="c",node="host",resource="memory",unit="byte"} 2097152
                kube_pod_container_status_ready{namespace="n",pod="p",uid="u",container="c"} 0
                kube_pod_container_status_restarts_total{namespace="n",pod="p",uid="u",container="c"} 3
                kube_pod_container_status_running{namespace="n",pod="p",uid="u",container="c"} 0
                kube_pod_container_status_waiting{namespace="n",pod="p",uid="u",container="c"} 1
                kube_pod_container_status_waiting_reason{namespace="n",pod="p",uid="u",container="c",reason="CrashLoopBackOff"} 1
                kube_pod_container_status_terminated{namespace="n",pod="p",uid="u",container="c"} 0
                kube_pod_container_status_last_terminated_reason{namespace="n",pod="p",uid="u",container="c",reason="Error"} 1
                kube_pod_container_status_last_terminated_exitcode{namespace="n",pod="p",uid="u",container="c"} 3
            "#]],
        );
    }

    #[test]
    fn a_node_and_a_deployment_tell_theirs() {
        let node = json!({"metadata": {"name": "h", "labels": {"node-role.kubernetes.io/worker": ""}},
            "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]},
            "status": {"capacity": {"cpu": "2", "pods": "10"}, "conditions": [{"type": "Ready", "status": "Unknown"}]}});
        check(
            nodes::NODES,
            node,
            &["kube_node_role", "kube_node_spec", "kube_node_status"],
            expect![[r#"
                kube_node_role{node="h",role="worker"} 1
                kube_node_spec_unschedulable{node="h"} 0
                kube_node_spec_taint{node="h",key="k",value="",effect="NoSchedule"} 1
                kube_node_status_condition{node="h",condition="Ready",status="true"} 0
                kube_node_status_condition{node="h",condition="Ready",status="false"} 0
                kube_node_status_condition{node="h",condition="Ready",status="unknown"} 1
                kube_node_status_capacity{node="h",resource="cpu",unit="core"} 2
                kube_node_status_capacity{node="h",resource="pods",unit="integer"} 10
            "#]],
        );
        let deployment = json!({"metadata": {"name": "d", "namespace": "n", "generation": 4},
            "spec": {"replicas": 3}, "status": {"observedGeneration": 4, "availableReplicas": 2}});
        check(
            workloads::DEPLOYMENTS,
            deployment,
            &["kube_deployment"],
            expect![[r#"
                kube_deployment_metadata_generation{namespace="n",deployment="d"} 4
                kube_deployment_spec_replicas{namespace="n",deployment="d"} 3
                kube_deployment_spec_paused{namespace="n",deployment="d"} 0
                kube_deployment_status_observed_generation{namespace="n",deployment="d"} 4
                kube_deployment_status_replicas{namespace="n",deployment="d"} 0
                kube_deployment_status_replicas_ready{namespace="n",deployment="d"} 0
                kube_deployment_status_replicas_available{namespace="n",deployment="d"} 2
                kube_deployment_status_replicas_unavailable{namespace="n",deployment="d"} 0
                kube_deployment_status_replicas_updated{namespace="n",deployment="d"} 0
            "#]],
        );
    }

    #[test]
    fn many_objects_come_in_chunks_and_families_stay_together() {
        let pod = |number: usize| {
            json!({"metadata": {"name": format!("p{number}"), "namespace": "n", "uid": "u"},
                "status": {"phase": "Running"}})
        };
        let rows = (0..5000).map(|n| serde_json::from_value(pod(n)).unwrap()).collect();
        let chunks: Vec<Bytes> = Pages::new(rows, pods::PODS).collect();
        assert!(chunks.len() > 10);
        assert!(chunks.iter().all(|chunk| chunk.len() < 2 * page::CHUNK_BYTES));
        let text = String::from_utf8(chunks.concat()).unwrap();
        let mut seen: Vec<&str> = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split('{').next().unwrap();
            if seen.last() != Some(&name) {
                assert!(!seen.contains(&name), "{name} comes twice");
                seen.push(name);
            }
        }
        assert_eq!(text.matches("kube_pod_info{").count(), 5000);
    }
}
