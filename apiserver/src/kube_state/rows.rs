//! What objects tell, decoded: the fields that metrics need and no others, so that many pods take little memory.

use coracle_api::quantity::Quantity;
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Amounts by resource, as they are written.
pub(super) type Amounts = BTreeMap<String, String>;

/// An object with its kind's own spec and status.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "S: Deserialize<'de> + Default, T: Deserialize<'de> + Default"))]
pub(super) struct Row<S, T> {
    /// `metadata`.
    pub(super) metadata: Meta,
    /// `spec`.
    #[serde(default)]
    pub(super) spec: S,
    /// `status`.
    #[serde(default)]
    pub(super) status: T,
}

/// A part of an object of which nothing is told.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Nothing {}

/// `metadata`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Meta {
    /// Name.
    pub(super) name: String,
    /// Namespace, empty for objects without one.
    pub(super) namespace: String,
    /// Uid.
    pub(super) uid: String,
    /// Generation, 0 for kinds without one.
    pub(super) generation: i64,
    /// When it was made.
    pub(super) creation_timestamp: Option<Timestamp>,
    /// When it is to be gone.
    pub(super) deletion_timestamp: Option<Timestamp>,
    /// Labels.
    pub(super) labels: BTreeMap<String, String>,
    /// Owners.
    pub(super) owner_references: Vec<Owner>,
}

/// An owner of an object.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Owner {
    /// Kind.
    pub(super) kind: String,
    /// Name.
    pub(super) name: String,
    /// Whether it is the controller.
    pub(super) controller: bool,
}

/// A condition.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Condition {
    /// Type.
    pub(super) r#type: String,
    /// `True`, `False` or `Unknown`.
    pub(super) status: String,
    /// Reason.
    pub(super) reason: String,
}

impl Meta {
    /// The owner that controls the object.
    pub(super) fn controller(&self) -> Option<&Owner> {
        self.owner_references.iter().find(|owner| owner.controller)
    }
}

/// Seconds since 1970.
pub(super) fn seconds(time: Option<Timestamp>) -> Option<f64> {
    time.map(|time| time.as_second() as f64)
}

/// The number of a quantity; cores, bytes or pieces.
pub(super) fn amount(text: &str) -> Option<f64> {
    let quantity: Quantity = text.parse().ok()?;
    let (value, millis) = (quantity.value(), quantity.milli_value());
    let is_fine = value < i64::MAX / 1000;
    Some(if is_fine { millis as f64 / 1000.0 } else { value as f64 })
}

/// The unit that kube-state-metrics gives a resource.
pub(super) fn unit(resource: &str) -> &'static str {
    match resource {
        "cpu" => "core",
        "memory" | "storage" | "ephemeral-storage" => "byte",
        name if name.starts_with("hugepages-") => "byte",
        _ => "integer",
    }
}

/// The name of a resource as a label: no other signs than letters, digits and `_`.
pub(super) fn label(resource: &str) -> String {
    resource
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' })
        .collect()
}
