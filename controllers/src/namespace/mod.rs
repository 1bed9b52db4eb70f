//! Namespace: empties one that was deleted, and lets it go when nothing is left.
//!
//! In: a namespace and how many objects of each kind are in it. Out: what to delete, the
//! conditions that tell how far it is, and the end.

mod conditions;
mod reconcile;
pub(crate) mod run;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};

pub use reconcile::reconcile;

/// The finalizer in `spec.finalizers` by which this controller holds a namespace.
pub const FINALIZER: &str = "kubernetes";

/// How many objects of one kind a namespace holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The kind, `deployments.apps`.
    pub resource: String,
    /// What was found; the error's words when it could not be looked at.
    pub found: Result<Found, String>,
}

/// Objects of one kind in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// All of them.
    pub n_all: usize,
    /// Those that nobody has asked to go yet.
    pub n_undeleted: usize,
    /// How many carry each finalizer.
    pub finalizers: BTreeMap<String, usize>,
}

/// What a reconcile may look at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The namespace.
    pub namespace: Arc<Namespace>,
    /// Every kind that can live in a namespace. Looked at only when the namespace is deleted.
    pub contents: Vec<Content>,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Delete all objects of a kind (`Content::resource`).
    DeleteAll(String),
    /// Write these conditions in place of those there.
    SetConditions(Vec<NamespaceCondition>),
    /// Take the finalizer off, which lets the namespace go.
    Finalize,
    /// Look again after this time.
    RequeueAfter(Duration),
}
