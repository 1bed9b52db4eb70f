//! The list of kinds, in the order in which discovery shows their groups.
//!
//! Names, verbs and hashes are those of kube-apiserver 1.35.4 (its discovery documents).

use super::{Kind, Rules, ScalePaths, Subresource, select, strategy};
use crate::{defaults, validate};

const EVERY_VERB: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const NAMESPACE_VERBS: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const READ_WRITE: &[&str] = &["get", "patch", "update"];
const PROXY_VERBS: &[&str] = &["create", "delete", "get", "patch", "update"];

/// Returns every kind that is served.
pub fn kinds() -> &'static [Kind] {
    KINDS
}

const fn status(group: &'static str, kind: &'static str) -> Subresource {
    Subresource { name: "status", group, version: "v1", kind, verbs: READ_WRITE }
}

const SCALE: Subresource = Subresource {
    name: "scale",
    group: "autoscaling",
    version: "v1",
    kind: "Scale",
    verbs: READ_WRITE,
};

const fn core(
    name: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
) -> Subresource {
    Subresource { name, group: "", version: "v1", kind, verbs }
}

/// A namespaced core kind without short names; entries override what differs.
const NAMESPACED: Kind = Kind {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    singular: "",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: EVERY_VERB,
    subresources: &[],
    storage_version_hash: "",
    rules: &PLAIN,
};

const CLUSTER: Kind = Kind { namespaced: false, ..NAMESPACED };

static KINDS: &[Kind] = &[
    CONFIG_MAP,
    EVENT,
    NAMESPACE,
    NODE,
    POD,
    SECRET,
    SERVICE_ACCOUNT,
    SERVICE,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    REPLICA_SET,
    PRIORITY_CLASS,
    LEASE,
    ENDPOINT_SLICE,
];

const CONFIG_MAP: Kind = Kind {
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    storage_version_hash: "qFsyl6wFWjQ=",
    rules: &Rules {
        validate: validate::configmap::validate,
        validate_update: validate::configmap::validate_update,
        ..PLAIN
    },
    ..NAMESPACED
};

const EVENT: Kind = Kind {
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    storage_version_hash: "r2yiGXH7wu8=",
    rules: &Rules {
        selectable: select::EVENT,
        select: select::event,
        create_on_update: true,
        validate: validate::event::validate,
        validate_update: validate::event::validate_update,
        ..PLAIN
    },
    ..NAMESPACED
};

const NAMESPACE: Kind = Kind {
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    verbs: NAMESPACE_VERBS,
    subresources: &[core("finalize", "Namespace", &["update"]), status("", "Namespace")],
    storage_version_hash: "Q3oi5N2YM8M=",
    rules: &Rules {
        default: defaults::namespace::set,
        prepare_create: strategy::namespace::create,
        prepare_update: strategy::namespace::update,
        prepare_status_update: strategy::status_only,
        selectable: select::NAMESPACE,
        select: select::namespace,
        validate: validate::namespace::validate,
        validate_update: validate::namespace::validate_update,
        validate_status_update: validate::namespace::validate_status_update,
        ..PLAIN
    },
    ..CLUSTER
};

const NODE: Kind = Kind {
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    subresources: &[core("proxy", "NodeProxyOptions", PROXY_VERBS), status("", "Node")],
    storage_version_hash: "XwShjMxG9Fs=",
    rules: &Rules {
        default: defaults::node::set,
        prepare_update: strategy::keep_status,
        prepare_status_update: strategy::status_and_metadata,
        selectable: select::NODE,
        select: select::node,
        validate: validate::node::validate,
        validate_update: validate::node::validate_update,
        validate_status_update: validate::node::validate_update,
        ..PLAIN
    },
    ..CLUSTER
};

const POD: Kind = Kind {
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    subresources: &[
        core("binding", "Binding", &["create"]),
        core("log", "Pod", &["get"]),
        status("", "Pod"),
    ],
    storage_version_hash: "xPOwRZ+Yhw8=",
    rules: &Rules {
        default: defaults::pod::set,
        prepare_create: strategy::pod::create,
        prepare_update: strategy::with_generation::update,
        prepare_status_update: strategy::pod::update_status,
        selectable: select::POD,
        select: select::pod,
        has_generation: true,
        grace_period: Some(strategy::pod::grace_period_seconds),
        validate: validate::pod::validate,
        validate_update: validate::pod::validate_update,
        validate_status_update: validate::pod::validate_status_update,
        ..PLAIN
    },
    ..NAMESPACED
};

const SECRET: Kind = Kind {
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    storage_version_hash: "S6u1pOWzb84=",
    rules: &Rules {
        default: defaults::secret::set,
        selectable: select::SECRET,
        select: select::secret,
        validate: validate::secret::validate,
        validate_update: validate::secret::validate_update,
        ..PLAIN
    },
    ..NAMESPACED
};

const SERVICE_ACCOUNT: Kind = Kind {
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    storage_version_hash: "pbx9ZvyFpBE=",
    rules: &Rules {
        validate: validate::serviceaccount::validate,
        validate_update: validate::serviceaccount::validate_update,
        ..PLAIN
    },
    ..NAMESPACED
};

const SERVICE: Kind = Kind {
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    subresources: &[status("", "Service")],
    storage_version_hash: "0/CO1lhkEBI=",
    rules: &Rules {
        default: defaults::service::set,
        prepare_create: strategy::service::create,
        prepare_update: strategy::service::update,
        prepare_status_update: strategy::status_and_metadata,
        selectable: select::SERVICE,
        select: select::service,
        validate: validate::service::validate,
        validate_update: validate::service::validate_update,
        ..PLAIN
    },
    ..NAMESPACED
};

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
        validate: validate::replicaset::validate,
        validate_update: validate::replicaset::validate_update,
        validate_status_update: validate::replicaset::validate_status_update,
        ..WORKLOAD
    },
    ..NAMESPACED
};

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

const ENDPOINT_SLICE: Kind = Kind {
    group: "discovery.k8s.io",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    storage_version_hash: "qgS0xkrxYAI=",
    rules: &Rules {
        default: defaults::endpointslice::set,
        prepare_create: strategy::with_generation::create_without_status,
        prepare_update: strategy::endpointslice::update,
        has_generation: true,
        validate: validate::endpointslice::validate,
        validate_update: validate::endpointslice::validate_update,
        ..PLAIN
    },
    ..NAMESPACED
};

const WORKLOAD_SCALE: ScalePaths = ScalePaths {
    spec_replicas: "/spec/replicas",
    status_replicas: "/status/replicas",
    selector: "/spec/selector",
};

/// Rules of a kind without status, defaults or further selectable fields.
const PLAIN: Rules = Rules {
    default: strategy::leave,
    prepare_create: strategy::leave,
    prepare_update: strategy::leave_update,
    prepare_status_update: strategy::status_only,
    validate: strategy::accept,
    validate_update: strategy::accept_update,
    validate_status_update: validate::metadata::validate_update,
    selectable: &[],
    select: select::none,
    has_generation: false,
    unconditional_update: true,
    create_on_update: false,
    grace_period: None,
    scale: None,
};

/// Rules of a kind with a spec that is counted and a status that controllers write.
const WORKLOAD: Rules = Rules {
    prepare_create: strategy::with_generation::create,
    prepare_update: strategy::with_generation::update,
    has_generation: true,
    ..PLAIN
};
