//! Never more pods than a ReplicaSet asks for, never more asked for than a Deployment's replicas plus surge.
//!
//! *Source:* `specs/decisions.md`, "What a Deployment promises while things fail". Controllers act on what they knew a
//! moment ago, so what was asked for within that time counts as asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_simulate::objects::{
    DEPLOYMENTS, Objects, PODS, REPLICA_SETS, STATEFUL_SETS, Step, count, is_active, text,
};
use serde_json::Value;

use super::{Recent, controller, ordinal};

/// What was asked for, by uid.
#[derive(Debug, Default)]
pub(super) struct Counts {
    asked: BTreeMap<String, Recent>,
}

impl Counts {
    pub(super) fn see(
        &mut self,
        now: Duration,
        step: Step<'_>,
        objects: &Objects,
    ) -> Option<String> {
        let after = step.after?;
        if step.key.starts_with(DEPLOYMENTS) {
            self.ask(now, after, count(after, "/spec/replicas", 1) + surge(after));
        } else if step.key.starts_with(STATEFUL_SETS) {
            self.ask(now, after, count(after, "/spec/replicas", 1));
        } else if step.key.starts_with(REPLICA_SETS) {
            self.ask(now, after, count(after, "/spec/replicas", 1));
            return self.check_deployment(now, step, objects);
        } else if step.key.starts_with(PODS) && step.before.is_none() {
            let of_replica_set = self.check_replica_set(now, step, objects);
            let of_stateful_set = || self.check_stateful_set(now, step);
            return of_replica_set.or_else(of_stateful_set).or_else(|| check_job(step, objects));
        }
        None
    }

    fn ask(&mut self, now: Duration, object: &Value, value: i64) {
        let uid = text(object, "/metadata/uid").to_owned();
        self.asked.entry(uid).or_default().set(now, value);
    }

    fn most(&self, now: Duration, uid: &str) -> Option<i64> {
        self.asked.get(uid)?.values(now).max()
    }

    fn check_replica_set(
        &self,
        now: Duration,
        step: Step<'_>,
        objects: &Objects,
    ) -> Option<String> {
        let set = controller(step.after?, "ReplicaSet")?;
        let n_active = n_active(set, objects);
        let most = self.most(now, set)?;
        let text =
            || format!("{} is pod {n_active} of a ReplicaSet that asked for {most}", step.key);
        (n_active > most).then(text)
    }

    fn check_stateful_set(&self, now: Duration, step: Step<'_>) -> Option<String> {
        let most = self.most(now, controller(step.after?, "StatefulSet")?)?;
        let over = ordinal(step.key).is_some_and(|ordinal| ordinal >= most);
        over.then(|| format!("{} is made though {most} were asked for", step.key))
    }

    fn check_deployment(&self, now: Duration, step: Step<'_>, objects: &Objects) -> Option<String> {
        let after = step.after?;
        let grown = count(after, "/spec/replicas", 1)
            > step.before.map_or(0, |before| count(before, "/spec/replicas", 1));
        let deployment = controller(after, "Deployment").filter(|_| grown)?;
        let own = objects.controlled_by(deployment, REPLICA_SETS);
        let sum: i64 = own.map(|set| count(set, "/spec/replicas", 1)).sum();
        let most = self.most(now, deployment)?;
        let text = || format!("{} makes it {sum} pods where {most} may be", step.key);
        (sum > most).then(text)
    }
}

/// No more pods at once than a Job's parallelism, and none once its outcome is known.
fn check_job(step: Step<'_>, objects: &Objects) -> Option<String> {
    let uid = controller(step.after?, "Job")?;
    let (key, job) = objects.by_uid(uid)?;
    let n_active = n_active(uid, objects);
    let most = count(job, "/spec/parallelism", 1);
    (n_active > most)
        .then(|| format!("{} is pod {n_active} of {key}, which may have {most}", step.key))
}

/// How many active pods an owner has.
pub(super) fn n_active(owner: &str, objects: &Objects) -> i64 {
    let pods = objects.controlled_by(owner, PODS).filter(|pod| is_active(pod));
    i64::try_from(pods.count()).unwrap_or(i64::MAX)
}

/// `maxSurge` in pods.
fn surge(deployment: &Value) -> i64 {
    if text(deployment, "/spec/strategy/type") == "Recreate" {
        return 0;
    }
    let surge = deployment.pointer("/spec/strategy/rollingUpdate/maxSurge");
    match surge {
        Some(Value::String(percent)) => {
            let percent: i64 = percent.trim_end_matches('%').parse().unwrap_or(0);
            (count(deployment, "/spec/replicas", 1) * percent + 99) / 100
        }
        Some(other) => other.as_i64().unwrap_or(0),
        None => 0,
    }
}
