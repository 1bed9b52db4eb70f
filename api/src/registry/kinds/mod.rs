//! The list of kinds, a file for each few groups.
//!
//! Names, verbs and hashes are those of kube-apiserver 1.35.4 (its discovery documents).

mod access;
mod apps;
mod cluster;
mod core;
mod events;
mod extension;
mod network;
mod review;
mod storage;

use std::sync::LazyLock;

use super::{Kind, Rules, ScalePaths, Subresource, select, strategy};
use crate::{defaults, validate};

const EVERY_VERB: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const NAMESPACE_VERBS: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const READ_WRITE: &[&str] = &["get", "patch", "update"];
const PROXY_VERBS: &[&str] = &["create", "delete", "get", "patch", "update"];

/// Groups in the order in which discovery shows them, versions of one group by preference.
///
/// *Source:* group and version priorities of kube-apiserver's aggregator.
const ORDER: &[&str] = &[
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
];

static KINDS: LazyLock<Box<[Kind]>> = LazyLock::new(|| {
    let parts = [
        core::KINDS,
        apps::KINDS,
        events::KINDS,
        review::KINDS,
        access::KINDS,
        network::KINDS,
        storage::KINDS,
        cluster::KINDS,
        extension::KINDS,
    ];
    let mut kinds = parts.concat();
    // Stable, so that kinds and versions of one group stay as their file has them.
    kinds.sort_by_key(|kind| ORDER.iter().position(|group| *group == kind.group));
    kinds.into()
});

/// Returns every built-in kind that is served.
pub fn kinds() -> &'static [Kind] {
    &KINDS
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
    stored: None,
    rules: &PLAIN,
    custom: None,
};

const CLUSTER: Kind = Kind { namespaced: false, ..NAMESPACED };

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
    prepare_status_update: strategy::status_and_metadata,
    validate: strategy::accept,
    validate_update: validate::metadata::validate_update,
    validate_status_update: validate::metadata::validate_update,
    selectable: &[],
    select: select::none,
    has_generation: false,
    unconditional_update: true,
    create_on_update: false,
    grace_period: None,
    scale: None,
};

/// Rules of a kind with a status that controllers write, and a spec that is not counted.
const STATUS: Rules = Rules {
    prepare_create: strategy::without_status,
    prepare_update: strategy::keep_status,
    ..PLAIN
};

/// Rules of a kind whose spec is counted and that has no status.
const GENERATION: Rules = Rules {
    prepare_create: strategy::with_generation::create_without_status,
    prepare_update: strategy::with_generation::update_spec,
    has_generation: true,
    ..PLAIN
};

/// Rules of a kind with a spec that is counted and a status that controllers write.
const WORKLOAD: Rules = Rules {
    prepare_create: strategy::with_generation::create,
    prepare_update: strategy::with_generation::update,
    has_generation: true,
    ..PLAIN
};

/// Rules of a configuration that is counted as a whole.
const CONFIGURATION: Rules = Rules {
    prepare_create: strategy::with_generation::create_without_status,
    prepare_update: strategy::with_generation::update_whole,
    has_generation: true,
    unconditional_update: false,
    ..PLAIN
};
