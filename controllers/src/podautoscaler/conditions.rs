//! The conditions AbleToScale, ScalingActive and ScalingLimited, with upstream's words.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) const ABLE: &str = "AbleToScale";
pub(super) const ACTIVE: &str = "ScalingActive";
pub(super) const LIMITED: &str = "ScalingLimited";

/// Sets a condition; its time stays while its status does.
pub(super) fn set(
    status: &mut HorizontalPodAutoscalerStatus,
    kind: &str,
    value: bool,
    (reason, message): (&str, &str),
    now: Timestamp,
) {
    let value = if value { "True" } else { "False" };
    let all = status.conditions.get_or_insert_default();
    let place = all.iter().position(|condition| condition.type_ == kind);
    let before = place.and_then(|at| all.get(at)).filter(|before| before.status == value);
    let since = before.and_then(|before| before.last_transition_time.clone());
    let new = HorizontalPodAutoscalerCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(since.unwrap_or(Time(now))),
    };
    match place.and_then(|at| all.get_mut(at)) {
        Some(there) => *there = new,
        None => all.push(new),
    }
}
