//! The Kubernetes API over HTTP: from a request to the store and back.
//!
//! In: HTTP requests over TLS, or from clients in the same process. Out: answers as kube-apiserver words them. A write
//! goes decode → default → admit → validate → commit; reads and watches come from the cache. Pure rules are in files of
//! their own (`request_info`, `negotiate`, `options`, `metadata`, `deletion`, `service_address`); what awaits is listed
//! in `tests/tidy/edges.txt`.

pub mod admission;
mod admit;
mod aggregation;
pub mod audit;
pub mod authn;
pub mod authz;
mod batch;
pub mod body;
mod bootstrap;
pub mod cache;
mod clock;
mod component_status;
mod context;
mod crd;
pub mod deletion;
mod deprecation;
pub mod discovery;
mod event_ttl;
mod flow;
mod gate;
mod handler;
mod image_gate;
mod in_process;
mod kube_state;
mod members;
pub mod metadata;
mod metrics;
pub mod negotiate;
mod node_dialer;
mod non_resource;
pub mod oci;
mod openapi;
pub mod openapi_v2;
pub mod options;
mod peers;
pub mod pki;
pub mod pod_profile;
mod process;
pub mod query;
mod reach;
pub mod request_info;
pub mod respond;
mod review;
pub mod seal;
mod serve;
mod server;
pub mod service_address;
mod service_families;
mod streams;
mod subresource;
pub mod table;
mod token_secrets;
mod ui;
mod usage;
mod verbs;
pub mod version;
mod warnings;
mod webhook;

pub use aggregation::FrontProxy;
pub use in_process::InProcess;
pub use members::Member;
pub use node_dialer::{Duplex, NoNodes, NodeDialer, UnixSocketDialer};
pub use server::{ApiServer, Config, StartError};
