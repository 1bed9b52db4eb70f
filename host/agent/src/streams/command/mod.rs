//! `exec` and `attach`: a program's streams and its end, over WebSocket or SPDY.
//!
//! `options` and `report` are pure: the query, and the `v1.Status` at the end; `run` joins a
//! program with a client's channels; `serve` takes a connection apart into channels.

mod options;
mod report;
mod run;
mod serve;

#[cfg(test)]
mod tests;

pub(crate) use options::Options;
pub(crate) use run::Program;
pub(crate) use serve::{SPOKEN, serve};
