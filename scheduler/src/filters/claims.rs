//! No host here has a driver that allocates devices, so a pod with resource claims waits, and is told why.
//!
//! *Source:* KEP-4381, structured parameters: a claim is allocated before its pod is bound, by what drivers publish in
//! ResourceSlices. Claims themselves are stored and left alone, for whoever brings a scheduler of their own.

use super::{Cause, Refusal};
use crate::cycle::Cycle;
use crate::node_info::NodeInfo;

pub(super) fn check(cycle: &Cycle<'_>, _node: &NodeInfo) -> Option<Refusal> {
    let claims = cycle.pod.spec().and_then(|spec| spec.resource_claims.as_ref());
    if claims.is_none_or(Vec::is_empty) {
        return None;
    }
    Refusal::final_one(Cause::Claims, "node(s) had no driver that allocates resource claims")
}
