//! How fast a recommendation may become true: windows and policies.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{HPAScalingPolicy, HPAScalingRules};

use super::{Memory, Observed};

/// Most that is remembered of either list: an hour, the longest window, of passes.
const REMEMBERED_MAX: usize = 4 * 60 + 1;

/// The longest window of a policy or a stabilisation. *Source:* the API's validation.
const WINDOW_MAX: SignedDuration = SignedDuration::from_hours(1);

/// The rules in one direction, resolved.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    window: SignedDuration,
    select: String,
    policies: Vec<HPAScalingPolicy>,
}

impl Rules {
    /// Gives the rules for growing. *Source:* `HPAScalingRules` in the API reference: by default
    /// the larger of doubling and four pods in 15 seconds, at once.
    pub(super) fn up(observed: &Observed) -> Rules {
        let spec = observed.autoscaler.spec.as_ref();
        let given = spec.and_then(|spec| spec.behavior.as_ref()?.scale_up.clone());
        Rules::of(given, 0, vec![policy("Pods", 4), policy("Percent", 100)])
    }

    /// Gives the rules for shrinking: by default to the least, after five minutes.
    pub(super) fn down(observed: &Observed) -> Rules {
        let spec = observed.autoscaler.spec.as_ref();
        let given = spec.and_then(|spec| spec.behavior.as_ref()?.scale_down.clone());
        Rules::of(given, 300, vec![policy("Percent", 100)])
    }

    fn of(given: Option<HPAScalingRules>, window: i32, default: Vec<HPAScalingPolicy>) -> Rules {
        let given = given.unwrap_or_default();
        let seconds = given.stabilization_window_seconds.unwrap_or(window);
        Rules {
            window: SignedDuration::from_secs(seconds.into()).min(WINDOW_MAX),
            select: given.select_policy.unwrap_or_else(|| "Max".to_owned()),
            policies: given.policies.filter(|all| !all.is_empty()).unwrap_or(default),
        }
    }
}

fn policy(kind: &str, value: i32) -> HPAScalingPolicy {
    HPAScalingPolicy { type_: kind.to_owned(), value, period_seconds: 15 }
}

/// Notes a recommendation and forgets what no window reaches.
///
/// One that remembers nothing has only just begun, and takes the size that it finds for
/// recommended: a restart of the server shrinks nobody.
pub(super) fn remember(memory: &mut Memory, current: i32, recommended: i32, now: Timestamp) {
    if memory.recommended.is_empty() {
        memory.recommended.push((now, current));
    }
    memory.recommended.push((now, recommended));
    for list in [&mut memory.recommended, &mut memory.changed] {
        list.retain(|(time, _)| now.duration_since(*time) <= WINDOW_MAX);
        let surplus = list.len().saturating_sub(REMEMBERED_MAX);
        list.drain(..surplus);
    }
}

/// Gives the calmest size between those recommended lately: growing waits for the least of its
/// window, shrinking for the most.
pub(super) fn stabilize(
    memory: &Memory,
    (up, down): (&Rules, &Rules),
    current: i32,
    recommended: i32,
    now: Timestamp,
) -> i32 {
    let within = |rules: &Rules| {
        let window = rules.window;
        let recent = memory.recommended.iter();
        recent.filter(move |(time, _)| now.duration_since(*time) < window).map(|(_, n)| *n)
    };
    let least = within(up).fold(recommended, i32::min);
    let most = within(down).fold(recommended, i32::max);
    current.max(least).min(most)
}

/// Gives the largest size that the rules for growing allow now.
pub(super) fn ceiling(memory: &Memory, rules: &Rules, current: i32, now: Timestamp) -> i32 {
    let limit = |policy: &HPAScalingPolicy| {
        let start = at_start(memory, policy, current, now);
        if policy.type_ == "Pods" {
            start.saturating_add(policy.value)
        } else {
            let hundredths = i64::from(start) * (100 + i64::from(policy.value));
            i32::try_from((hundredths + 99) / 100).unwrap_or(i32::MAX)
        }
    };
    let limits = rules.policies.iter().map(limit);
    let limit = match rules.select.as_str() {
        "Disabled" => return current,
        "Min" => limits.min(),
        _ => limits.max(),
    };
    limit.unwrap_or(current).max(current)
}

/// Gives the smallest size that the rules for shrinking allow now.
pub(super) fn floor(memory: &Memory, rules: &Rules, current: i32, now: Timestamp) -> i32 {
    let limit = |policy: &HPAScalingPolicy| {
        let start = at_start(memory, policy, current, now);
        if policy.type_ == "Pods" {
            start.saturating_sub(policy.value)
        } else {
            let hundredths = i64::from(start) * (100 - i64::from(policy.value));
            i32::try_from(hundredths.max(0) / 100).unwrap_or(0)
        }
    };
    let limits = rules.policies.iter().map(limit);
    let limit = match rules.select.as_str() {
        "Disabled" => return current,
        "Min" => limits.max(),
        _ => limits.min(),
    };
    limit.unwrap_or(current).min(current).max(0)
}

/// Gives the size at the beginning of a policy's period.
fn at_start(memory: &Memory, policy: &HPAScalingPolicy, current: i32, now: Timestamp) -> i32 {
    let period = SignedDuration::from_secs(policy.period_seconds.into());
    let recent = memory.changed.iter().filter(|(time, _)| now.duration_since(*time) < period);
    recent.fold(current, |size, (_, change)| size.saturating_sub(*change))
}
