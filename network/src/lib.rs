//! Services to routes, routes to backends: what kube-proxy, cluster DNS and a CNI plugin's address
//! management do elsewhere.
//!
//! Comes in: Services and EndpointSlices from the API, and which pod holds which address. Goes
//! out: the answers to `host/vnet`'s questions (where does this connection go, what does this name
//! mean) and open node ports. What must never be here: wasmtime, or a decision inside of an edge.

pub mod backends;
pub mod cidr;
pub mod counts;
pub mod demand;
pub mod dns;
pub mod egress;
pub mod ejection;
pub mod endpoints;
mod entry;
pub mod front;
pub mod gateway;
mod health;
pub mod ipam;
pub mod names;
pub mod network;
pub mod picker;
pub mod policy;
mod proxy;
pub mod refusals;
mod report;
pub mod run;
mod saved;
pub mod switch;
pub mod table;
pub mod topology;
pub mod trace;
pub mod tunnel;
mod ways;
