//! The core group.

use super::*;

const fn core(
    name: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
) -> Subresource {
    Subresource { name, group: "", version: "v1", kind, verbs }
}

/// The selector of a ReplicationController is a bare map of labels.
const REPLICATION_CONTROLLER_SCALE: ScalePaths = WORKLOAD_SCALE;

pub(super) const KINDS: &[Kind] = &[
    BINDING,
    COMPONENT_STATUS,
    CONFIG_MAP,
    ENDPOINTS,
    EVENT,
    LIMIT_RANGE,
    NAMESPACE,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    PERSISTENT_VOLUME,
    POD,
    POD_TEMPLATE,
    REPLICATION_CONTROLLER,
    RESOURCE_QUOTA,
    SECRET,
    SERVICE_ACCOUNT,
    SERVICE,
];

const BINDING: Kind = Kind {
    kind: "Binding",
    plural: "bindings",
    singular: "binding",
    verbs: &["create"],
    rules: &Rules { validate: validate::plain::namespaced, ..PLAIN },
    ..NAMESPACED
};

const COMPONENT_STATUS: Kind = Kind {
    kind: "ComponentStatus",
    plural: "componentstatuses",
    singular: "componentstatus",
    short_names: &["cs"],
    verbs: &["get", "list"],
    rules: &Rules { validate: validate::plain::cluster, ..PLAIN },
    ..CLUSTER
};

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

const ENDPOINTS: Kind = Kind {
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    storage_version_hash: "fWeeMqaN/OA=",
    rules: &Rules {
        default: defaults::network::set_endpoints,
        create_on_update: true,
        validate: validate::endpoints::validate,
        validate_update: validate::endpoints::validate_update,
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
    rules: &EVENT_RULES,
    ..NAMESPACED
};

/// Rules of Events, whatever the version.
pub(super) const EVENT_RULES: Rules = Rules {
    selectable: select::EVENT,
    select: select::event,
    create_on_update: true,
    validate: validate::event::validate,
    validate_update: validate::event::validate_update,
    ..PLAIN
};

const LIMIT_RANGE: Kind = Kind {
    kind: "LimitRange",
    plural: "limitranges",
    singular: "limitrange",
    short_names: &["limits"],
    storage_version_hash: "EBKMFVe6cwo=",
    rules: &Rules {
        default: defaults::limitrange::set,
        create_on_update: true,
        validate: validate::quota::validate_range,
        validate_update: validate::quota::validate_range_update,
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

const PERSISTENT_VOLUME_CLAIM: Kind = Kind {
    kind: "PersistentVolumeClaim",
    plural: "persistentvolumeclaims",
    singular: "persistentvolumeclaim",
    short_names: &["pvc"],
    subresources: &[status("", "PersistentVolumeClaim")],
    storage_version_hash: "QWTyNDq0dC4=",
    rules: &Rules {
        prepare_create: strategy::pending,
        default: defaults::volumeclaim::set,
        validate: validate::storage::validate_claim,
        validate_update: validate::storage::validate_claim_update,
        ..STATUS
    },
    ..NAMESPACED
};

const PERSISTENT_VOLUME: Kind = Kind {
    kind: "PersistentVolume",
    plural: "persistentvolumes",
    singular: "persistentvolume",
    short_names: &["pv"],
    subresources: &[status("", "PersistentVolume")],
    storage_version_hash: "HN/zwEC+JgM=",
    rules: &Rules {
        prepare_create: strategy::pending,
        default: defaults::volumeclaim::set_volume,
        validate: validate::storage::validate_volume,
        validate_update: validate::storage::validate_volume_update,
        ..STATUS
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
        core("attach", "PodAttachOptions", &["create", "get"]),
        core("binding", "Binding", &["create"]),
        core("ephemeralcontainers", "Pod", READ_WRITE),
        Subresource {
            name: "eviction",
            group: "policy",
            version: "v1",
            kind: "Eviction",
            verbs: &["create"],
        },
        core("exec", "PodExecOptions", &["create", "get"]),
        core("log", "Pod", &["get"]),
        core("portforward", "PodPortForwardOptions", &["create", "get"]),
        core("proxy", "PodProxyOptions", PROXY_VERBS),
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

const POD_TEMPLATE: Kind = Kind {
    kind: "PodTemplate",
    plural: "podtemplates",
    singular: "podtemplate",
    storage_version_hash: "LIXB2x4IFpk=",
    rules: &Rules {
        default: defaults::podtemplate::set,
        validate: validate::podtemplate::validate,
        validate_update: validate::podtemplate::validate_update,
        ..GENERATION
    },
    ..NAMESPACED
};

const REPLICATION_CONTROLLER: Kind = Kind {
    kind: "ReplicationController",
    plural: "replicationcontrollers",
    singular: "replicationcontroller",
    short_names: &["rc"],
    categories: &["all"],
    subresources: &[SCALE, status("", "ReplicationController")],
    storage_version_hash: "Jond2If31h0=",
    rules: &Rules {
        default: defaults::replicationcontroller::set,
        scale: Some(REPLICATION_CONTROLLER_SCALE),
        selectable: select::REPLICAS,
        select: select::replicas,
        validate: validate::replicationcontroller::validate,
        validate_update: validate::replicationcontroller::validate_update,
        validate_status_update: validate::replicationcontroller::validate_status_update,
        ..WORKLOAD
    },
    ..NAMESPACED
};

const RESOURCE_QUOTA: Kind = Kind {
    kind: "ResourceQuota",
    plural: "resourcequotas",
    singular: "resourcequota",
    short_names: &["quota"],
    subresources: &[status("", "ResourceQuota")],
    storage_version_hash: "8uhSgffRX6w=",
    rules: &Rules {
        validate: validate::quota::validate,
        validate_update: validate::quota::validate_update,
        validate_status_update: validate::quota::validate_status_update,
        ..STATUS
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
    subresources: &[Subresource {
        name: "token",
        group: "authentication.k8s.io",
        version: "v1",
        kind: "TokenRequest",
        verbs: &["create"],
    }],
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
    subresources: &[core("proxy", "ServiceProxyOptions", PROXY_VERBS), status("", "Service")],
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
        validate_status_update: validate::service::validate_status_update,
        ..PLAIN
    },
    ..NAMESPACED
};
