//! The decision for one autoscaler.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscalerSpec, HorizontalPodAutoscalerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::behaviour::{Rules, ceiling, floor, remember, stabilize};
use super::conditions::{ABLE, ACTIVE, LIMITED, set};
use super::proposal::{Proposal, propose};
use super::{Action, Memory, Observed, SYNC, Scale};

/// Gives all that is to be done for an autoscaler now; always to look again.
///
/// The size stays within `minReplicas` and `maxReplicas`. While a metric is unknown it never
/// shrinks, and with all unknown it stays. *Source:* Kubernetes docs, "Horizontal Pod Autoscaling".
pub fn reconcile(observed: &Observed, now: Timestamp) -> Vec<Action> {
    let mut pass = Pass {
        status: observed.autoscaler.status.clone().unwrap_or_default(),
        memory: observed.memory.clone(),
        actions: Vec::new(),
        now,
    };
    pass.status.observed_generation = observed.autoscaler.metadata.generation;
    match &observed.scale {
        Ok(scale) => pass.decide(observed, scale),
        Err(why) => {
            let words =
                format!("the HPA controller was unable to get the target's current scale: {why}");
            set(&mut pass.status, ABLE, false, ("FailedGetScale", &words), now);
            pass.actions.push(Action::Warn("FailedGetScale".to_owned(), why.clone()));
        }
    }
    pass.finish(observed)
}

struct Pass {
    status: HorizontalPodAutoscalerStatus,
    memory: Memory,
    actions: Vec<Action>,
    now: Timestamp,
}

impl Pass {
    fn decide(&mut self, observed: &Observed, scale: &Scale) {
        let spec = observed.autoscaler.spec.clone().unwrap_or_default();
        let least = spec.min_replicas.unwrap_or(1);
        let words = "the HPA controller was able to get the target's current scale";
        set(&mut self.status, ABLE, true, ("SucceededGetScale", words), self.now);
        self.status.current_replicas = Some(scale.status).filter(|n| *n != 0);
        let (desired, why) = if scale.spec == 0 && least != 0 {
            let words = "scaling is disabled since the replica count of the target is zero";
            set(&mut self.status, ACTIVE, false, ("ScalingDisabled", words), self.now);
            (0, String::new())
        } else if scale.spec > spec.max_replicas {
            (spec.max_replicas, "Current number of replicas above Spec.MaxReplicas".to_owned())
        } else if scale.spec < least {
            (least, "Current number of replicas below Spec.MinReplicas".to_owned())
        } else {
            match self.recommend(observed, scale, &spec) {
                Some((recommended, why)) => (self.calm(observed, scale, &spec, recommended), why),
                None => return,
            }
        };
        self.status.desired_replicas = desired;
        if desired != scale.spec {
            self.memory.changed.push((self.now, desired - scale.spec));
            self.status.last_scale_time = Some(Time(self.now));
            let words =
                format!("the HPA controller was able to update the target scale to {desired}");
            set(&mut self.status, ABLE, true, ("SucceededRescale", &words), self.now);
            self.actions.push(Action::Scale(desired, why));
        }
    }

    /// Gives the largest proposal and what asks for it; `None` when nothing may be done.
    fn recommend(
        &mut self,
        observed: &Observed,
        scale: &Scale,
        spec: &HorizontalPodAutoscalerSpec,
    ) -> Option<(i32, String)> {
        let n_metrics = spec.metrics.as_ref().map_or(0, Vec::len);
        let mut best: Option<Proposal> = None;
        let mut refusal = None;
        let mut read = Vec::new();
        for number in 0..n_metrics {
            match propose(observed, scale, number, self.now) {
                Ok(proposal) => {
                    read.push(proposal.status.clone());
                    if best.as_ref().is_none_or(|best| proposal.replicas > best.replicas) {
                        best = Some(proposal);
                    }
                }
                Err(why) => refusal = refusal.or(Some(why)),
            }
        }
        self.status.current_metrics = Some(read).filter(|read| !read.is_empty());
        if let Some((reason, why)) = &refusal {
            self.actions.push(Action::Warn((*reason).to_owned(), why.clone()));
            if best.as_ref().is_none_or(|best| best.replicas < scale.spec) {
                let words = format!("the HPA was unable to compute the replica count: {why}");
                set(&mut self.status, ACTIVE, false, (reason, &words), self.now);
                return None;
            }
        }
        let best = best?;
        let words = format!(
            "the HPA was able to successfully calculate a replica count from {}",
            best.metric
        );
        set(&mut self.status, ACTIVE, true, ("ValidMetricFound", &words), self.now);
        let side = if best.replicas > scale.spec { "above" } else { "below" };
        let why = if best.replicas > scale.spec {
            format!("{} {side} target", best.metric)
        } else {
            "All metrics below target".to_owned()
        };
        Some((best.replicas, why))
    }

    /// Turns a recommendation into the size that windows, policies and bounds allow.
    fn calm(
        &mut self,
        observed: &Observed,
        scale: &Scale,
        spec: &HorizontalPodAutoscalerSpec,
        recommended: i32,
    ) -> i32 {
        let (up, down) = (Rules::up(observed), Rules::down(observed));
        remember(&mut self.memory, scale.spec, recommended, self.now);
        let calm = stabilize(&self.memory, (&up, &down), scale.spec, recommended, self.now);
        let (reason, words) = match calm.cmp(&recommended) {
            std::cmp::Ordering::Greater => (
                "ScaleDownStabilized",
                "recent recommendations were higher than current one, applying the highest recent recommendation",
            ),
            std::cmp::Ordering::Less => (
                "ScaleUpStabilized",
                "recent recommendations were lower than current one, applying the lowest recent recommendation",
            ),
            std::cmp::Ordering::Equal => {
                ("ReadyForNewScale", "recommended size matches current size")
            }
        };
        set(&mut self.status, ABLE, true, (reason, words), self.now);
        let least = spec.min_replicas.unwrap_or(1);
        let highest = ceiling(&self.memory, &up, scale.spec, self.now);
        let lowest = floor(&self.memory, &down, scale.spec, self.now);
        let (value, reason, words) = if calm > highest.min(spec.max_replicas) {
            if spec.max_replicas <= highest {
                (
                    true,
                    "TooManyReplicas",
                    "the desired replica count is more than the maximum replica count",
                )
            } else {
                (
                    true,
                    "ScaleUpLimit",
                    "the desired replica count is increasing faster than the maximum scale rate",
                )
            }
        } else if calm < lowest.max(least) {
            if least >= lowest {
                (
                    true,
                    "TooFewReplicas",
                    "the desired replica count is less than the minimum replica count",
                )
            } else {
                (
                    true,
                    "ScaleDownLimit",
                    "the desired replica count is decreasing faster than the maximum scale rate",
                )
            }
        } else {
            (false, "DesiredWithinRange", "the desired count is within the acceptable range")
        };
        set(&mut self.status, LIMITED, value, (reason, words), self.now);
        calm.clamp(lowest.min(highest), highest)
            .clamp(least.min(spec.max_replicas), spec.max_replicas)
    }

    fn finish(self, observed: &Observed) -> Vec<Action> {
        let mut actions = self.actions;
        if self.memory != observed.memory {
            actions.push(Action::Remember(self.memory));
        }
        if observed.autoscaler.status.as_ref() != Some(&self.status) {
            actions.push(Action::SetStatus(Box::new(self.status)));
        }
        actions.push(Action::RequeueAfter(SYNC));
        actions
    }
}
