//! What a writer should know of an object that is taken all the same: what is out of use, ignored, or not what it seems.
//!
//! Pure. In: an object as it would be stored, and the stored one. Out: texts for `Warning` headers.
//! *Source:* the `WarningsOnCreate` and `WarningsOnUpdate` of kube-apiserver's strategies, whose words they are.

mod node;
mod overlap;
mod pod;
mod ports;

use coracle_api::names;
use coracle_api::quantity::Quantity;
use coracle_api::registry::Kind;
use serde_json::Value;

/// Completions and parallelism above which the index of a Job may grow too long to be kept.
const INDEXED_JOB_MAX: (i64, i64) = (100_000, 10_000);

/// Warnings of one write; more of them nobody reads.
const WARNINGS_MAX: usize = 100;

/// The path of the template of a kind's pods, `""` for a pod itself; `None` for a kind that has none.
pub(crate) fn template_of(kind: &Kind) -> Option<&'static str> {
    match (kind.group, kind.kind) {
        ("", "Pod") => Some(""),
        ("", "PodTemplate") => Some("template"),
        ("", "ReplicationController")
        | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("batch", "Job") => Some("spec.template"),
        ("batch", "CronJob") => Some("spec.jobTemplate.spec.template"),
        _ => None,
    }
}

/// What is at a path of names with dots between them; the object itself at the empty one.
pub(crate) fn at<'v>(object: &'v Value, path: &str) -> &'v Value {
    let names = path.split('.').filter(|name| !name.is_empty());
    names.fold(object, |value, name| value.get(name).unwrap_or(&Value::Null))
}

/// The path of a member, with no dot before the first name.
pub(crate) fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The warnings for an object that is written; `old` is the stored one of an update.
pub(crate) fn warnings(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<String> {
    let mut found = of_kind(kind, object);
    let Some(path) = template_of(kind) else { return found };
    let template = at(object, path);
    // Pods are updated by controllers and hosts, which nobody listens to.
    let is_told = match old {
        Some(_) if path.is_empty() => false,
        Some(old) => at(old, path) != template,
        None => true,
    };
    if is_told {
        pod::add(&mut found, template, path);
    }
    found.truncate(WARNINGS_MAX);
    found
}

fn of_kind(kind: &Kind, object: &Value) -> Vec<String> {
    match (kind.group, kind.kind) {
        ("", "Service") => service(object),
        ("", "PersistentVolume") => volume(object),
        ("", "PersistentVolumeClaim") => claim(&object["spec"], "spec").collect(),
        ("apps", "StatefulSet") => stateful_set(object),
        ("batch", "Job") => job(object, object, "spec"),
        ("batch", "CronJob") => {
            job(object, at(object, "spec.jobTemplate"), "spec.jobTemplate.spec")
        }
        ("networking.k8s.io", "Ingress") => ingress(object).into_iter().collect(),
        ("node.k8s.io", "RuntimeClass") => {
            node::selector(at(object, "scheduling.nodeSelector"), "scheduling.nodeSelector", false)
        }
        ("storage.k8s.io", "StorageClass") => storage_class(object),
        _ => Vec::new(),
    }
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or("")
}

fn items<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = (usize, &'v Value)> + use<'v> {
    value.get(field).and_then(Value::as_array).into_iter().flatten().enumerate()
}

/// A warning about an amount of bytes that is no whole number.
fn fraction(amounts: &Value, resource: &str, path: &str) -> Option<String> {
    let amount = text(amounts, resource);
    let parsed = amount.parse::<Quantity>().ok()?;
    (parsed.milli_value() % 1000 != 0).then(|| {
        format!(
            "{path}[{resource}]: fractional byte value {amount:?} is invalid, must be an integer"
        )
    })
}

fn claim(spec: &Value, path: &str) -> impl Iterator<Item = String> {
    let amounts = ["requests", "limits"].map(|list| {
        fraction(&spec["resources"][list], "storage", &format!("{path}.resources.{list}"))
    });
    amounts.into_iter().flatten()
}

fn service(service: &Value) -> Vec<String> {
    let spec = &service["spec"];
    let mut found = Vec::new();
    let hints = "service.kubernetes.io/topology-aware-hints";
    if service["metadata"]["annotations"].get(hints).is_some() {
        found.push(format!(
            "annotation {hints} is deprecated, please use service.kubernetes.io/topology-mode instead"
        ));
    }
    let is_set = |field: &str| !text(spec, field).is_empty();
    let has_external = items(spec, "externalIPs").next().is_some();
    let kind = text(spec, "type");
    if kind == "ClusterIP" && text(spec, "clusterIP") == "None" {
        if is_set("loadBalancerIP") {
            found.push("spec.loadBalancerIP is ignored for headless services".to_owned());
        }
        if has_external {
            found.push("spec.externalIPs is ignored for headless services".to_owned());
        }
        if !matches!(text(spec, "sessionAffinity"), "" | "None") {
            found.push("spec.SessionAffinity is ignored for headless services".to_owned());
        }
    }
    let is_name = kind == "ExternalName";
    if is_name && has_external {
        found.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if !is_name && is_set("externalName") {
        found
            .push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    if text(spec, "trafficDistribution") == "PreferClose" {
        found.push(
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\""
                .to_owned(),
        );
    }
    found
}

fn volume(volume: &Value) -> Vec<String> {
    let spec = &volume["spec"];
    let mut found = Vec::new();
    let class = "volume.beta.kubernetes.io/storage-class";
    if volume["metadata"]["annotations"].get(class).is_some() {
        found.push(format!(
            "metadata.annotations[{class}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        ));
    }
    if text(spec, "persistentVolumeReclaimPolicy") == "Recycle" {
        found.push(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".to_owned(),
        );
    }
    let path = "spec.nodeAffinity.required.nodeSelectorTerms";
    for (index, term) in items(at(spec, "nodeAffinity.required"), "nodeSelectorTerms") {
        node::term(&mut found, term, &format!("{path}[{index}]"));
    }
    pod::gone_sources(&mut found, spec, "spec");
    found
}

fn stateful_set(set: &Value) -> Vec<String> {
    let spec = &set["spec"];
    let mut found = Vec::new();
    for (index, template) in items(spec, "volumeClaimTemplates") {
        found.extend(claim(&template["spec"], &format!("spec.volumeClaimTemplates[{index}]")));
    }
    if spec["revisionHistoryLimit"].as_i64().is_some_and(|limit| limit < 0) {
        found.push(
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".to_owned(),
        );
    }
    found
}

/// `named` is the object whose name its pods have, `job` holds the Job's spec.
fn job(named: &Value, job: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    let errors = names::dns1123_label(text(&named["metadata"], "name"));
    if !errors.is_empty() {
        found.push(format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [{}]",
            errors.join(" ")
        ));
    }
    let number = |field: &str| job["spec"][field].as_i64().unwrap_or(0);
    let (completions, parallelism) = INDEXED_JOB_MAX;
    if text(&job["spec"], "completionMode") == "Indexed"
        && number("completions") > completions
        && number("parallelism") > parallelism
    {
        found.push(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
    found
}

fn ingress(ingress: &Value) -> Option<String> {
    let annotation = "kubernetes.io/ingress.class";
    let has = ingress["metadata"]["annotations"].get(annotation).is_some();
    (has && ingress["spec"]["ingressClassName"].is_null()).then(|| {
        format!(
            "annotation {annotation:?} is deprecated, please use 'spec.ingressClassName' instead"
        )
    })
}

fn storage_class(class: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (index, term) in items(class, "allowedTopologies") {
        for (at, expression) in items(term, "matchLabelExpressions") {
            if let Some(why) = node::deprecated(text(expression, "key")) {
                let path = format!("allowedTopologies[{index}].matchLabelExpressions[{at}].key");
                found.push(format!("{path}: {why}"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
