//! How far the deletion of a namespace is, in upstream's conditions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NamespaceCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Content;

/// Gives the five conditions; each keeps its time while its status stays.
///
/// *Source:* `NamespaceConditionType` in the API reference, reasons and messages as
/// kube-controller-manager gives them.
pub(super) fn conditions(
    old: &[NamespaceCondition],
    contents: &[Content],
    now: Timestamp,
) -> Vec<NamespaceCondition> {
    let fixed = |kind, reason, message: &str| (kind, false, reason, message.to_owned());
    let all = [
        fixed(
            "NamespaceDeletionDiscoveryFailure",
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        fixed(
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        failure(contents),
        remaining(contents),
        finalizers(contents),
    ];
    all.into_iter()
        .map(|(kind, on, reason, message)| {
            let status = if on { "True" } else { "False" };
            let before = old.iter().find(|condition| condition.type_ == kind);
            let same = before.filter(|condition| condition.status == status);
            NamespaceCondition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                last_transition_time: same
                    .and_then(|condition| condition.last_transition_time.clone())
                    .or(Some(Time(now))),
            }
        })
        .collect()
}

type Told = (&'static str, bool, &'static str, String);

fn failure(contents: &[Content]) -> Told {
    let kind = "NamespaceDeletionContentFailure";
    let errors: Vec<String> = contents
        .iter()
        .filter_map(|content| {
            Some(format!("{}: {}", content.resource, content.found.as_ref().err()?))
        })
        .collect();
    if errors.is_empty() {
        let message = "All content successfully deleted, may be waiting on finalization";
        return (kind, false, "ContentDeleted", message.to_owned());
    }
    let (n, errors) = (errors.len(), errors.join("; "));
    let message = format!("Failed to delete all resource types, {n} remaining: {errors}");
    (kind, true, "ContentDeletionFailed", message)
}

fn remaining(contents: &[Content]) -> Told {
    let kind = "NamespaceContentRemaining";
    let left: Vec<String> = contents
        .iter()
        .filter_map(|content| {
            let n = content.found.as_ref().ok()?.n_all;
            (n > 0).then(|| format!("{} has {n} resource instances", content.resource))
        })
        .collect();
    if left.is_empty() {
        return (kind, false, "ContentRemoved", "All content successfully removed".to_owned());
    }
    let message = format!("Some resources are remaining: {}", left.join(", "));
    (kind, true, "SomeResourcesRemain", message)
}

fn finalizers(contents: &[Content]) -> Told {
    let kind = "NamespaceFinalizersRemaining";
    let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
    for (finalizer, n) in contents.iter().flat_map(|c| c.found.iter()).flat_map(|f| &f.finalizers) {
        *sums.entry(finalizer).or_default() += n;
    }
    if sums.is_empty() {
        let message = "All content-preserving finalizers finished".to_owned();
        return (kind, false, "ContentHasNoFinalizers", message);
    }
    let each: Vec<String> =
        sums.iter().map(|(name, n)| format!("{name} in {n} resource instances")).collect();
    let each = each.join(", ");
    let message = format!("Some content in the namespace has finalizers remaining: {each}");
    (kind, true, "SomeFinalizersRemain", message)
}
