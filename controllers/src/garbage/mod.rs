//! Garbage collection: deletes what its owners have left behind.
//!
//! In: an object, whether each of its owners is there, its dependents. Out: to delete it, to take
//! owners off it, to release it from a finalizer. Vocabulary: an owner is *solid* when it is there
//! and stays; it is *waiting* when it is deleted in the foreground and waits for its dependents;
//! it is *absent* only when the API server itself has said so.

mod custom;
mod graph;
mod reconcile;
pub(crate) mod run;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

pub use graph::{Entry, Graph};
pub use reconcile::reconcile;

/// Finalizer of an object that goes after its dependents.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an object whose dependents stay and lose their owner.
pub const ORPHAN: &str = "orphan";

/// What is known of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is there and stays.
    Solid,
    /// It is there, deleted in the foreground.
    Waiting,
    /// It is surely not there.
    Absent,
    /// Nothing is known, because of its kind or of a failed request.
    Unknown,
}

/// What a reconcile may look at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The object.
    pub object: Entry,
    /// What is known of each of its owners.
    pub owners: Vec<(OwnerReference, Presence)>,
    /// Objects that name it as an owner.
    pub dependents: Vec<Entry>,
}

/// With what propagation an object is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// At once; its dependents follow.
    Background,
    /// After its dependents.
    Foreground,
    /// At once; its dependents stay.
    Orphan,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Delete the object.
    Delete(Propagation),
    /// Take these owners (by uid) off an object (by uid).
    DropOwners {
        /// The object that changes.
        object: String,
        /// The owners that go.
        owners: Vec<String>,
    },
    /// Let none of the object's owners wait for it.
    Unblock,
    /// Take a finalizer off the object.
    RemoveFinalizer(&'static str),
    /// Look at another object (by uid).
    Visit(String),
}
