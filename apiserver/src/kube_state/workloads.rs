//! Deployments and their kin, Jobs, autoscalers and disruption budgets.

use super::page::{Family, Labels, Lines, flag, gauge};
use super::rows::{Condition, Meta, Nothing, Row, seconds};
use jiff::Timestamp;
use serde::Deserialize;

/// The states of a condition, as the label has them.
const CONDITION_STATES: [(&str, &str); 3] =
    [("True", "true"), ("False", "false"), ("Unknown", "unknown")];

/// `spec` of a workload; each kind has some of these fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    replicas: Option<i32>,
    paused: bool,
    suspend: bool,
    schedule: String,
    concurrency_policy: String,
    completions: Option<i32>,
    parallelism: Option<i32>,
    min_replicas: Option<i32>,
    max_replicas: i32,
}

/// `status` of a workload; each kind has some of these fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    observed_generation: i64,
    replicas: i32,
    ready_replicas: i32,
    available_replicas: i32,
    unavailable_replicas: i32,
    updated_replicas: i32,
    current_replicas: i32,
    desired_replicas: i32,
    fully_labeled_replicas: i32,
    current_revision: String,
    update_revision: String,
    current_number_scheduled: i32,
    desired_number_scheduled: i32,
    updated_number_scheduled: i32,
    number_available: i32,
    number_unavailable: i32,
    number_misscheduled: i32,
    number_ready: i32,
    succeeded: i32,
    failed: i32,
    start_time: Option<Timestamp>,
    completion_time: Option<Timestamp>,
    last_schedule_time: Option<Timestamp>,
    current_healthy: i32,
    desired_healthy: i32,
    disruptions_allowed: i32,
    expected_pods: i32,
    conditions: Vec<Condition>,
}

/// `status` of a Job.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct JobStatus {
    active: i32,
    #[serde(flatten)]
    common: Status,
}

/// `status` of a CronJob.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CronStatus {
    active: Vec<Nothing>,
    #[serde(flatten)]
    common: Status,
}

type Workload = Row<Spec, Status>;

/// Metrics of Deployments.
pub(super) const DEPLOYMENTS: &[Family<Workload>] = &[
    gauge("kube_deployment_created", |each, out| {
        out.maybe(
            &own(&each.metadata, "deployment"),
            &[],
            seconds(each.metadata.creation_timestamp),
        );
    }),
    gauge("kube_deployment_metadata_generation", |each, out| {
        out.add(&own(&each.metadata, "deployment"), &[], each.metadata.generation as f64);
    }),
    gauge("kube_deployment_spec_replicas", |each, out| {
        out.add(
            &own(&each.metadata, "deployment"),
            &[],
            f64::from(each.spec.replicas.unwrap_or(1)),
        );
    }),
    gauge("kube_deployment_spec_paused", |each, out| {
        out.add(&own(&each.metadata, "deployment"), &[], flag(each.spec.paused));
    }),
    gauge("kube_deployment_status_observed_generation", |each, out| {
        out.add(&own(&each.metadata, "deployment"), &[], each.status.observed_generation as f64);
    }),
    gauge("kube_deployment_status_replicas", |each, out| {
        out.add(&own(&each.metadata, "deployment"), &[], f64::from(each.status.replicas));
    }),
    gauge("kube_deployment_status_replicas_ready", |each, out| {
        out.add(&own(&each.metadata, "deployment"), &[], f64::from(each.status.ready_replicas));
    }),
    gauge("kube_deployment_status_replicas_available", |each, out| {
        out.add(&own(&each.metadata, "deployment"), &[], f64::from(each.status.available_replicas));
    }),
    gauge("kube_deployment_status_replicas_unavailable", |each, out| {
        out.add(
            &own(&each.metadata, "deployment"),
            &[],
            f64::from(each.status.unavailable_replicas),
        );
    }),
    gauge("kube_deployment_status_replicas_updated", |each, out| {
        out.add(&own(&each.metadata, "deployment"), &[], f64::from(each.status.updated_replicas));
    }),
    gauge("kube_deployment_status_condition", |each, out| {
        conditions(&own(&each.metadata, "deployment"), &each.status.conditions, out);
    }),
];

/// Metrics of ReplicaSets.
pub(super) const REPLICA_SETS: &[Family<Workload>] = &[
    gauge("kube_replicaset_created", |each, out| {
        out.maybe(
            &own(&each.metadata, "replicaset"),
            &[],
            seconds(each.metadata.creation_timestamp),
        );
    }),
    gauge("kube_replicaset_metadata_generation", |each, out| {
        out.add(&own(&each.metadata, "replicaset"), &[], each.metadata.generation as f64);
    }),
    gauge("kube_replicaset_owner", |each, out| {
        owners(each, "replicaset", out);
    }),
    gauge("kube_replicaset_spec_replicas", |each, out| {
        out.add(
            &own(&each.metadata, "replicaset"),
            &[],
            f64::from(each.spec.replicas.unwrap_or(1)),
        );
    }),
    gauge("kube_replicaset_status_observed_generation", |each, out| {
        out.add(&own(&each.metadata, "replicaset"), &[], each.status.observed_generation as f64);
    }),
    gauge("kube_replicaset_status_replicas", |each, out| {
        out.add(&own(&each.metadata, "replicaset"), &[], f64::from(each.status.replicas));
    }),
    gauge("kube_replicaset_status_ready_replicas", |each, out| {
        out.add(&own(&each.metadata, "replicaset"), &[], f64::from(each.status.ready_replicas));
    }),
    gauge("kube_replicaset_status_fully_labeled_replicas", |each, out| {
        out.add(
            &own(&each.metadata, "replicaset"),
            &[],
            f64::from(each.status.fully_labeled_replicas),
        );
    }),
];

/// Metrics of StatefulSets.
pub(super) const STATEFUL_SETS: &[Family<Workload>] = &[
    gauge("kube_statefulset_created", |each, out| {
        out.maybe(
            &own(&each.metadata, "statefulset"),
            &[],
            seconds(each.metadata.creation_timestamp),
        );
    }),
    gauge("kube_statefulset_metadata_generation", |each, out| {
        out.add(&own(&each.metadata, "statefulset"), &[], each.metadata.generation as f64);
    }),
    gauge("kube_statefulset_replicas", |each, out| {
        out.add(
            &own(&each.metadata, "statefulset"),
            &[],
            f64::from(each.spec.replicas.unwrap_or(1)),
        );
    }),
    gauge("kube_statefulset_status_observed_generation", |each, out| {
        out.add(&own(&each.metadata, "statefulset"), &[], each.status.observed_generation as f64);
    }),
    gauge("kube_statefulset_status_replicas", |each, out| {
        out.add(&own(&each.metadata, "statefulset"), &[], f64::from(each.status.replicas));
    }),
    gauge("kube_statefulset_status_replicas_ready", |each, out| {
        out.add(&own(&each.metadata, "statefulset"), &[], f64::from(each.status.ready_replicas));
    }),
    gauge("kube_statefulset_status_replicas_available", |each, out| {
        out.add(
            &own(&each.metadata, "statefulset"),
            &[],
            f64::from(each.status.available_replicas),
        );
    }),
    gauge("kube_statefulset_status_replicas_current", |each, out| {
        out.add(&own(&each.metadata, "statefulset"), &[], f64::from(each.status.current_replicas));
    }),
    gauge("kube_statefulset_status_replicas_updated", |each, out| {
        out.add(&own(&each.metadata, "statefulset"), &[], f64::from(each.status.updated_replicas));
    }),
    gauge("kube_statefulset_status_current_revision", |each, out| {
        out.add(
            &own(&each.metadata, "statefulset"),
            &[("revision", &each.status.current_revision)],
            1.0,
        );
    }),
    gauge("kube_statefulset_status_update_revision", |each, out| {
        out.add(
            &own(&each.metadata, "statefulset"),
            &[("revision", &each.status.update_revision)],
            1.0,
        );
    }),
];

/// Metrics of DaemonSets.
pub(super) const DAEMON_SETS: &[Family<Workload>] = &[
    gauge("kube_daemonset_created", |each, out| {
        out.maybe(
            &own(&each.metadata, "daemonset"),
            &[],
            seconds(each.metadata.creation_timestamp),
        );
    }),
    gauge("kube_daemonset_metadata_generation", |each, out| {
        out.add(&own(&each.metadata, "daemonset"), &[], each.metadata.generation as f64);
    }),
    gauge("kube_daemonset_status_observed_generation", |each, out| {
        out.add(&own(&each.metadata, "daemonset"), &[], each.status.observed_generation as f64);
    }),
    gauge("kube_daemonset_status_current_number_scheduled", |each, out| {
        out.add(
            &own(&each.metadata, "daemonset"),
            &[],
            f64::from(each.status.current_number_scheduled),
        );
    }),
    gauge("kube_daemonset_status_desired_number_scheduled", |each, out| {
        out.add(
            &own(&each.metadata, "daemonset"),
            &[],
            f64::from(each.status.desired_number_scheduled),
        );
    }),
    gauge("kube_daemonset_status_number_available", |each, out| {
        out.add(&own(&each.metadata, "daemonset"), &[], f64::from(each.status.number_available));
    }),
    gauge("kube_daemonset_status_number_unavailable", |each, out| {
        out.add(&own(&each.metadata, "daemonset"), &[], f64::from(each.status.number_unavailable));
    }),
    gauge("kube_daemonset_status_number_misscheduled", |each, out| {
        out.add(&own(&each.metadata, "daemonset"), &[], f64::from(each.status.number_misscheduled));
    }),
    gauge("kube_daemonset_status_number_ready", |each, out| {
        out.add(&own(&each.metadata, "daemonset"), &[], f64::from(each.status.number_ready));
    }),
    gauge("kube_daemonset_status_updated_number_scheduled", |each, out| {
        out.add(
            &own(&each.metadata, "daemonset"),
            &[],
            f64::from(each.status.updated_number_scheduled),
        );
    }),
];

/// Metrics of Jobs.
pub(super) const JOBS: &[Family<Row<Spec, JobStatus>>] = &[
    gauge("kube_job_created", |each, out| {
        out.maybe(&own(&each.metadata, "job_name"), &[], seconds(each.metadata.creation_timestamp));
    }),
    gauge("kube_job_owner", |each, out| {
        owners(each, "job_name", out);
    }),
    gauge("kube_job_spec_completions", |each, out| {
        out.maybe(&own(&each.metadata, "job_name"), &[], each.spec.completions.map(f64::from));
    }),
    gauge("kube_job_spec_parallelism", |each, out| {
        out.maybe(&own(&each.metadata, "job_name"), &[], each.spec.parallelism.map(f64::from));
    }),
    gauge("kube_job_status_active", |each, out| {
        out.add(&own(&each.metadata, "job_name"), &[], f64::from(each.status.active));
    }),
    gauge("kube_job_status_succeeded", |each, out| {
        out.add(&own(&each.metadata, "job_name"), &[], f64::from(each.status.common.succeeded));
    }),
    gauge("kube_job_status_failed", |each, out| {
        out.add(&own(&each.metadata, "job_name"), &[], f64::from(each.status.common.failed));
    }),
    gauge("kube_job_status_start_time", |each, out| {
        out.maybe(&own(&each.metadata, "job_name"), &[], seconds(each.status.common.start_time));
    }),
    gauge("kube_job_status_completion_time", |each, out| {
        out.maybe(
            &own(&each.metadata, "job_name"),
            &[],
            seconds(each.status.common.completion_time),
        );
    }),
    gauge("kube_job_complete", |each, out| {
        ended(&own(&each.metadata, "job_name"), &each.status.common.conditions, "Complete", out);
    }),
    gauge("kube_job_failed", |each, out| {
        ended(&own(&each.metadata, "job_name"), &each.status.common.conditions, "Failed", out);
    }),
];

/// Metrics of CronJobs.
pub(super) const CRON_JOBS: &[Family<Row<Spec, CronStatus>>] = &[
    gauge("kube_cronjob_created", |each, out| {
        out.maybe(&own(&each.metadata, "cronjob"), &[], seconds(each.metadata.creation_timestamp));
    }),
    gauge("kube_cronjob_info", |each, out| {
        out.add(
            &own(&each.metadata, "cronjob"),
            &[
                ("schedule", &each.spec.schedule),
                ("concurrency_policy", &each.spec.concurrency_policy),
            ],
            1.0,
        );
    }),
    gauge("kube_cronjob_spec_suspend", |each, out| {
        out.add(&own(&each.metadata, "cronjob"), &[], flag(each.spec.suspend));
    }),
    gauge("kube_cronjob_status_active", |each, out| {
        out.add(&own(&each.metadata, "cronjob"), &[], each.status.active.len() as f64);
    }),
    gauge("kube_cronjob_status_last_schedule_time", |each, out| {
        out.maybe(
            &own(&each.metadata, "cronjob"),
            &[],
            seconds(each.status.common.last_schedule_time),
        );
    }),
];

/// Metrics of HorizontalPodAutoscalers.
pub(super) const AUTOSCALERS: &[Family<Workload>] = &[
    gauge("kube_horizontalpodautoscaler_metadata_generation", |each, out| {
        out.add(
            &own(&each.metadata, "horizontalpodautoscaler"),
            &[],
            each.metadata.generation as f64,
        );
    }),
    gauge("kube_horizontalpodautoscaler_spec_min_replicas", |each, out| {
        out.add(
            &own(&each.metadata, "horizontalpodautoscaler"),
            &[],
            f64::from(each.spec.min_replicas.unwrap_or(1)),
        );
    }),
    gauge("kube_horizontalpodautoscaler_spec_max_replicas", |each, out| {
        out.add(
            &own(&each.metadata, "horizontalpodautoscaler"),
            &[],
            f64::from(each.spec.max_replicas),
        );
    }),
    gauge("kube_horizontalpodautoscaler_status_current_replicas", |each, out| {
        out.add(
            &own(&each.metadata, "horizontalpodautoscaler"),
            &[],
            f64::from(each.status.current_replicas),
        );
    }),
    gauge("kube_horizontalpodautoscaler_status_desired_replicas", |each, out| {
        out.add(
            &own(&each.metadata, "horizontalpodautoscaler"),
            &[],
            f64::from(each.status.desired_replicas),
        );
    }),
    gauge("kube_horizontalpodautoscaler_status_condition", |each, out| {
        conditions(&own(&each.metadata, "horizontalpodautoscaler"), &each.status.conditions, out);
    }),
];

/// Metrics of PodDisruptionBudgets.
pub(super) const BUDGETS: &[Family<Workload>] = &[
    gauge("kube_poddisruptionbudget_created", |each, out| {
        out.maybe(
            &own(&each.metadata, "poddisruptionbudget"),
            &[],
            seconds(each.metadata.creation_timestamp),
        );
    }),
    gauge("kube_poddisruptionbudget_status_current_healthy", |each, out| {
        out.add(
            &own(&each.metadata, "poddisruptionbudget"),
            &[],
            f64::from(each.status.current_healthy),
        );
    }),
    gauge("kube_poddisruptionbudget_status_desired_healthy", |each, out| {
        out.add(
            &own(&each.metadata, "poddisruptionbudget"),
            &[],
            f64::from(each.status.desired_healthy),
        );
    }),
    gauge("kube_poddisruptionbudget_status_pod_disruptions_allowed", |each, out| {
        out.add(
            &own(&each.metadata, "poddisruptionbudget"),
            &[],
            f64::from(each.status.disruptions_allowed),
        );
    }),
    gauge("kube_poddisruptionbudget_status_expected_pods", |each, out| {
        out.add(
            &own(&each.metadata, "poddisruptionbudget"),
            &[],
            f64::from(each.status.expected_pods),
        );
    }),
    gauge("kube_poddisruptionbudget_status_observed_generation", |each, out| {
        out.add(
            &own(&each.metadata, "poddisruptionbudget"),
            &[],
            each.status.observed_generation as f64,
        );
    }),
];

/// The labels that say which object it is.
fn own<'a>(meta: &'a Meta, label: &'a str) -> [(&'a str, &'a str); 2] {
    [("namespace", &meta.namespace), (label, &meta.name)]
}

fn owners<T>(each: &Row<Spec, T>, label: &str, out: &mut Lines<'_>) {
    let own = own(&each.metadata, label);
    for owner in &each.metadata.owner_references {
        let controls = if owner.controller { "true" } else { "false" };
        let more = [
            ("owner_kind", owner.kind.as_str()),
            ("owner_name", &owner.name),
            ("owner_is_controller", controls),
        ];
        out.add(&own, &more, 1.0);
    }
    if each.metadata.owner_references.is_empty() {
        let more = [("owner_kind", ""), ("owner_name", ""), ("owner_is_controller", "")];
        out.add(&own, &more, 1.0);
    }
}

fn conditions(own: Labels<'_>, conditions: &[Condition], out: &mut Lines<'_>) {
    for condition in conditions {
        for (state, word) in CONDITION_STATES {
            let more = [
                ("condition", condition.r#type.as_str()),
                ("reason", &condition.reason),
                ("status", word),
            ];
            out.add(own, &more, flag(condition.status == state));
        }
    }
}

/// How a Job ended, if it ended this way.
fn ended(own: Labels<'_>, conditions: &[Condition], wanted: &str, out: &mut Lines<'_>) {
    if let Some(found) = conditions.iter().find(|condition| condition.r#type == wanted) {
        for (state, word) in CONDITION_STATES {
            out.add(own, &[("condition", word)], flag(found.status == state));
        }
    }
}
