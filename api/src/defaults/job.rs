//! Jobs and CronJobs: one pod that has to succeed once.

use serde_json::Value;

use super::fill::{Members, fill, fill_pointer, inside, items};
use super::{pod, replicationcontroller};

/// Times that a failed pod of a Job is replaced.
const BACKOFF_LIMIT: i64 = 6;

/// Fills a Job.
pub fn set(job: &mut Value) {
    let labels = job.pointer("/spec/template/metadata/labels").cloned();
    if let Some(spec) = job.get_mut("spec").and_then(Value::as_object_mut) {
        pod::set_template(spec);
        set_spec(spec);
    }
    if let Some(labels) = labels {
        replicationcontroller::set_labels(job, labels);
    }
}

fn set_spec(spec: &mut Members) {
    let absent = |spec: &Members, name: &str| spec.get(name).is_none_or(Value::is_null);
    if absent(spec, "completions") && absent(spec, "parallelism") {
        fill_pointer(spec, "completions", 1);
    }
    fill_pointer(spec, "parallelism", 1);
    let per_index = !absent(spec, "backoffLimitPerIndex");
    let limit = if per_index { i64::from(i32::MAX) } else { BACKOFF_LIMIT };
    fill_pointer(spec, "backoffLimit", limit);
    fill_pointer(spec, "completionMode", "NonIndexed");
    fill_pointer(spec, "suspend", false);
    fill_pointer(spec, "manualSelector", false);
    let has_policy = !absent(spec, "podFailurePolicy");
    let replaced = if has_policy { "Failed" } else { "TerminatingOrFailed" };
    fill_pointer(spec, "podReplacementPolicy", replaced);
    if let Some(policy) = inside(spec, "podFailurePolicy") {
        for rule in items(policy, "rules") {
            items(rule, "onPodConditions").for_each(|pattern| fill(pattern, "status", "True"));
        }
    }
}

/// Fills a CronJob. The Job that it makes is filled when it is made.
pub fn set_cron(cron: &mut Value) {
    let Some(spec) = cron.get_mut("spec").and_then(Value::as_object_mut) else { return };
    fill(spec, "concurrencyPolicy", "Allow");
    fill_pointer(spec, "suspend", false);
    fill_pointer(spec, "successfulJobsHistoryLimit", 3);
    fill_pointer(spec, "failedJobsHistoryLimit", 1);
    let template = inside(spec, "jobTemplate").and_then(|template| inside(template, "spec"));
    if let Some(job) = template {
        pod::set_template(job);
    }
}
