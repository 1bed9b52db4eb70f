//! The tables that `kubectl get` shows: columns and cells of each kind, as upstream prints them.
//!
//! The server sends every column; those of priority 1 are shown by `-o wide` only. Cells depend on
//! the time only through ages, so the caller gives `now`.
//! *Source:* `k8s.io/kubernetes/pkg/printers/internalversion/printers.go`.

mod access;
mod batch;
mod core;
mod event;
mod network;
mod node;
mod pod;
mod pod_status;
mod storage;
pub mod unkept;
mod workload;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::meta;
use crate::registry::Kind;
use crate::text::human_duration;

pub use pod_status::{PodStatus, pod_status};

/// One column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// `string`, `integer` or `boolean`.
    pub ty: &'static str,
    /// `name` for the column that names the object, else empty.
    pub format: &'static str,
    /// What the column shows.
    pub description: &'static str,
    /// 0 is always shown, 1 with `-o wide` only.
    pub priority: i32,
}

impl Column {
    /// Gives the wire form, an item of `columnDefinitions`.
    pub fn to_value(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.ty,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }

    const fn text(name: &'static str, description: &'static str) -> Column {
        Column { name, ty: "string", format: "", description, priority: 0 }
    }

    const fn integer(name: &'static str, description: &'static str) -> Column {
        Column { ty: "integer", ..Column::text(name, description) }
    }

    const fn boolean(name: &'static str, description: &'static str) -> Column {
        Column { ty: "boolean", ..Column::text(name, description) }
    }

    const fn wide(name: &'static str, description: &'static str) -> Column {
        Column { priority: 1, ..Column::text(name, description) }
    }
}

const NAME: Column =
    Column { format: "name", ..Column::text("Name", "Name of the object, unique for its kind.") };
const AGE: Column = Column::text("Age", "Time since the object was created.");
const CONTAINERS: Column = Column::wide("Containers", "Names of the containers in the template.");
const IMAGES: Column = Column::wide("Images", "Images of the containers in the template.");
const SELECTOR: Column = Column::wide("Selector", "Labels of the pods that belong to it.");

/// How one kind is printed.
struct Printer {
    columns: &'static [Column],
    row: fn(&Value, Timestamp) -> Vec<Value>,
}

/// Gives the columns of a kind; a kind without its own table shows name and age.
pub fn columns(kind: &Kind) -> &'static [Column] {
    printer(kind).columns
}

/// Gives the wire form of the columns of a kind, those of users included.
pub fn definitions(kind: &Kind) -> Value {
    match kind.custom {
        Some(custom) => custom.version.columns(),
        None => wire(columns(kind)),
    }
}

fn wire(columns: &[Column]) -> Value {
    columns.iter().map(Column::to_value).collect()
}

/// Gives the cells of an object, one for each of [`definitions`].
pub fn row(kind: &Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    if let Some(custom) = kind.custom {
        return custom.version.row(object, now);
    }
    (printer(kind).row)(object, now)
}

/// Gives the `conditions` of an object's row: whether a Pod has done its work.
pub fn row_conditions(kind: &Kind, object: &Value) -> Vec<Value> {
    if (kind.group, kind.kind) != ("", "Pod") {
        return vec![];
    }
    let (reason, message) = match object["status"]["phase"].as_str() {
        Some("Succeeded") => ("Succeeded", "The pod has completed successfully."),
        Some("Failed") => ("Failed", "The pod failed."),
        Some(_) | None => return vec![],
    };
    vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
}

fn printer(kind: &Kind) -> &'static Printer {
    match (kind.group, kind.kind) {
        ("", "Pod") => &pod::POD,
        ("", "Node") => &node::NODE,
        ("", "Event") | ("events.k8s.io", "Event") => &event::EVENT,
        ("", "Service") => &network::SERVICE,
        ("discovery.k8s.io", "EndpointSlice") => &network::ENDPOINT_SLICE,
        ("apps", "Deployment") => &workload::DEPLOYMENT,
        ("apps", "ReplicaSet") => &workload::REPLICA_SET,
        ("apps", "ControllerRevision") => &workload::CONTROLLER_REVISION,
        ("", "Namespace") => &core::NAMESPACE,
        ("", "ConfigMap") => &core::CONFIG_MAP,
        ("", "Secret") => &core::SECRET,
        ("coordination.k8s.io", "Lease") => &core::LEASE,
        ("scheduling.k8s.io", "PriorityClass") => &core::PRIORITY_CLASS,
        ("apps", "StatefulSet") => &workload::STATEFUL_SET,
        ("apps", "DaemonSet") => &workload::DAEMON_SET,
        ("", "ReplicationController") => &workload::REPLICATION_CONTROLLER,
        ("", "PodTemplate") => &workload::POD_TEMPLATE,
        ("", "ComponentStatus") => &core::COMPONENT_STATUS,
        ("", "Endpoints") => &network::ENDPOINTS,
        ("node.k8s.io", "RuntimeClass") => &core::RUNTIME_CLASS,
        ("batch" | "autoscaling" | "policy", _) => batch(kind),
        ("networking.k8s.io", _) => networking(kind),
        ("" | "storage.k8s.io" | "resource.k8s.io" | "flowcontrol.apiserver.k8s.io", _) => {
            storage(kind)
        }
        _ => access(kind),
    }
}

fn batch(kind: &Kind) -> &'static Printer {
    match kind.kind {
        "Job" => &batch::JOB,
        "CronJob" => &batch::CRON_JOB,
        "PodDisruptionBudget" => &batch::DISRUPTION_BUDGET,
        "HorizontalPodAutoscaler" => &batch::AUTOSCALER,
        _ => &GENERIC,
    }
}

fn networking(kind: &Kind) -> &'static Printer {
    match kind.kind {
        "Ingress" => &network::INGRESS,
        "IngressClass" => &network::INGRESS_CLASS,
        "NetworkPolicy" => &network::NETWORK_POLICY,
        "IPAddress" => &network::IP_ADDRESS,
        "ServiceCIDR" => &network::SERVICE_CIDR,
        _ => &GENERIC,
    }
}

fn storage(kind: &Kind) -> &'static Printer {
    match kind.kind {
        "PersistentVolume" => &storage::VOLUME,
        "PersistentVolumeClaim" => &storage::CLAIM,
        "ResourceQuota" => &storage::RESOURCE_QUOTA,
        "StorageClass" => &storage::STORAGE_CLASS,
        "VolumeAttachment" => &storage::ATTACHMENT,
        "CSIDriver" => &storage::DRIVER,
        "CSINode" => &storage::STORAGE_NODE,
        "CSIStorageCapacity" => &storage::STORAGE_CAPACITY,
        "VolumeAttributesClass" => &storage::ATTRIBUTES_CLASS,
        "ResourceClaim" => &storage::RESOURCE_CLAIM,
        "ResourceSlice" => &storage::RESOURCE_SLICE,
        "FlowSchema" => &storage::FLOW_SCHEMA,
        "PriorityLevelConfiguration" => &storage::PRIORITY_LEVEL,
        "LimitRange" => &CREATED,
        _ => &GENERIC,
    }
}

fn access(kind: &Kind) -> &'static Printer {
    match kind.kind {
        "RoleBinding" | "ClusterRoleBinding" => &access::ROLE_BINDING,
        "CertificateSigningRequest" => &access::SIGNING_REQUEST,
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => &access::WEBHOOKS,
        "ValidatingAdmissionPolicy" => &access::POLICY,
        "MutatingAdmissionPolicy" => &access::MUTATING_POLICY,
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => {
            &access::POLICY_BINDING
        }
        "APIService" => &access::API_SERVICE,
        "Role" | "ClusterRole" | "CustomResourceDefinition" => &CREATED,
        _ => &GENERIC,
    }
}

/// Kinds that upstream has no printer for: their time of birth in place of their age.
const CREATED: Printer = Printer {
    columns: &[NAME, Column { ty: "date", ..Column::text("Created At", "When it was created.") }],
    row: |object, _| vec![json!(meta::name(object)), json!(meta::creation_timestamp(object))],
};

const GENERIC: Printer = Printer {
    columns: &[NAME, AGE],
    row: |object, now| vec![json!(meta::name(object)), age(object, now)],
};

/// Gives the age cell of an object.
fn age(object: &Value, now: Timestamp) -> Value {
    json!(since(meta::creation_timestamp(object), now))
}

/// Gives the time since a moment in RFC 3339, `<unknown>` when it is none.
fn since(moment: &str, now: Timestamp) -> String {
    match moment.parse::<Timestamp>() {
        // Whole seconds towards zero, so that 0.9 s ahead is still now.
        Ok(then) => human_duration(now.duration_since(then).as_secs()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// Gives a string field, empty when absent.
fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// Gives a whole number, 0 when absent.
fn number(object: &Value, field: &str) -> i64 {
    object[field].as_i64().unwrap_or_default()
}

/// Gives a list field, empty when absent.
fn items<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Gives the text, or a placeholder when it is empty.
fn or<'a>(text: &'a str, placeholder: &'a str) -> &'a str {
    if text.is_empty() { placeholder } else { text }
}

/// Joins the first few parts and says how many more there are.
fn first_few(parts: &[String]) -> String {
    const SHOWN_MAX: usize = 3;
    match parts.len() {
        0 => "<unset>".to_owned(),
        number if number > SHOWN_MAX => {
            format!("{} + {} more...", parts[..SHOWN_MAX].join(","), number - SHOWN_MAX)
        }
        _ => parts.join(","),
    }
}

#[cfg(test)]
mod tests;
