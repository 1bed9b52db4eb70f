//! Whether everything is as it was asked for, once nothing goes wrong any more.

use serde_json::Value;

use crate::host::Host;
use crate::oracle::Objects;
use crate::promises::{DEPLOYMENTS, NODES, PODS, REPLICA_SETS, is_ready, is_terminal, text};
use crate::world::World;

/// What is not yet as it should be; `None` when everything is.
pub(crate) fn unrest(world: &World, hosts: &[Host]) -> Option<String> {
    let oracle = world.oracle.lock();
    let objects = &oracle.objects;
    deployments(objects)
        .or_else(|| pods(objects))
        .or_else(|| sets(objects))
        .or_else(|| hosts.iter().find_map(|host| host_unrest(objects, host)))
}

fn deployments(objects: &Objects) -> Option<String> {
    objects.below(DEPLOYMENTS).find_map(|(key, deployment)| {
        if deployment.pointer("/metadata/deletionTimestamp").is_some() {
            return Some(format!("{key} is being deleted"));
        }
        let wanted = number(deployment, "/spec/replicas");
        let differs = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"]
            .into_iter()
            .find(|field| number(deployment, &format!("/status/{field}")) != wanted);
        if let Some(field) = differs {
            return Some(format!("{key} wants {wanted} replicas: status.{field} differs"));
        }
        let seen = number(deployment, "/status/observedGeneration");
        let late = seen != number(deployment, "/metadata/generation");
        late.then(|| format!("{key} was not looked at since it changed"))
    })
}

fn sets(objects: &Objects) -> Option<String> {
    objects.below(REPLICA_SETS).find_map(|(key, set)| {
        let wanted = number(set, "/spec/replicas");
        let owner = set.pointer("/metadata/ownerReferences/0/uid").cloned();
        let uid = |object: &Value| object.pointer("/metadata/uid").cloned();
        if !objects.below(DEPLOYMENTS).any(|(_, deployment)| uid(deployment) == owner) {
            return Some(format!("{key} has outlived its Deployment"));
        }
        (number(set, "/status/replicas") != wanted)
            .then(|| format!("{key} has other than {wanted}"))
    })
}

fn pods(objects: &Objects) -> Option<String> {
    objects.below(PODS).find_map(|(key, pod)| {
        let set = pod.pointer("/metadata/ownerReferences/0/uid").cloned();
        let uid = |object: &Value| object.pointer("/metadata/uid").cloned();
        if pod.pointer("/metadata/deletionTimestamp").is_some() {
            return Some(format!("{key} is being deleted"));
        }
        if !objects.below(REPLICA_SETS).any(|(_, owner)| uid(owner) == set) {
            return Some(format!("{key} has outlived its ReplicaSet"));
        }
        (!is_ready(pod) && !is_terminal(pod)).then(|| format!("{key} is not ready"))
    })
}

fn host_unrest(objects: &Objects, host: &Host) -> Option<String> {
    let node = objects.get(&format!("{NODES}{}", host.name));
    if !node.is_some_and(is_ready) {
        return Some(format!("node {} is not ready", host.name));
    }
    let bound = objects.below(PODS).map(|(_, pod)| pod);
    let bound = bound.filter(|pod| text(pod, "/spec/nodeName") == host.name && !is_terminal(pod));
    let mut expected: Vec<&str> = bound.map(|pod| text(pod, "/metadata/uid")).collect();
    expected.sort_unstable();
    let running = host.running();
    (running != expected).then(|| {
        format!("{} runs {} pods, {} are bound to it", host.name, running.len(), expected.len())
    })
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}
