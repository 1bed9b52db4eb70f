//! Decisions about a group's pods, which are placed together or not at all.
//!
//! Everything is tried in thought first: places on what is free, and if that is not enough, places that pods of lower
//! priority would leave. Nobody is displaced unless so many members find a place that way as there have to be.

use std::sync::Arc;
use std::time::Duration;

use super::{LEFT, OTHER_PODS, Scheduler, Step};
use crate::filters::Cause;
use crate::fit_error::FitError;
use crate::groups::{GROUP_MIN_ANNOTATION, Group};
use crate::pod_info::PodInfo;
use crate::schedule::{Decision, is_awaited, is_hopeful, schedule_from};

/// A member, and the node that is kept for it.
type Kept = (Arc<PodInfo>, String);

/// A place that a member can have when others have left it.
struct Cleared {
    member: Arc<PodInfo>,
    node: String,
    /// Who has to leave; nobody where only another member's place has to be waited for.
    victims: Vec<Arc<PodInfo>>,
}

impl Scheduler {
    /// Decides about all waiting pods of a group: enough of them get a node, or none does.
    pub(super) fn decide_together(
        &mut self,
        group: &Group,
        first: Arc<PodInfo>,
        search: (u64, u64),
        now: Duration,
    ) {
        let others = self.groups.waiting(group);
        let mut members = vec![first];
        members.extend(others.iter().filter_map(|uid| self.queue.take(uid)));
        let missing = group.min.map(|min| min.saturating_sub(self.groups.placed(group)));
        let enough = missing.filter(|missing| members.len() >= *missing);
        let kept = self.kept_for(&members);
        let tried: &[Arc<PodInfo>] = if enough.is_some() { &members } else { &[] };
        let (chosen, mut left) = self.place_in_thought(tried, search);
        if enough.is_some_and(|missing| chosen.len() >= missing) {
            for (member, node) in chosen {
                self.assume(&member, &node);
                self.decided.push_back(Step::Bind { pod: Arc::clone(&member.pod), node });
            }
            self.queue.happened(&OTHER_PODS, now);
            for (member, error) in left {
                self.refuse_member(&member, error, None, now);
            }
            return;
        }
        chosen.iter().for_each(|(member, _)| drop(self.snapshot.displace(member.uid())));
        let why = self.why_not_together(group, members.len(), chosen.len());
        let mut error = left.pop().map(|(_, error)| error).unwrap_or_default();
        error.group = Some(why);
        error.causes.insert(Cause::Group);
        let mut plan = self.wait_or_clear(&members, kept, enough, search, now);
        for member in members {
            let own = plan.iter().position(|place| place.member.uid() == member.uid());
            let place = own.map(|at| plan.swap_remove(at));
            self.refuse_member(&member, error.clone(), place, now);
        }
    }

    /// The nodes that are kept for members, since others were displaced for them.
    fn kept_for(&self, members: &[Arc<PodInfo>]) -> Vec<Kept> {
        let node = |member: &Arc<PodInfo>| self.snapshot.nomination_of(member.uid());
        let kept = members.iter().filter_map(|one| Some((Arc::clone(one), node(one)?.to_owned())));
        kept.collect()
    }

    /// Gives members what is free, in the snapshot alone; those that got none come with the reason.
    fn place_in_thought(
        &mut self,
        members: &[Arc<PodInfo>],
        (start, seed): (u64, u64),
    ) -> (Vec<Kept>, Vec<(Arc<PodInfo>, FitError)>) {
        let (mut chosen, mut left) = (vec![], vec![]);
        for member in members {
            match schedule_from(&self.snapshot, member, start, seed) {
                Decision::Assign { node } => {
                    self.snapshot.place(member, &node);
                    chosen.push((Arc::clone(member), node));
                }
                Decision::Preempt { error, .. } | Decision::Unschedulable(error) => {
                    left.push((Arc::clone(member), error));
                }
            }
        }
        (chosen, left)
    }

    /// Goes on waiting where pods are still leaving for the group, else looks who would have to leave.
    fn wait_or_clear(
        &mut self,
        members: &[Arc<PodInfo>],
        kept: Vec<Kept>,
        enough: Option<usize>,
        search: (u64, u64),
        now: Duration,
    ) -> Vec<Cleared> {
        for (member, node) in &kept {
            self.snapshot.nominate(Arc::clone(member), node);
        }
        // Members or nodes that went meanwhile may leave too few: then the room is for others.
        let hopeful = enough.is_some() && kept.iter().all(|(member, _)| self.may_wait(member));
        if hopeful && members.iter().any(|member| is_awaited(&self.snapshot, member)) {
            let waits = |(member, node)| Cleared { member, node, victims: vec![] };
            return kept.into_iter().map(waits).collect();
        }
        if !kept.is_empty() {
            kept.iter().for_each(|(member, _)| drop(self.snapshot.give_up(member.uid())));
            self.queue.happened(&LEFT, now);
        }
        let plan = enough.and_then(|missing| self.room_by_force(members, missing, search));
        plan.unwrap_or_default()
    }

    /// Tells whether the node that is kept for a member would still take it once others have left.
    fn may_wait(&self, member: &PodInfo) -> bool {
        let kept = self.snapshot.nomination_of(member.uid());
        kept.and_then(|name| self.snapshot.node(name))
            .is_some_and(|node| is_hopeful(&self.snapshot, member, node))
    }

    /// Finds places for as many members as are missing, of which pods of lower priority may have to leave; `None` when
    /// even that is not enough. Changes nothing.
    fn room_by_force(
        &mut self,
        members: &[Arc<PodInfo>],
        missing: usize,
        (start, seed): (u64, u64),
    ) -> Option<Vec<Cleared>> {
        let mut plan: Vec<Cleared> = vec![];
        for member in members {
            if plan.len() == missing {
                break;
            }
            let (node, victims) = match schedule_from(&self.snapshot, member, start, seed) {
                Decision::Assign { node } => (node, vec![]),
                Decision::Preempt { preemption, .. } => (preemption.node, preemption.victims),
                Decision::Unschedulable(_) => continue,
            };
            let is_member = |uid: &str| plan.iter().any(|place| place.member.uid() == uid);
            if victims.iter().any(|victim| is_member(victim.uid())) {
                continue;
            }
            victims.iter().for_each(|victim| drop(self.snapshot.displace(victim.uid())));
            self.snapshot.place(member, &node);
            plan.push(Cleared { member: Arc::clone(member), node, victims });
        }
        for Cleared { member, node, victims } in plan.iter().rev() {
            self.snapshot.displace(member.uid());
            victims.iter().for_each(|victim| self.snapshot.place(victim, node));
        }
        (plan.len() == missing).then_some(plan)
    }

    fn refuse_member(
        &mut self,
        member: &Arc<PodInfo>,
        error: FitError,
        place: Option<Cleared>,
        now: Duration,
    ) {
        self.queue.refused(member.uid(), error.causes.clone(), now);
        let pod = Arc::clone(&member.pod);
        let step = match place {
            None => Step::Refuse { pod, error, nominated: None },
            Some(Cleared { node, victims, .. }) => {
                self.snapshot.nominate(Arc::clone(member), &node);
                if victims.is_empty() {
                    Step::Refuse { pod, error, nominated: Some(node) }
                } else {
                    let victims = victims.iter().map(|victim| Arc::clone(&victim.pod)).collect();
                    Step::Preempt { pod, node, victims, error }
                }
            }
        };
        self.decided.push_back(step);
    }

    fn why_not_together(&self, group: &Group, waiting: usize, fitting: usize) -> String {
        let key = &group.key;
        let Some(min) = group.min else {
            return format!(
                "pod group {key}: annotation '{GROUP_MIN_ANNOTATION}' must be a number from 1, on every pod of it"
            );
        };
        let placed = self.groups.placed(group);
        if placed + waiting < min {
            return format!("pod group {key}: {} of {min} pods are there", placed + waiting);
        }
        format!("pod group {key}: {} of {min} pods fit", placed + fitting)
    }
}
