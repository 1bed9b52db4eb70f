//! Whether everything is as it was asked for, once nothing goes wrong any more.

use std::collections::BTreeSet;

use coracle_simulate::host::Host;
use coracle_simulate::objects::{
    DEPLOYMENTS, JOBS, NAMESPACES, NODES, Objects, PODS, REPLICA_SETS, SERVICES, SLICES,
    STATEFUL_SETS, is_ready, is_terminal, text,
};
use coracle_simulate::oracle::Logged;
use coracle_simulate::world::World;
use serde_json::Value;

/// What is not yet as it should be; `None` when everything is.
pub(crate) fn unrest(world: &World, hosts: &[Host]) -> Option<String> {
    if world.server.borrow().is_none() {
        return Some("no server runs".to_owned());
    }
    let oracle = world.oracle.lock();
    let objects = &oracle.objects;
    deployments(objects)
        .or_else(|| stateful_sets(objects))
        .or_else(|| jobs(objects))
        .or_else(|| pods(objects))
        .or_else(|| sets(objects))
        .or_else(|| services(objects))
        .or_else(|| garbage(objects))
        .or_else(|| hosts.iter().find_map(|host| host_unrest(objects, host)))
        .or_else(|| watchers(world, &oracle.log))
}

/// The first of the counts in a status that is not what was asked for.
fn differs<'a>(object: &Value, fields: &[&'a str]) -> Option<&'a str> {
    let wanted = number(object, "/spec/replicas");
    fields.iter().copied().find(|field| number(object, &format!("/status/{field}")) != wanted)
}

fn deployments(objects: &Objects) -> Option<String> {
    const COUNTS: [&str; 4] = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"];
    objects.below(DEPLOYMENTS).find_map(|(key, deployment)| {
        if is_going(deployment) {
            return Some(format!("{key} is being deleted"));
        }
        if let Some(field) = differs(deployment, &COUNTS) {
            return Some(format!("{key}: status.{field} is not what it asks for"));
        }
        let seen = number(deployment, "/status/observedGeneration");
        let late = seen != number(deployment, "/metadata/generation");
        late.then(|| format!("{key} was not looked at since it changed"))
    })
}

fn stateful_sets(objects: &Objects) -> Option<String> {
    const COUNTS: [&str; 3] = ["replicas", "readyReplicas", "updatedReplicas"];
    objects.below(STATEFUL_SETS).find_map(|(key, set)| {
        if let Some(field) = differs(set, &COUNTS) {
            return Some(format!("{key}: status.{field} is not what it asks for"));
        }
        let pods = key.replace(STATEFUL_SETS, PODS);
        let mut ordinals = 0..number(set, "/spec/replicas");
        let missing = ordinals.find(|ordinal| objects.get(&format!("{pods}-{ordinal}")).is_none());
        missing.map(|ordinal| format!("{pods}-{ordinal} is missing"))
    })
}

/// Whether each Job has come to an outcome, and has as many successes as it asked for when that is complete.
fn jobs(objects: &Objects) -> Option<String> {
    objects.below(JOBS).find_map(|(key, job)| {
        let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
        let has = |kind: &str| {
            conditions.into_iter().flatten().any(|c| c["type"] == kind && c["status"] == "True")
        };
        if !has("Complete") && !has("Failed") {
            return Some(format!("{key} has no outcome"));
        }
        let (wanted, succeeded) =
            (number(job, "/spec/completions"), number(job, "/status/succeeded"));
        if has("Complete") && succeeded != wanted {
            return Some(format!("{key} is complete with {succeeded} successes of {wanted}"));
        }
        (number(job, "/status/active") != 0).then(|| format!("{key} is over and has active pods"))
    })
}

fn sets(objects: &Objects) -> Option<String> {
    objects.below(REPLICA_SETS).find_map(|(key, set)| {
        differs(set, &["replicas"]).map(|_| format!("{key} has not the pods that it asks for"))
    })
}

fn pods(objects: &Objects) -> Option<String> {
    objects.below(PODS).find_map(|(key, pod)| {
        if is_going(pod) {
            return Some(format!("{key} is being deleted"));
        }
        (!is_ready(pod) && !is_terminal(pod)).then(|| format!("{key} is not ready"))
    })
}

/// Whether each Service's slices hold the addresses of its ready pods.
fn services(objects: &Objects) -> Option<String> {
    objects.below(SERVICES).find_map(|(key, service)| {
        let selector = service.pointer("/spec/selector")?.as_object()?;
        let namespace = text(service, "/metadata/namespace");
        let is_taken = |pod: &Value| {
            let labels = &pod["metadata"]["labels"];
            text(pod, "/metadata/namespace") == namespace
                && selector.iter().all(|(name, value)| labels.get(name) == Some(value))
        };
        let pods = objects.below(PODS).map(|(_, pod)| pod);
        let pods = pods.filter(|pod| is_taken(pod) && is_ready(pod));
        let wanted: BTreeSet<&str> = pods.map(|pod| text(pod, "/status/podIP")).collect();
        let found = endpoints(objects, namespace, text(service, "/metadata/name"));
        (found != wanted).then(|| format!("{key} leads to {found:?} in place of {wanted:?}"))
    })
}

/// The ready addresses in a Service's slices.
pub(crate) fn endpoints<'a>(
    objects: &'a Objects,
    namespace: &str,
    service: &str,
) -> BTreeSet<&'a str> {
    let slices = objects.below(SLICES).map(|(_, slice)| slice).filter(|slice| {
        text(slice, "/metadata/namespace") == namespace
            && slice["metadata"]["labels"]["kubernetes.io/service-name"] == service
    });
    let all = slices.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    let ready = all.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    ready.map(|endpoint| text(endpoint, "/addresses/0")).collect()
}

/// Whether something has outlived all its owners, or its namespace.
fn garbage(objects: &Objects) -> Option<String> {
    let uids: BTreeSet<&str> =
        objects.below("/registry/").map(|(_, object)| text(object, "/metadata/uid")).collect();
    objects.below("/registry/").find_map(|(key, object)| {
        let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let owners: Vec<&str> = owners.into_iter().flatten().map(|o| text(o, "/uid")).collect();
        let is_orphan = !owners.is_empty() && !owners.iter().any(|owner| uids.contains(owner));
        let namespace = text(object, "/metadata/namespace");
        let home = format!("{NAMESPACES}{namespace}");
        let is_homeless = !namespace.is_empty() && objects.get(&home).is_none();
        let stays = key.starts_with(NAMESPACES) && is_going(object);
        (is_orphan || is_homeless || stays).then(|| format!("{key} should be gone"))
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

/// Whether each watcher has seen all that it follows.
fn watchers(world: &World, log: &[Logged]) -> Option<String> {
    let watchers = world.watchers.lock();
    watchers.iter().find_map(|(prefix, seen)| {
        let last = log.iter().rev().find(|logged| logged.key.starts_with(prefix))?.revision;
        (*seen < last).then(|| format!("the watcher of {prefix} is at {seen}, the last is {last}"))
    })
}

/// Gives what was written since a place in the log that nobody had a reason for: heartbeats and Events have one.
pub(crate) fn restless(world: &World, since: usize) -> Option<String> {
    const REASONED: [&str; 3] =
        ["/registry/coordination.k8s.io/leases/", "/registry/core/events/", NODES];
    let oracle = world.oracle.lock();
    let new = oracle.log.get(since..).unwrap_or_default();
    let found = new.iter().find(|logged| !REASONED.iter().any(|p| logged.key.starts_with(p)))?;
    Some(format!("{} was written at {} though all was at rest", found.key, found.revision))
}

fn is_going(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}
