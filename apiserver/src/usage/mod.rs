//! `metrics.k8s.io`: what nodes and pods use, for `kubectl top` and autoscaling.
//!
//! Comes in: a read of `nodes` or `pods` of that group. Goes out: what the nodes' agents measure,
//! asked for at that moment; nothing is stored. `figures` is pure, `serve` calls the nodes.
//!
//! *Source:* `k8s.io/metrics/pkg/apis/metrics/v1beta1`.

mod figures;
mod serve;

/// The group.
pub(crate) const GROUP: &str = "metrics.k8s.io";
/// Its version.
pub(crate) const VERSION: &str = "v1beta1";
/// Its resources, their kinds, and whether they lie in namespaces.
pub(crate) const RESOURCES: [(&str, &str, bool); 2] =
    [("nodes", "NodeMetrics", false), ("pods", "PodMetrics", true)];
