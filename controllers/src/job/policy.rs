//! The two policies: which failures end a Job or do not count, and which successes are enough.

use k8s_openapi::api::batch::v1::{
    PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule, SuccessPolicyRule,
};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::indexes::Indexes;
use super::observe::{Rules, containers};
use crate::objects::{name, namespace, phase, pod_condition};

/// What a failed pod means for its Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts towards the limits.
    Count,
    /// It does not count.
    Ignore,
    /// Its index has failed for good.
    FailIndex,
    /// The Job has failed; the words say why.
    FailJob(String),
}

/// Judges a failed pod by the first rule that matches.
///
/// *Source:* Kubernetes docs, "Jobs: Pod failure policy".
pub(super) fn judge(rules: &Rules, pod: &Pod) -> Verdict {
    let policy = rules.spec.pod_failure_policy.as_ref();
    let Some(policy) = policy.filter(|_| phase(pod) == "Failed") else { return Verdict::Count };
    for (number, rule) in policy.rules.iter().enumerate() {
        let Some(why) = matched(rule, pod) else { continue };
        return match rule.action.as_str() {
            "Ignore" => Verdict::Ignore,
            "FailIndex" if rules.per_index.is_some() => Verdict::FailIndex,
            "FailJob" => Verdict::FailJob(format!("{why} matching FailJob rule at index {number}")),
            _ => Verdict::Count,
        };
    }
    Verdict::Count
}

/// Gives what of a pod a rule matches, in words.
fn matched(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let place = format!("{}/{}", namespace(&pod.metadata), name(&pod.metadata));
    if let Some(wanted) = &rule.on_exit_codes {
        let (container, code) = containers(pod).find_map(|container| exits(wanted, container))?;
        return Some(format!("Container {container} for pod {place} failed with exit code {code}"));
    }
    let mut patterns = rule.on_pod_conditions.iter().flatten();
    let wanted = patterns.find(|pattern| {
        let status = pattern.status.as_deref().unwrap_or("True");
        pod_condition(pod, &pattern.type_).is_some_and(|there| there.status == status)
    })?;
    Some(format!("Pod {place} has condition {}", wanted.type_))
}

fn exits<'a>(
    wanted: &PodFailurePolicyOnExitCodesRequirement,
    container: &'a ContainerStatus,
) -> Option<(&'a str, i32)> {
    let named = wanted.container_name.as_deref().filter(|name| !name.is_empty());
    if named.is_some_and(|name| name != container.name) {
        return None;
    }
    let ended = container.state.as_ref()?.terminated.as_ref()?;
    // An exit code of 0 is no failure, whatever the operator.
    let is_in = wanted.values.contains(&ended.exit_code);
    let fits = if wanted.operator == "NotIn" { !is_in } else { is_in };
    (ended.exit_code != 0 && fits).then_some((container.name.as_str(), ended.exit_code))
}

/// Gives the number of the first rule that the completed indexes fulfil.
///
/// *Source:* Kubernetes docs, "Jobs: Success policy".
pub(super) fn fulfilled(rules: &Rules, completed: &Indexes) -> Option<usize> {
    let policy = rules.spec.success_policy.as_ref().filter(|_| rules.is_indexed)?;
    let fulfils = |rule: &SuccessPolicyRule| {
        let among = rule.succeeded_indexes.as_deref();
        let among = among.map(|text| Indexes::parse(text, rules.n_indexes()));
        let n = among.as_ref().map_or(completed.len(), |among| completed.n_common(among));
        let count = rule.succeeded_count.and_then(|count| usize::try_from(count).ok());
        match (count, &among) {
            (Some(count), _) => n >= count,
            (None, Some(among)) => n == among.len(),
            (None, None) => false,
        }
    };
    policy.rules.iter().position(fulfils)
}
