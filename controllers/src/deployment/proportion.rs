//! Bounds of a rollout, and how a change of size is shared between ReplicaSets.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::objects::scaled;

/// `maxSurge` and `maxUnavailable` when the object lacks them.
const DEFAULT_PERCENT: &str = "25%";

/// How far a rollout may leave the wanted size, in pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Pods above it.
    pub(super) surge: i32,
    /// Pods that may be unavailable below it.
    pub(super) unavailable: i32,
}

/// Gives a Deployment's wanted size.
pub(super) fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1).max(0)
}

/// Says whether old pods must all go before new ones come.
pub(super) fn is_recreate(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.is_some_and(|strategy| strategy.type_.as_deref() == Some("Recreate"))
}

/// Resolves percentages: surge rounds up, unavailable down; both zero would stand still, so then
/// one may be unavailable. *Source:* `RollingUpdateDeployment` in the API reference.
pub(super) fn bounds(deployment: &Deployment) -> Bounds {
    let replicas = wanted(deployment);
    if is_recreate(deployment) {
        return Bounds { surge: 0, unavailable: 0 };
    }
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.clone());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update).unwrap_or_default();
    let surge = resolve(rolling.max_surge.as_ref(), replicas, true);
    let mut unavailable = resolve(rolling.max_unavailable.as_ref(), replicas, false);
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    Bounds { surge, unavailable: unavailable.min(replicas) }
}

fn resolve(value: Option<&IntOrString>, of: i32, up: bool) -> i32 {
    let default = IntOrString::String(DEFAULT_PERCENT.to_owned());
    scaled(value.unwrap_or(&default), of, up)
}

/// One ReplicaSet's part in a change of size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// Its size now.
    pub(super) replicas: i32,
    /// The Deployment's size plus surge when it was last scaled, 0 when unknown.
    pub(super) max_before: i32,
}

/// Shares `to_add` (negative: to remove) in proportion to size; gives each part's new size.
///
/// `parts` come in the order in which they are served; the first takes what rounding leaves.
/// *Source:* Kubernetes docs, "Deployment: Proportional scaling".
pub(super) fn share(parts: &[Part], to_add: i32, wanted: i32, max_now: i32) -> Vec<i32> {
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::with_capacity(parts.len());
    for part in parts {
        let ideal = fraction(*part, wanted, max_now);
        let rest = to_add - added;
        let step = match part.replicas {
            0 => 0,
            _ if to_add > 0 => ideal.min(rest).max(0),
            _ => ideal.max(rest).min(0),
        };
        added += step;
        sizes.push(part.replicas + step);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    sizes
}

fn fraction(part: Part, wanted: i32, max_now: i32) -> i32 {
    if wanted == 0 {
        return -part.replicas;
    }
    let before = i64::from(if part.max_before > 0 { part.max_before } else { max_now });
    let scaled = i64::from(part.replicas) * i64::from(max_now);
    // Rounds half up; all numbers are at least 0, and `before` at least 1.
    let rounded = (2 * scaled + before) / (2 * before.max(1));
    i32::try_from(rounded).unwrap_or(i32::MAX) - part.replicas
}
