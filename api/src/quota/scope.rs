//! Which objects a quota counts, by its scopes.

use serde_json::Value;

use crate::quantity::Quantity;

/// Whether a quota counts an object: it has no scopes, or all of them take it. Only pods have scopes, and claims that of
/// their attributes class.
pub fn counts(quota: &Value, plural: &str, object: &Value) -> bool {
    let spec = &quota["spec"];
    let scopes = spec["scopes"].as_array().into_iter().flatten();
    let mut plain = scopes.filter_map(Value::as_str).map(|scope| (scope, "Exists", &Value::Null));
    let selected = spec["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten();
    let mut selected = selected.map(|term| {
        let text = |field: &str| term[field].as_str().unwrap_or_default();
        (text("scopeName"), text("operator"), &term["values"])
    });
    let takes = |(scope, operator, values): (&str, &str, &Value)| {
        plural == "pods" && takes_pod(scope, operator, values, object)
    };
    plain.all(takes) && selected.all(takes)
}

fn takes_pod(scope: &str, operator: &str, values: &Value, pod: &Value) -> bool {
    let spec = &pod["spec"];
    let ends = spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0);
    match scope {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => is_best_effort(spec),
        "NotBestEffort" => !is_best_effort(spec),
        "PriorityClass" => {
            let class = spec["priorityClassName"].as_str().unwrap_or_default();
            takes_value(class, operator, values)
        }
        "CrossNamespacePodAffinity" => reaches_other_namespaces(spec),
        _ => false,
    }
}

fn takes_value(value: &str, operator: &str, values: &Value) -> bool {
    let among = values.as_array().into_iter().flatten().any(|other| other == value);
    match operator {
        "In" => among,
        "NotIn" => !among,
        "Exists" => !value.is_empty(),
        "DoesNotExist" => value.is_empty(),
        _ => false,
    }
}

/// Whether no container says what it needs or may use. *Source:* "Pod Quality of Service Classes".
fn is_best_effort(spec: &Value) -> bool {
    let said = |container: &Value| {
        ["requests", "limits"].iter().any(|what| {
            ["cpu", "memory"].iter().any(|name| {
                let amount = super::quantity(&container["resources"][*what][*name]);
                amount.is_some_and(|amount: Quantity| !amount.is_zero())
            })
        })
    };
    let lists = ["containers", "initContainers"];
    !said(spec) && !lists.iter().any(|list| spec[*list].as_array().into_iter().flatten().any(said))
}

fn reaches_other_namespaces(spec: &Value) -> bool {
    let reaches = |term: &Value| {
        let named = term["namespaces"].as_array().is_some_and(|list| !list.is_empty());
        named || !term["namespaceSelector"].is_null()
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let affinity = &spec["affinity"][*kind];
        let required = affinity["requiredDuringSchedulingIgnoredDuringExecution"].as_array();
        let preferred = affinity["preferredDuringSchedulingIgnoredDuringExecution"].as_array();
        required.into_iter().flatten().any(reaches)
            || preferred.into_iter().flatten().any(|term| reaches(&term["podAffinityTerm"]))
    })
}
