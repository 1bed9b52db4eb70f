//! What a write takes from the quotas of its namespace.
//!
//! In: the object and the quotas. Out: the quotas with their new usage, to be stored together with the object, or a
//! refusal. What deletions give back is counted by the quota controller. *Source:* Kubernetes, "Resource Quotas"; the
//! wording is upstream's.

use super::{Operation, Request};
use crate::cache::{Caches, Object, Selection};
use coracle_api::meta;
use coracle_api::quantity::Quantity;
use coracle_api::quota::{Amounts, amounts, counts, unstated, usage};
use coracle_api::selector::{FieldSelector, LabelSelector};
use coracle_api::status::Status;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A quota with the usage that a write brings about.
pub(crate) struct Charged {
    /// The quota as it was read.
    pub(crate) stored: Arc<Object>,
    /// The quota with its new status.
    pub(crate) fresh: Value,
}

/// Whether writes of this kind can be charged at all: a cheap look before anything is locked.
pub(crate) fn may_charge(request: &Request<'_>, caches: &Caches) -> bool {
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    let is_main = request.subresource.is_empty();
    let quotas = caches.by_resource("", "resourcequotas");
    writes && is_main && request.kind.namespaced && quotas.is_some_and(|quotas| !quotas.is_empty())
}

/// Charges a write.
///
/// # Errors
/// 403 for the first quota that the write goes beyond, or that asks for a statement which a pod does not make.
pub(crate) fn charge(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
    caches: &Caches,
) -> Result<Vec<Charged>, Status> {
    let (group, plural) = (request.kind.group, request.kind.plural);
    let Some(cache) = caches.by_resource("", "resourcequotas") else { return Ok(Vec::new()) };
    let (labels, fields) = (LabelSelector::everything(), FieldSelector::default());
    let selection = Selection::new(cache.kind(), Some(request.namespace), labels, fields)?;
    let mut out = Vec::new();
    for stored in cache.select(&selection) {
        let quota = stored.value();
        let hard = amounts(&quota["spec"]["hard"]);
        if !counts(&quota, plural, object) {
            continue;
        }
        let taken =
            taken(usage(group, plural, object), old.map(|old| usage(group, plural, old)), &hard);
        if request.is_core("Pod") && old.is_none() {
            check_statements(request, &quota, &hard, object)?;
        }
        if taken.is_empty() {
            continue;
        }
        let used = used(&quota, &hard, request.namespace, caches);
        check(request, meta::name(&quota), &hard, &used, &taken)?;
        out.push(Charged { fresh: charged(&quota, &hard, &used, &taken), stored });
    }
    Ok(out)
}

/// What a write takes of what the quota limits; only what grows, because the controller counts the rest.
fn taken(new: Amounts, old: Option<Amounts>, hard: &Amounts) -> Amounts {
    let old = old.unwrap_or_default();
    let grown =
        new.into_iter().filter(|(name, _)| hard.contains_key(name)).map(|(name, amount)| {
            let before = old.get(&name).copied().unwrap_or_default();
            (name, amount - before)
        });
    grown.filter(|(_, amount)| !amount.is_zero() && !amount.is_negative()).collect()
}

fn check_statements(
    request: &Request<'_>,
    quota: &Value,
    hard: &Amounts,
    pod: &Value,
) -> Result<(), Status> {
    let silent = unstated(hard, pod);
    if silent.is_empty() {
        return Ok(());
    }
    let parts: Vec<String> = silent
        .iter()
        .map(|(name, containers)| format!("{name} for: {}", containers.join(",")))
        .collect();
    let name = meta::name(quota);
    Err(request.forbidden(format!("failed quota: {name}: must specify {}", parts.join("; "))))
}

/// What is used already: what the status says, and what it does not say yet is counted.
fn used(quota: &Value, hard: &Amounts, namespace: &str, caches: &Caches) -> Amounts {
    let mut used = amounts(&quota["status"]["used"]);
    let unknown: Vec<&String> = hard.keys().filter(|name| !used.contains_key(*name)).collect();
    if unknown.is_empty() {
        return used;
    }
    let mut counted = Amounts::new();
    for cache in
        caches.resources().iter().filter(|cache| cache.kind().namespaced && !cache.is_empty())
    {
        let kind = cache.kind();
        let (labels, fields) = (LabelSelector::everything(), FieldSelector::default());
        let Ok(selection) = Selection::new(kind, Some(namespace), labels, fields) else { continue };
        for object in cache.select(&selection) {
            let object = object.value();
            if counts(quota, kind.plural, &object) {
                for (name, amount) in usage(kind.group, kind.plural, &object) {
                    *counted.entry(name).or_default() += amount;
                }
            }
        }
    }
    for name in unknown {
        used.insert(name.clone(), counted.get(name).copied().unwrap_or_default());
    }
    used
}

fn check(
    request: &Request<'_>,
    name: &str,
    hard: &Amounts,
    used: &Amounts,
    taken: &Amounts,
) -> Result<(), Status> {
    let of = |all: &Amounts, name: &str| all.get(name).copied().unwrap_or_default();
    let over: Vec<&String> =
        taken.keys().filter(|name| of(used, name) + of(taken, name) > of(hard, name)).collect();
    if over.is_empty() {
        return Ok(());
    }
    let shown = |all: &Amounts| {
        let parts: Vec<String> =
            over.iter().map(|name| format!("{name}={}", of(all, name))).collect();
        parts.join(",")
    };
    Err(request.forbidden(format!(
        "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
        shown(taken),
        shown(used),
        shown(hard)
    )))
}

fn charged(quota: &Value, hard: &Amounts, used: &Amounts, taken: &Amounts) -> Value {
    let mut fresh = quota.clone();
    let written = |amount: (&String, Quantity)| (amount.0.clone(), json!(amount.1.to_string()));
    let sum = |name: &String| {
        let of = |all: &Amounts| all.get(name).copied().unwrap_or_default();
        of(used) + of(taken)
    };
    let used: Map<String, Value> = hard.keys().map(|name| written((name, sum(name)))).collect();
    fresh["status"] = json!({"hard": quota["spec"]["hard"], "used": used});
    fresh
}
