//! Pods as controllers and scheduler keep them: without what only a host reads.
//!
//! A typed pod takes four to five times its JSON, and nearly all of that are fields about running it: environment,
//! probes, mounts, volumes of the node's own. Whoever begins to read another field of pods in a controller or in the
//! scheduler takes it off the lists here. Pods are written by patches of what is kept whole (metadata, conditions), so
//! nothing that is missing here is ever taken for removed.

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStatus, Pod, PodSpec, PodStatus, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The annotation of `kubectl apply`, as long as the object itself. *Source:* kubectl.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Takes out of a pod what neither controllers nor the scheduler read.
pub fn pod(pod: &mut Pod) {
    trim_meta(&mut pod.metadata);
    if let Some(spec) = &mut pod.spec {
        trim_spec(spec);
    }
    if let Some(status) = &mut pod.status {
        trim_status(status);
    }
}

fn trim_meta(meta: &mut ObjectMeta) {
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove(LAST_APPLIED);
        if annotations.is_empty() {
            meta.annotations = None;
        }
    }
    meta.generate_name = None;
    shrink(&mut meta.owner_references);
    shrink(&mut meta.finalizers);
}

/// What remains says where the pod may be and what it takes there.
fn trim_spec(spec: &mut PodSpec) {
    let is_bound = spec.node_name.as_ref().is_some_and(|node| !node.is_empty());
    let inits = spec.init_containers.iter_mut().flatten();
    spec.containers.iter_mut().chain(inits).for_each(|one| trim_container(one, is_bound));
    spec.containers.shrink_to_fit();
    shrink(&mut spec.init_containers);
    shrink(&mut spec.tolerations);
    trim_volumes(&mut spec.volumes);
    spec.dns_config = None;
    spec.dns_policy = None;
    spec.ephemeral_containers = None;
    spec.host_aliases = None;
    spec.image_pull_secrets = None;
    spec.os = None;
    spec.security_context = None;
    spec.service_account = None;
    spec.service_account_name = None;
}

fn trim_container(container: &mut Container, is_bound: bool) {
    let kept = Container {
        name: std::mem::take(&mut container.name),
        // Of a pod with a node nobody asks any more who has its image.
        image: container.image.take().filter(|_| !is_bound),
        ports: container.ports.take(),
        resources: container.resources.take(),
        restart_policy: container.restart_policy.take(),
        ..Container::default()
    };
    *container = kept;
    shrink(&mut container.ports);
    if let Some(resources) = &mut container.resources {
        // Defaulting has made each limit a request where there was none.
        (resources.limits, resources.claims) = (None, None);
    }
}

/// Of volumes matter those with a claim, and those that a pod would lose on another node.
fn trim_volumes(volumes: &mut Option<Vec<Volume>>) {
    let Some(all) = volumes else { return };
    all.retain(|volume| {
        volume.persistent_volume_claim.is_some()
            || volume.ephemeral.is_some()
            || volume.empty_dir.is_some()
            || volume.host_path.is_some()
    });
    if all.is_empty() {
        *volumes = None;
    }
    shrink(volumes);
}

fn trim_status(status: &mut PodStatus) {
    let inits = status.init_container_statuses.iter_mut().flatten();
    let mains = status.container_statuses.iter_mut().flatten();
    inits.chain(mains).for_each(trim_container_status);
    shrink(&mut status.init_container_statuses);
    shrink(&mut status.container_statuses);
    shrink(&mut status.conditions);
    shrink(&mut status.pod_ips);
    status.ephemeral_container_statuses = None;
    status.host_ip = None;
    status.host_ips = None;
}

/// What remains says whether it runs, how often it was started again, and how it ended.
fn trim_container_status(container: &mut ContainerStatus) {
    *container = ContainerStatus {
        name: std::mem::take(&mut container.name),
        ready: container.ready,
        restart_count: container.restart_count,
        started: container.started,
        state: container.state.take(),
        ..ContainerStatus::default()
    };
    if let Some(ContainerState { terminated: Some(end), .. }) = &mut container.state {
        (end.container_id, end.message) = (None, None);
    }
}

/// Lists are read into room for several, and mostly hold one.
fn shrink<T>(list: &mut Option<Vec<T>>) {
    if let Some(list) = list {
        list.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(full: Value, expected: Value) {
        let mut lean: Pod = serde_json::from_value(full).unwrap();
        pod(&mut lean);
        let again = lean.clone();
        pod(&mut lean);
        assert_eq!(lean, again, "what is lean stays as it is");
        let expected: Pod = serde_json::from_value(expected).unwrap();
        assert_eq!(lean, expected);
    }

    fn full(node: &str) -> Value {
        json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "7", "generateName": "p-",
                "labels": {"app": "web"}, "finalizers": ["a/b"],
                "annotations": {LAST_APPLIED: "{}", "coracle.dev/isolation": "resident"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "o"}]},
            "spec": {
                "nodeName": node, "priority": 5, "hostname": "h", "subdomain": "s", "serviceAccountName": "default",
                "dnsPolicy": "ClusterFirst", "securityContext": {"runAsUser": 1}, "nodeSelector": {"a": "b"},
                "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "c", "image": "web:1", "args": ["x"],
                    "env": [{"name": "A", "value": "b"}], "ports": [{"name": "http", "containerPort": 80}],
                    "readinessProbe": {"httpGet": {"port": 80}},
                    "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}},
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
                "volumes": [{"name": "v", "configMap": {"name": "m"}},
                    {"name": "d", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "e", "emptyDir": {}}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "hostIP": "1.2.3.4",
                "conditions": [{"type": "Ready", "status": "False", "message": "why", "reason": "R"}],
                "containerStatuses": [{"name": "c", "image": "web:1", "imageID": "x", "ready": true,
                    "restartCount": 3, "containerID": "coracle://1",
                    "state": {"terminated": {"exitCode": 3, "message": "m", "reason": "Error"}},
                    "lastState": {"terminated": {"exitCode": 1}}}]},
        })
    }

    fn lean(node: &str, container: Value) -> Value {
        json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "7",
                "labels": {"app": "web"}, "finalizers": ["a/b"],
                "annotations": {"coracle.dev/isolation": "resident"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "o"}]},
            "spec": {
                "nodeName": node, "priority": 5, "hostname": "h", "subdomain": "s", "nodeSelector": {"a": "b"},
                "tolerations": [{"operator": "Exists"}], "containers": [container],
                "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "c"}},
                    {"name": "e", "emptyDir": {}}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1",
                "conditions": [{"type": "Ready", "status": "False", "message": "why", "reason": "R"}],
                "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 3,
                    "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}]},
        })
    }

    #[test]
    fn what_decides_stays_and_what_runs_it_goes() {
        let ports = json!([{"name": "http", "containerPort": 80}]);
        let resources = json!({"requests": {"cpu": "1"}});
        let bound = json!({"name": "c", "ports": ports, "resources": resources});
        check(full("host"), lean("host", bound.clone()));
        let mut waiting = bound;
        waiting.as_object_mut().unwrap().insert("image".to_owned(), json!("web:1"));
        check(full(""), lean("", waiting));
        check(json!({"metadata": {"name": "p"}}), json!({"metadata": {"name": "p"}}));
    }
}
