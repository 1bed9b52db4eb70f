//! What each verb does to an object or a collection.
//!
//! Writes go decode → default → admit → prepare → validate → commit; reads come from the cache. One file per verb;
//! `write` holds the read-modify-write loop under `PUT`, `PATCH` and the subresources.
//!
//! An edge: commits are awaited, bodies are read, watches wait.

pub(crate) mod apply;
mod converted;
mod create;
mod delete;
mod get;
mod list;
mod narrow;
pub(crate) mod ownership;
pub(crate) mod patch;
pub(crate) mod update;
mod watch;
pub(crate) mod write;
