//! Requests against a whole server in this process, on a store in memory: request text in, status and body out.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod apply;
mod harness;

mod access;
mod admission;
mod aggregation;
mod audit;
mod certificates;
mod conformance;
mod conversion;
mod create;
mod custom;
mod delete;
mod disk;
mod distribution;
mod events;
mod flow;
mod golden;
mod https;
mod images;
mod kinds;
mod metadata;
mod mutations;
mod oidc;
mod patch;
mod policies;
mod protobuf;
mod read;
mod sealed;
mod serve;
mod service;
mod socket;
mod streams;
mod subresource;
mod tokens;
mod watch;
mod words;
