//! Workloads and what looks after them: `apps`, `batch`, `autoscaling`, `policy`.

use super::super::convert;
use super::*;

pub(super) const KINDS: &[Kind] = &[
    CONTROLLER_REVISION,
    DAEMON_SET,
    DEPLOYMENT,
    REPLICA_SET,
    STATEFUL_SET,
    CRON_JOB,
    JOB,
    HORIZONTAL_POD_AUTOSCALER_V2,
    HORIZONTAL_POD_AUTOSCALER_V1,
    POD_DISRUPTION_BUDGET,
];

const CONTROLLER_REVISION: Kind = Kind {
    group: "apps",
    kind: "ControllerRevision",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    storage_version_hash: "85nkx63pcBU=",
    rules: &Rules {
        validate: validate::controllerrevision::validate,
        validate_update: validate::controllerrevision::validate_update,
        ..PLAIN
    },
    ..NAMESPACED
};

const DAEMON_SET: Kind = Kind {
    group: "apps",
    kind: "DaemonSet",
    plural: "daemonsets",
    singular: "daemonset",
    short_names: &["ds"],
    categories: &["all"],
    subresources: &[status("apps", "DaemonSet")],
    storage_version_hash: "dd7pWHUlMKQ=",
    rules: &Rules {
        default: defaults::daemonset::set,
        validate: validate::daemonset::validate,
        validate_update: validate::daemonset::validate_update,
        validate_status_update: validate::daemonset::validate_status_update,
        ..WORKLOAD
    },
    ..NAMESPACED
};

const DEPLOYMENT: Kind = Kind {
    group: "apps",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    subresources: &[SCALE, status("apps", "Deployment")],
    storage_version_hash: "8aSe+NMegvE=",
    rules: &Rules {
        default: defaults::deployment::set,
        prepare_update: strategy::with_generation::update_or_annotations,
        prepare_status_update: strategy::status_and_metadata_but_labels,
        scale: Some(WORKLOAD_SCALE),
        validate: validate::deployment::validate,
        validate_update: validate::deployment::validate_update,
        validate_status_update: validate::deployment::validate_status_update,
        ..WORKLOAD
    },
    ..NAMESPACED
};

const REPLICA_SET: Kind = Kind {
    group: "apps",
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    categories: &["all"],
    subresources: &[SCALE, status("apps", "ReplicaSet")],
    storage_version_hash: "P1RzHs8/mWQ=",
    rules: &Rules {
        default: defaults::replicaset::set,
        scale: Some(WORKLOAD_SCALE),
        selectable: select::REPLICAS,
        select: select::replicas,
        validate: validate::replicaset::validate,
        validate_update: validate::replicaset::validate_update,
        validate_status_update: validate::replicaset::validate_status_update,
        ..WORKLOAD
    },
    ..NAMESPACED
};

const STATEFUL_SET: Kind = Kind {
    group: "apps",
    kind: "StatefulSet",
    plural: "statefulsets",
    singular: "statefulset",
    short_names: &["sts"],
    categories: &["all"],
    subresources: &[SCALE, status("apps", "StatefulSet")],
    storage_version_hash: "H+vl74LkKdo=",
    rules: &Rules {
        default: defaults::statefulset::set,
        scale: Some(WORKLOAD_SCALE),
        validate: validate::statefulset::validate,
        validate_update: validate::statefulset::validate_update,
        validate_status_update: validate::statefulset::validate_status_update,
        ..WORKLOAD
    },
    ..NAMESPACED
};

const CRON_JOB: Kind = Kind {
    group: "batch",
    kind: "CronJob",
    plural: "cronjobs",
    singular: "cronjob",
    short_names: &["cj"],
    categories: &["all"],
    subresources: &[status("batch", "CronJob")],
    storage_version_hash: "sd5LIXh4Fjs=",
    rules: &Rules {
        default: defaults::job::set_cron,
        validate: validate::cronjob::validate,
        validate_update: validate::cronjob::validate_update,
        ..WORKLOAD
    },
    ..NAMESPACED
};

const JOB: Kind = Kind {
    group: "batch",
    kind: "Job",
    plural: "jobs",
    singular: "job",
    categories: &["all"],
    subresources: &[status("batch", "Job")],
    storage_version_hash: "mudhfqk/qZY=",
    rules: &Rules {
        prepare_create: strategy::job::create,
        default: defaults::job::set,
        selectable: select::JOB,
        select: select::job,
        validate: validate::job::validate,
        validate_update: validate::job::validate_update,
        validate_status_update: validate::job::validate_status_update,
        ..WORKLOAD
    },
    ..NAMESPACED
};

const HORIZONTAL_POD_AUTOSCALER_V2: Kind = Kind {
    group: "autoscaling",
    version: "v2",
    kind: "HorizontalPodAutoscaler",
    plural: "horizontalpodautoscalers",
    singular: "horizontalpodautoscaler",
    short_names: &["hpa"],
    categories: &["all"],
    subresources: &[Subresource {
        version: "v2",
        ..status("autoscaling", "HorizontalPodAutoscaler")
    }],
    storage_version_hash: "qwQve8ut294=",
    rules: AUTOSCALER_RULES,
    ..NAMESPACED
};

const HORIZONTAL_POD_AUTOSCALER_V1: Kind = Kind {
    group: "autoscaling",
    kind: "HorizontalPodAutoscaler",
    plural: "horizontalpodautoscalers",
    singular: "horizontalpodautoscaler",
    short_names: &["hpa"],
    categories: &["all"],
    subresources: &[status("autoscaling", "HorizontalPodAutoscaler")],
    storage_version_hash: "qwQve8ut294=",
    stored: Some(&convert::autoscaler::V1),
    rules: AUTOSCALER_RULES,
    ..NAMESPACED
};

const AUTOSCALER_RULES: &Rules = &Rules {
    default: defaults::autoscaler::set,
    validate: validate::autoscaler::validate,
    validate_update: validate::autoscaler::validate_update,
    ..STATUS
};

const POD_DISRUPTION_BUDGET: Kind = Kind {
    group: "policy",
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
    singular: "poddisruptionbudget",
    short_names: &["pdb"],
    subresources: &[status("policy", "PodDisruptionBudget")],
    storage_version_hash: "EVWiDmWqyJw=",
    rules: &Rules {
        unconditional_update: false,
        validate: validate::disruptionbudget::validate,
        validate_update: validate::disruptionbudget::validate_update,
        validate_status_update: validate::disruptionbudget::validate_status_update,
        ..WORKLOAD
    },
    ..NAMESPACED
};
