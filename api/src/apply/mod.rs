//! Server-side apply: who owns which field of an object, and what follows from that.
//!
//! In: the object as it is, what somebody wants of it, and a [`Schema`] that says where an object is
//! one unit and where it has parts. Out: the object with its `metadata.managedFields` brought up to
//! date ([`track`], for creates, updates and patches), or the merged object or its conflicts
//! ([`apply()`]). Nothing here decodes, defaults or validates.
//!
//! Words: a *field set* is the `FieldsV1` tree of places; an *entry* is one manager's field set; a
//! manager *takes* a place by changing it and *loses* one that is gone.
//!
//! *Source:* KEP-555; the behaviour of `sigs.k8s.io/structured-merge-diff` v6 and
//! `k8s.io/apimachinery/pkg/util/managedfields`.

mod collect;
mod compare;
mod conflict;
mod element;
mod entry;
mod merge;
mod migrate;
mod prune;
mod run;
mod schema;
mod set;
mod track;

pub use conflict::Conflict;
pub use entry::{Manager, Operation, settle_times};
pub use merge::overlay;
pub use run::{Configuration, Refused, apply};
pub use schema::{Builtin, Deduced, Schema, Shape};
pub use track::{Tracked, track};

#[cfg(test)]
mod tests;
