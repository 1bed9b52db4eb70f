//! How the cluster is run: `scheduling.k8s.io`, `coordination.k8s.io`, `node.k8s.io`,
//! `flowcontrol.apiserver.k8s.io`.

use super::*;

pub(super) const KINDS: &[Kind] =
    &[PRIORITY_CLASS, LEASE, RUNTIME_CLASS, FLOW_SCHEMA, PRIORITY_LEVEL_CONFIGURATION];

const PRIORITY_CLASS: Kind = Kind {
    group: "scheduling.k8s.io",
    kind: "PriorityClass",
    plural: "priorityclasses",
    singular: "priorityclass",
    short_names: &["pc"],
    storage_version_hash: "1QwjyaZjj3Y=",
    rules: &Rules {
        default: defaults::priorityclass::set,
        prepare_create: strategy::with_generation::create_without_status,
        has_generation: true,
        validate: validate::priorityclass::validate,
        validate_update: validate::priorityclass::validate_update,
        ..PLAIN
    },
    ..CLUSTER
};

const LEASE: Kind = Kind {
    group: "coordination.k8s.io",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    storage_version_hash: "gqkMMb/YqFM=",
    rules: &Rules {
        create_on_update: true,
        unconditional_update: false,
        validate: validate::lease::validate,
        validate_update: validate::lease::validate_update,
        ..PLAIN
    },
    ..NAMESPACED
};

const RUNTIME_CLASS: Kind = Kind {
    group: "node.k8s.io",
    kind: "RuntimeClass",
    plural: "runtimeclasses",
    singular: "runtimeclass",
    storage_version_hash: "WQTu1GL3T2Q=",
    rules: &Rules {
        unconditional_update: false,
        validate: validate::runtimeclass::validate,
        validate_update: validate::runtimeclass::validate_update,
        ..PLAIN
    },
    ..CLUSTER
};

const FLOW_SCHEMA: Kind = Kind {
    group: "flowcontrol.apiserver.k8s.io",
    kind: "FlowSchema",
    plural: "flowschemas",
    singular: "flowschema",
    subresources: &[status("flowcontrol.apiserver.k8s.io", "FlowSchema")],
    storage_version_hash: "GJVAJZSZBIw=",
    rules: &Rules {
        default: defaults::flowcontrol::set_schema,
        unconditional_update: false,
        validate: validate::flowschema::validate,
        validate_update: validate::flowschema::validate_update,
        validate_status_update: validate::flowschema::validate_status_update,
        ..WORKLOAD
    },
    ..CLUSTER
};

const PRIORITY_LEVEL_CONFIGURATION: Kind = Kind {
    group: "flowcontrol.apiserver.k8s.io",
    kind: "PriorityLevelConfiguration",
    plural: "prioritylevelconfigurations",
    singular: "prioritylevelconfiguration",
    subresources: &[status("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration")],
    storage_version_hash: "Kir5PVfvNeI=",
    rules: &Rules {
        default: defaults::flowcontrol::set_level,
        unconditional_update: false,
        validate: validate::prioritylevel::validate,
        validate_update: validate::prioritylevel::validate_update,
        validate_status_update: validate::prioritylevel::validate_status_update,
        ..WORKLOAD
    },
    ..CLUSTER
};
