//! What a namespace's LimitRanges give containers that say nothing, and what they refuse.
//!
//! *Source:* the `LimitRanger` admission plugin; Kubernetes, "Limit Ranges".

use super::{Operation, Request};
use crate::cache::{Caches, Selection};
use coracle_api::meta;
use coracle_api::quantity::Quantity;
use coracle_api::quota::{Amounts, amounts, quantity};
use coracle_api::selector::{FieldSelector, LabelSelector};
use coracle_api::status::Status;
use serde_json::Value;

/// Annotation that says what was filled in.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Fills in the defaults of a new pod's containers.
pub(super) fn fill(request: &Request<'_>, object: &mut Value, caches: &Caches) {
    if !request.is_core("Pod") || request.operation != Operation::Create {
        return;
    }
    let mut said = Vec::new();
    for item in items(request, caches).iter().filter(|item| item["type"] == "Container") {
        for list in ["containers", "initContainers"] {
            let containers = object.pointer_mut(&format!("/spec/{list}"));
            for container in containers.and_then(Value::as_array_mut).into_iter().flatten() {
                let noun = if list == "containers" { "container" } else { "init container" };
                fill_container(container, item, noun, &mut said);
            }
        }
    }
    if !said.is_empty() {
        let text = format!("LimitRanger plugin set: {}", said.join("; "));
        meta::set_annotation(object, ANNOTATION, &text);
    }
}

fn fill_container(container: &mut Value, item: &Value, noun: &str, said: &mut Vec<String>) {
    let name = container["name"].as_str().unwrap_or_default().to_owned();
    for (what, defaults) in [("requests", &item["defaultRequest"]), ("limits", &item["default"])] {
        let mut set = Vec::new();
        for (resource, amount) in defaults.as_object().into_iter().flatten() {
            if container["resources"][what][resource].is_null() {
                container["resources"][what][resource] = amount.clone();
                set.push(resource.as_str());
            }
        }
        if !set.is_empty() {
            let what = what.trim_end_matches('s');
            said.push(format!("{} {what} for {noun} {name}", set.join(", ")));
        }
    }
}

/// Checks a new pod or claim against the ranges.
///
/// # Errors
/// 403 with everything that is out of range.
pub(super) fn check(request: &Request<'_>, object: &Value, caches: &Caches) -> Result<(), Status> {
    let is_pod = request.is_core("Pod") && request.operation == Operation::Create;
    let is_claim =
        request.is_core("PersistentVolumeClaim") && request.operation != Operation::Delete;
    if !is_pod && !is_claim {
        return Ok(());
    }
    let mut errors = Vec::new();
    for item in items(request, caches) {
        match item["type"].as_str().unwrap_or_default() {
            "Container" if is_pod => {
                for container in containers(object) {
                    check_item(&item, &Stated::of(&container["resources"]), &mut errors);
                }
            }
            "Pod" if is_pod => check_item(&item, &Stated::of_pod(object), &mut errors),
            "PersistentVolumeClaim" if is_claim => {
                check_claim(&item, &amounts(&object["spec"]["resources"]["requests"]), &mut errors);
            }
            _ => {}
        }
    }
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(request.forbidden(one)),
        all => Err(request.forbidden(format!("[{}]", all.join(", ")))),
    }
}

fn items(request: &Request<'_>, caches: &Caches) -> Vec<Value> {
    let Some(ranges) = caches.by_resource("", "limitranges").filter(|ranges| !ranges.is_empty())
    else {
        return Vec::new();
    };
    let (labels, fields) = (LabelSelector::everything(), FieldSelector::default());
    let selection = Selection::new(ranges.kind(), Some(request.namespace), labels, fields);
    let Ok(selection) = selection else { return Vec::new() };
    let ranges = ranges.select(&selection);
    let limits = ranges.iter().map(|range| range.value()["spec"]["limits"].take());
    limits.flat_map(|limits| limits.as_array().cloned().unwrap_or_default()).collect()
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["containers", "initContainers"];
    lists.into_iter().flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
}

/// What is asked for, and what is allowed.
struct Stated {
    requests: Amounts,
    limits: Amounts,
}

impl Stated {
    fn of(resources: &Value) -> Stated {
        Stated { requests: amounts(&resources["requests"]), limits: amounts(&resources["limits"]) }
    }

    /// The sums over a pod, as quotas count them.
    fn of_pod(pod: &Value) -> Stated {
        let all = coracle_api::quota::usage("", "pods", pod);
        let named = |prefix: &str| {
            let all = all.iter().filter_map(|(name, amount)| {
                Some((name.strip_prefix(prefix)?.to_owned(), *amount))
            });
            all.collect::<Amounts>()
        };
        Stated { requests: named("requests."), limits: named("limits.") }
    }
}

fn check_item(item: &Value, stated: &Stated, errors: &mut Vec<String>) {
    let kind = item["type"].as_str().unwrap_or_default();
    for (resource, bound) in amounts(&item["min"]) {
        let (request, limit) = (stated.requests.get(&resource), stated.limits.get(&resource));
        let base = format!("minimum {resource} usage per {kind} is {bound}");
        match (request, limit) {
            (None, _) => errors.push(format!("{base}.  No request is specified")),
            (Some(request), _) if *request < bound => {
                errors.push(format!("{base}, but request is {request}"))
            }
            (_, Some(limit)) if *limit < bound => {
                errors.push(format!("{base}, but limit is {limit}"))
            }
            (Some(_), _) => {}
        }
    }
    for (resource, bound) in amounts(&item["max"]) {
        let (request, limit) = (stated.requests.get(&resource), stated.limits.get(&resource));
        let base = format!("maximum {resource} usage per {kind} is {bound}");
        match (limit, request) {
            (None, _) => errors.push(format!("{base}.  No limit is specified")),
            (Some(limit), _) if *limit > bound => {
                errors.push(format!("{base}, but limit is {limit}"))
            }
            (_, Some(request)) if *request > bound => {
                errors.push(format!("{base}, but request is {request}"))
            }
            (Some(_), _) => {}
        }
    }
    for (resource, bound) in item["maxLimitRequestRatio"].as_object().into_iter().flatten() {
        check_ratio(kind, resource, bound, stated, errors);
    }
}

fn check_ratio(
    kind: &str,
    resource: &str,
    bound: &Value,
    stated: &Stated,
    errors: &mut Vec<String>,
) {
    let Some(most) = quantity(bound) else { return };
    let base = format!("{resource} max limit to request ratio per {kind} is {most}");
    let millis = |amount: &Quantity| amount.milli_value().max(0);
    match (stated.requests.get(resource).map(millis), stated.limits.get(resource).map(millis)) {
        (None | Some(0), None | Some(0)) => {
            errors.push(format!(
                "{base}, but no request and limit are specified or request and limit are 0"
            ));
        }
        (None | Some(0), _) => {
            errors.push(format!("{base}, but no request is specified or request is 0"));
        }
        (_, None | Some(0)) => {
            errors.push(format!("{base}, but no limit is specified or limit is 0"))
        }
        (Some(request), Some(limit)) => {
            // limit / request > most, without fractions.
            let (limit, request) = (i128::from(limit), i128::from(request));
            if limit * 1000 > request * i128::from(most.milli_value()) {
                let (whole, rest) = (limit / request, limit % request * 1_000_000 / request);
                errors.push(format!("{base}, but provided ratio is {whole}.{rest:06}"));
            }
        }
    }
}

fn check_claim(item: &Value, requests: &Amounts, errors: &mut Vec<String>) {
    for (field, word) in [("min", "minimum"), ("max", "maximum")] {
        for (resource, bound) in amounts(&item[field]) {
            let base = format!("{word} {resource} usage per PersistentVolumeClaim is {bound}");
            match requests.get(&resource) {
                None => errors.push(format!("{base}.  No request is specified")),
                Some(request)
                    if field == "min" && *request < bound || field == "max" && *request > bound =>
                {
                    errors.push(format!("{base}, but request is {request}"));
                }
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(item: Value, resources: Value, expected: Expect) {
        let mut errors = Vec::new();
        check_item(&item, &Stated::of(&resources), &mut errors);
        expected.assert_eq(&errors.join("\n"));
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let item = json!({"type": "Container", "min": {"memory": "100Mi"}, "max": {"cpu": "1"},
            "maxLimitRequestRatio": {"cpu": "2"}});
        check(
            item.clone(),
            json!({"requests": {"memory": "200Mi", "cpu": "500m"}, "limits": {"cpu": "1"}}),
            expect![""],
        );
        check(
            item.clone(),
            json!({"requests": {"memory": "50Mi", "cpu": "500m"}, "limits": {"cpu": "1500m"}}),
            expect![[r#"
                minimum memory usage per Container is 100Mi, but request is 50Mi
                maximum cpu usage per Container is 1, but limit is 1500m
                cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000"#]],
        );
        check(
            item,
            json!({}),
            expect![[r#"
                minimum memory usage per Container is 100Mi.  No request is specified
                maximum cpu usage per Container is 1.  No limit is specified
                cpu max limit to request ratio per Container is 2, but no request and limit are specified or request and limit are 0"#]],
        );
    }

    #[test]
    fn silent_containers_are_filled() {
        let item =
            json!({"defaultRequest": {"cpu": "100m", "memory": "1Mi"}, "default": {"cpu": "1"}});
        let mut container = json!({"name": "c", "resources": {"requests": {"cpu": "1"}}});
        let mut said = Vec::new();
        fill_container(&mut container, &item, "container", &mut said);
        assert_eq!(
            container["resources"],
            json!({"requests": {"cpu": "1", "memory": "1Mi"}, "limits": {"cpu": "1"}})
        );
        assert_eq!(said, ["memory request for container c", "cpu limit for container c"]);
    }
}
