//! Binding topology spread constraints: no place may get ahead of the emptiest by more than agreed.
//! *Source:* `pkg/scheduler/framework/plugins/podtopologyspread`.

use super::{Cause, Refusal};
use crate::cycle::Cycle;
use crate::node_info::NodeInfo;

pub(super) fn check(cycle: &Cycle<'_>, node: &NodeInfo) -> Option<Refusal> {
    for state in &cycle.spread {
        let Some(value) = node.label(&state.constraint.topology_key) else {
            return Refusal::final_one(
                Cause::Spread,
                "node(s) didn't match pod topology spread constraints (missing required label)",
            );
        };
        let after = state.places.at(value) + i64::from(state.counts_itself);
        if after - state.fewest() > state.constraint.max_skew {
            return Some(Refusal {
                cause: Cause::Spread,
                reasons: vec!["node(s) didn't match pod topology spread constraints".into()],
                preemption_may_help: true,
            });
        }
    }
    None
}
